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


def test_info_can_check_the_index(gallery):
    facts = json.loads(run("info", gallery, "--check", "--json").stdout)
    assert facts["check"].pop("search_ms") > 0
    assert facts["check"] == {"checksums": "verified", "recall_at_15": 1.0, "num_queries": 2}
    text = " ".join(run("info", gallery, "--check").stdout.split())
    assert text.endswith("checksums verified recall@15 1.000 of an exact search, over 2 photos")


def test_photos_are_removed_by_list_id_and_owner(gallery, tmp_path):
    (tmp_path / "list.txt").write_text("\ufeffa\n\n", encoding="utf-8")
    assert run("remove", gallery, "--list", tmp_path / "list.txt").stdout == "1 photo removed, 1 left\n"
    assert list(Gallery.load(gallery).table.id) == ["b"]
    result = run("remove", gallery, "--id", "b")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "without a photo" in result.stderr
    assert "has the owner ann" in run("remove", gallery, "--owner", "ann").stderr
    assert "nothing to remove" in run("remove", gallery).stderr


def test_what_remove_removed_is_json_if_asked(gallery):
    removed = json.loads(run("remove", gallery, "--id", "a", "--json").stdout)
    assert removed == {"folder": str(gallery), "num_removed": 1, "num_photos": 1}


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"\xff", "not text in UTF-8")])
def test_a_list_that_cannot_be_read_is_exit_code_2(gallery, tmp_path, content, reason):
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    result = run("remove", gallery, "--list", tmp_path / "list.txt")
    assert result.exit_code == 2
    assert reason in result.stderr
    assert Gallery.load(gallery).size == 2


def test_galleries_are_merged(gallery, tmp_path):
    rows = [{"id": "c", "lat": 1.0, "lng": 2.0, "sha256": "0" * 64}]
    for name in ("x", "y"):
        one = Gallery.from_vectors(np.eye(1, 8, dtype=np.float32), GalleryTable.from_rows(rows), "enc")
        one.save(tmp_path / name)
    parts = (gallery, tmp_path / "x", tmp_path / "y")
    assert run("merge", tmp_path / "out", *parts).stdout.splitlines() == [
        f"3 photos in the gallery {tmp_path / 'out'}",
        f"left out: c of {tmp_path / 'y'} is the same file as c of {tmp_path / 'x'}",
    ]
    assert list(Gallery.load(tmp_path / "out").table.id) == ["a", "b", "c"]
    assert run("merge", tmp_path / "out", *parts).exit_code == 2
    merged = json.loads(run("merge", tmp_path / "out", *parts, "--overwrite", "--json").stdout)
    assert (merged["num_photos"], len(merged["duplicates"])) == (3, 1)
    assert run("merge", tmp_path / "new", gallery).exit_code == 2


def test_a_gallery_gets_another_index(gallery):
    assert run("reindex", gallery, "--index", "hnsw").stdout == (
        "2 photos: HNSW, queue of 256, 64 candidates compared exactly\n"
    )
    assert json.loads(run("reindex", gallery, "--json").stdout) == {
        "folder": str(gallery),
        "num_photos": 2,
        "index": "exact inner product, float32",
    }
    result = run("reindex", gallery, "--index", "fast")
    assert result.exit_code == 2
    assert "index kind 'fast' is unknown; choose auto, exact, hnsw, ivfpq" in result.stderr


def test_a_photo_is_removed_by_its_hash(tmp_path):
    rows = [{"id": "a", "lat": 1.0, "lng": 2.0, "sha256": digit * 64} for digit in "bc"]
    gallery = Gallery.from_vectors(np.eye(2, 8, dtype=np.float32), GalleryTable.from_rows(rows), "enc")
    gallery.save(tmp_path / "g")
    refused = run("remove", tmp_path / "g", "--id", "a")
    assert refused.exit_code == 2
    assert "have the id a: bbbbbbbbbbbb at" in refused.stderr
    assert run("remove", tmp_path / "g", "--sha256", "b" * 12).exit_code == 0
    assert list(Gallery.load(tmp_path / "g").table.sha256) == ["c" * 64]
