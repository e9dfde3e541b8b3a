import json
from dataclasses import dataclass

import pytest

from geotoken.configs import reading_config, write_config
from geotoken.errors import ArtifactError, ConfigError
from geotoken.files import read_json


@dataclass(frozen=True)
class Shape:
    width: int
    names: tuple[str, ...] = ()


def test_a_configuration_is_written_as_json(tmp_path):
    write_config(tmp_path / "shape.json", Shape(3, ("a", "b")))
    assert json.loads((tmp_path / "shape.json").read_text()) == {"width": 3, "names": ["a", "b"]}
    assert [path.name for path in tmp_path.iterdir()] == ["shape.json"]


def read(path):
    with reading_config(path, "a shape", "draw it again"):
        data = read_json(path)
        if data["width"] < 1:
            raise ConfigError("width must be at least 1")
        return Shape(**data)


def test_a_configuration_is_read(tmp_path):
    write_config(tmp_path / "shape.json", Shape(3))
    assert read(tmp_path / "shape.json").width == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("{", "Expecting"),
        ("[]", "list indices"),
        ("{}", "width"),
        ('{"width": 0}', "width must be at least 1"),
        ('{"width": 3, "depth": 1}', "depth"),
    ],
)
def test_a_file_that_holds_none_is_named_with_what_to_do(tmp_path, content, reason):
    path = tmp_path / "shape.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(
        ArtifactError, match=rf"shape\.json does not hold a shape \(.*{reason}.*; draw it again"
    ):
        read(path)
