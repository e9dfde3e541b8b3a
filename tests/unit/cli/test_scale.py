import pytest

from geotoken.cli.options import check_engine
from geotoken.cli.scale import locate_on_ray
from geotoken.errors import DependencyError, InputError

NOTHING = {"together": False, "map_file": None, "report": None, "json": False, "out": None}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"together": True}, "--together does not go with --engine ray"),
        ({"map_file": "map.html"}, "--map does not go"),
        ({"report": "folder"}, "--report does not go"),
        ({"json": True}, "--json does not go"),
        ({}, "give it by --out FOLDER"),
        ({"out": ["a", "b"]}, "writes one folder"),
    ],
)
def test_flags_that_ray_has_no_use_for(given, message):
    with pytest.raises(InputError, match=message):
        locate_on_ray([], None, {}, NOTHING | given)


def test_engines():
    assert check_engine("ray")
    assert not check_engine("local")
    with pytest.raises(InputError, match="'spark'; choose one of local, ray"):
        check_engine("spark")


def test_ray_is_named_where_it_is_missing(monkeypatch):
    import importlib.util
    import sys

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else real(name, *rest)
    )
    for name in [name for name in sys.modules if name.startswith("geotoken.scale")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(DependencyError, match=r"geotoken\[scale\]"):
        importlib.import_module("geotoken.scale")
