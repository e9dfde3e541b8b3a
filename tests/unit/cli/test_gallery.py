import json

import numpy as np
import pytest
from typer.testing import CliRunner

from geotoken.cli import app
from geotoken.gallery import Gallery, GalleryTable


def run(*arguments: object):
    return CliRunner().invoke(app, ["gallery", *map(str, arguments)])


@pytest.fixture
def gallery(tmp_path):
    rows = [
        {"id": "a", "lat": -10.0, "lng": 20.0, "coord_precision": "exif"},
        {"id": "b", "lat": 30.0, "lng": -40.0},
    ]
    Gallery.from_vectors(np.eye(2, 8, dtype=np.float32), GalleryTable.from_rows(rows), "enc").save(
        tmp_path / "gallery"
    )
    return tmp_path / "gallery"


def test_info_is_that_of_the_gallery(gallery):
    facts = json.loads(run("info", gallery, "--json").stdout)
    assert facts == {"folder": str(gallery), **Gallery.load(gallery).info()}


def test_info_is_readable(gallery):
    text = " ".join(run("info", gallery).stdout.split())
    assert "photos 2" in text
    assert "encoder enc" in text
    assert "from 10.0000° S, 40.0000° W to 30.0000° N, 20.0000° E" in text
    assert "1 exif, 1 unknown" in text
    assert text.endswith(" kB")


def test_info_without_a_folder_is_about_the_bundled_gallery():
    assert json.loads(run("info", "--json").stdout)["num_photos"] > 1000


def test_a_damaged_gallery_is_exit_code_3(gallery):
    (gallery / "index.faiss").write_bytes(b"damaged")
    result = run("info", gallery)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "index.faiss" in result.stderr


def test_a_missing_gallery_is_exit_code_3(tmp_path):
    assert run("info", tmp_path / "missing").exit_code == 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nosuch", "error: nosuch cannot be read (No such file or directory); give"),
        ("", "error: an empty path;"),
    ],
)
def test_a_source_that_is_none_is_one_line_and_exit_code_2(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    result = run("build", source, "--out", "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_a_build_needs_a_destination(tmp_path):
    result = run("build", tmp_path)
    assert result.exit_code == 2
    assert "--out" in result.stderr
