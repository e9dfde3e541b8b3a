import os
from itertools import pairwise

import numpy as np
import pytest

from geotoken import files
from geotoken.errors import ArtifactError, InputError
from geotoken.gallery import write
from geotoken.gallery.index import Gallery
from geotoken.gallery.table import GalleryTable, TableWriter
from geotoken.gallery.write import check_destination, write_gallery
from geotoken.manifest import verify_manifest

N, D = 30, 6


def make_gallery(num_rows=N):
    vectors = np.random.default_rng(0).normal(size=(num_rows, D)).astype(np.float32)
    rows = [{"id": f"p{row}", "lat": 1.0, "lng": 2.0} for row in range(num_rows)]
    return Gallery.from_vectors(vectors, GalleryTable.from_rows(rows), "fake")


@pytest.fixture
def folder(tmp_path):
    make_gallery().save(tmp_path / "my gallery")
    return tmp_path / "my gallery"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_exact_gallery_is_written_in_the_layout_that_earlier_versions_read(folder):
    assert verify_manifest(folder, write.KIND, 1)["format_version"] == 1
    assert names(folder) == ["gallery.json", "gallery.parquet", "index.faiss", "manifest.json"]


@pytest.mark.parametrize("kind", ["hnsw", "ivfpq"])
def test_an_approximate_gallery_is_written_in_layout_2(tmp_path, kind):
    make_gallery().save(tmp_path / "g", index=kind)
    assert verify_manifest(tmp_path / "g", write.KIND, 2)["format_version"] == 2
    with pytest.raises(ArtifactError, match="newer geotoken"):
        verify_manifest(tmp_path / "g", write.KIND, 1)
    more = ["rows.npy", "text.jsonl", "vectors.npy"]
    assert names(tmp_path / "g") == sorted(
        ["gallery.json", "gallery.parquet", "index.faiss", "manifest.json", *more]
    )


def test_pieces_of_any_size_make_the_same_gallery(tmp_path):
    gallery = make_gallery()
    for name, bounds in (("one", [0, N]), ("many", [0, 1, 1, 17, N])):
        pieces = ((gallery.vectors[a:b], gallery.table.take(np.arange(a, b))) for a, b in pairwise(bounds))
        assert write_gallery(tmp_path / name, pieces, encoder_name="fake", dim=D) == N
    one, many = Gallery.load(tmp_path / "one"), Gallery.load(tmp_path / "many")
    np.testing.assert_array_equal(one.vectors, many.vectors)
    assert list(one.table.id) == list(many.table.id) == [f"p{row}" for row in range(N)]


def test_no_rows_and_unknown_kinds_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="at least one photo"):
        write_gallery(tmp_path / "g", [], encoder_name="fake", dim=D)
    with pytest.raises(InputError, match="'flat' is unknown; choose auto, exact, hnsw, ivfpq"):
        make_gallery().save(tmp_path / "g", index="flat")
    assert names(tmp_path) == []


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(self, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TableWriter, "add", fail)
    with pytest.raises(ArtifactError, match="No space left"):
        make_gallery().save(tmp_path / "g")
    assert names(tmp_path) == []


@pytest.mark.parametrize("exchange", [True, False])
def test_an_old_gallery_is_replaced_whole(folder, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    (folder / "stray").write_text("x")
    with pytest.raises(InputError, match="already is a gallery"):
        make_gallery(5).save(folder)
    make_gallery(5).save(folder, overwrite=True)
    assert Gallery.load(folder).size == 5
    assert not (folder / "stray").exists()
    assert names(folder.parent) == ["my gallery"]


def test_where_folders_cannot_be_swapped_a_failed_overwrite_keeps_the_old_gallery(folder, monkeypatch):
    rename = type(folder).rename

    def fail(self, target):
        if self.name.startswith(".") and not self.name.endswith("-old"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    monkeypatch.setattr(type(folder), "rename", fail)
    with pytest.raises(ArtifactError, match="Input/output error"):
        make_gallery(5).save(folder, overwrite=True)
    monkeypatch.undo()
    assert Gallery.load(folder).size == N
    assert names(folder.parent) == ["my gallery"]


def test_nothing_but_a_gallery_is_ever_overwritten(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dear.jpg").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name in ("photos", "file"):
        with pytest.raises(InputError, match="exists and is not a gallery"):
            make_gallery().save(tmp_path / name, overwrite=True)
    assert (tmp_path / "photos" / "dear.jpg").exists()
    check_destination(tmp_path / "empty", overwrite=False)
    make_gallery().save(tmp_path / "empty")
    assert Gallery.load(tmp_path / "empty").size == N


def test_all_files_are_on_the_disk_before_they_take_the_place_of_others(tmp_path, monkeypatch):
    synced, swaps = set(), []
    fsync, swap = os.fsync, files._put_in_place

    def remember(fd):
        synced.add(os.fstat(fd).st_ino)
        fsync(fd)

    def check(temporary, folder):
        assert {path.stat().st_ino for path in (*temporary.iterdir(), temporary)} <= synced
        synced.clear()
        swap(temporary, folder)
        swaps.append(folder)

    monkeypatch.setattr(os, "fsync", remember)
    monkeypatch.setattr(files, "_put_in_place", check)
    table = GalleryTable.from_rows([{"id": "a", "lat": 1.0, "lng": 2.0}])
    pieces = [(np.ones((1, 4), dtype=np.float32) / 2, table)]
    for kind in ("exact", "hnsw"):
        write_gallery(tmp_path / kind, pieces, encoder_name="fake", dim=4, kind=kind)
    assert [path.name for path in swaps] == ["exact", "hnsw"]
    assert tmp_path.stat().st_ino in synced
