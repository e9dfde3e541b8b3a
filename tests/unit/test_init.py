import subprocess
import sys

import pytest

import geotoken

PUBLIC_NAMES = {
    "ArtifactError",
    "ConfigError",
    "DecodingOptions",
    "DependencyError",
    "Exclusion",
    "Failure",
    "Gallery",
    "GeoTokenError",
    "ImageError",
    "InputError",
    "LocateOptions",
    "Locator",
    "Prediction",
    "Region",
    "TokenScheme",
    "__version__",
    "build_gallery",
    "cells",
    "pull_from_hub",
    "push_to_hub",
    "tokens",
}
HEAVY = {"numpy", "onnxruntime", "faiss", "duckdb", "PIL", "shapely", "torch"}


def test_public_names_are_these_and_no_others():
    assert set(geotoken.__all__) == PUBLIC_NAMES
    assert len(geotoken.__all__) == len(PUBLIC_NAMES)


@pytest.mark.parametrize("name", sorted(PUBLIC_NAMES - {"__version__"}))
def test_a_public_name_is_what_its_module_calls_so(name):
    value = getattr(geotoken, name)
    if name in ("cells", "tokens"):
        assert value.__name__ == f"geotoken.{name}"
    else:
        assert value.__name__ == name
        assert value.__module__.startswith("geotoken.")


def test_dir_lists_the_public_names():
    assert set(dir(geotoken)) == PUBLIC_NAMES


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'geotoken' has no attribute 'Locater'"):
        _ = geotoken.Locater


def test_errors_can_be_caught_by_their_base():
    for name in PUBLIC_NAMES:
        if name.endswith("Error"):
            assert issubclass(getattr(geotoken, name), geotoken.GeoTokenError)


def test_importing_the_package_imports_nothing_heavy():
    script = "import sys, geotoken; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not HEAVY & set(run.stdout.split())
