import numpy as np
import pytest

from geotoken.errors import ArtifactError, InputError
from geotoken.gallery.edit import merge_galleries, reindex_gallery, remove_photos
from geotoken.gallery.index import Gallery
from geotoken.gallery.table import TEXT_COLUMNS, GalleryTable, TableWriter

D = 6


def make_gallery(folder, numbers, *, encoder_name="fake", index="exact"):
    """A gallery whose photo number i always looks the same; every fifth has no hash."""
    vectors = np.stack([np.random.default_rng(i).normal(size=D) for i in numbers]).astype(np.float32)
    rows = [
        {
            "id": f"p{i}",
            "lat": i / 10,
            "lng": -i / 10,
            "owner": f"o{i % 3}" if i % 2 else None,
            "sha256": f"{i:064x}" if i % 5 else None,
        }
        for i in numbers
    ]
    Gallery.from_vectors(vectors, GalleryTable.from_rows(rows), encoder_name).save(folder, index=index)
    return folder


def check_rows(folder, numbers):
    """Every row of a gallery is that of its number: vector, texts and coordinates."""
    gallery = Gallery.load(folder)
    assert list(gallery.table.id) == [f"p{i}" for i in numbers]
    np.testing.assert_allclose(gallery.table.lat, [i / 10 for i in numbers])
    expected = np.stack([np.random.default_rng(i).normal(size=D) for i in numbers])
    cosine = np.sum(gallery.vectors * expected, axis=1) / np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=2e-3)
    return gallery


@pytest.fixture(params=["exact", "hnsw", "ivfpq"])
def folder(request, tmp_path):
    return make_gallery(tmp_path / "g", range(30), index=request.param)


def test_photos_are_removed_by_id_and_owner(folder):
    kind = Gallery.load(folder).index_kind
    report = remove_photos(folder, ids=["p0", "p7"], owners=["o2"])
    left = [i for i in range(30) if i not in (0, 7) and not (i % 2 and i % 3 == 2)]
    assert (report.num_photos, report.num_removed) == (len(left), 30 - len(left))
    assert check_rows(folder, left).index_kind == kind
    assert [path.name for path in folder.parent.iterdir()] == ["g"]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({}, "nothing to remove"),
        ({"ids": ["p1", "nobody"]}, "has the id nobody; nothing was removed"),
        ({"ids": [f"x{i}" for i in range(9)]}, "x4 and 4 more"),
        ({"owners": ["nobody"]}, "has the owner nobody"),
        ({"ids": [f"p{i}" for i in range(30)]}, "without a photo; delete the folder"),
    ],
)
def test_a_removal_that_makes_no_sense_changes_nothing(folder, what, message):
    with pytest.raises(InputError, match=message):
        remove_photos(folder, **what)
    check_rows(folder, range(30))


def test_an_id_that_comes_twice_is_refused_and_a_hash_tells_the_photos_apart(tmp_path):
    rows = [
        {"id": name, "lat": lat, "lng": 0.5, "sha256": digit * 64}
        for name, lat, digit in (("a", 1, "b"), ("same", 2, "c"), ("same", 3, "d"), ("z", 4, "e"))
    ]
    gallery = Gallery.from_vectors(np.eye(4, D, dtype=np.float32), GalleryTable.from_rows(rows), "fake")
    gallery.save(tmp_path / "g")
    message = (
        r"2 photos of .*g have the id same: c{12} at 2\.0000, 0\.5000, d{12} at 3\.0000, 0\.5000; "
        r"nothing was removed; name one by these digits .*--sha256"
    )
    for ids in (["same"], ["a", "same"]):
        with pytest.raises(InputError, match=message):
            remove_photos(tmp_path / "g", ids=ids)
    for bad, message in (("d" * 11, "too short"), ("d" * 13 + "0", "has the sha256 d{13}0; nothing")):
        with pytest.raises(InputError, match=message):
            remove_photos(tmp_path / "g", hashes=[bad])
    assert Gallery.load(tmp_path / "g").size == 4
    assert remove_photos(tmp_path / "g", hashes=["D" * 12]).num_removed == 1
    assert list(Gallery.load(tmp_path / "g").table.lat) == [1, 2, 4]
    assert remove_photos(tmp_path / "g", ids=["same"], hashes=["e" * 64]).num_removed == 2
    assert list(Gallery.load(tmp_path / "g").table.id) == ["a"]


def test_galleries_are_merged_in_order_and_equal_files_come_once(folder, tmp_path):
    make_gallery(tmp_path / "h", range(28, 40))
    make_gallery(tmp_path / "i", [39, 41, 40])
    report = merge_galleries(tmp_path / "out", [folder, tmp_path / "h", tmp_path / "i"])
    check_rows(tmp_path / "out", [*range(40), 41, 40])
    assert report.num_photos == 42
    assert [(one.image, one.first) for one in report.duplicates] == [
        (f"p28 of {tmp_path / 'h'}", f"p28 of {folder}"),
        (f"p29 of {tmp_path / 'h'}", f"p29 of {folder}"),
        (f"p39 of {tmp_path / 'i'}", f"p39 of {tmp_path / 'h'}"),
    ]
    check_rows(folder, range(30))


def test_photos_without_a_hash_are_never_duplicates(tmp_path):
    for name in ("a", "b"):
        make_gallery(tmp_path / name, [5])
    assert merge_galleries(tmp_path / "out", [tmp_path / "a", tmp_path / "b"]).num_photos == 2


def test_impossible_merges_are_refused_before_anything_is_written(tmp_path):
    make_gallery(tmp_path / "a", [1])
    make_gallery(tmp_path / "b", [2])
    make_gallery(tmp_path / "other", [3], encoder_name="other")
    with pytest.raises(InputError, match="give two or more"):
        merge_galleries(tmp_path / "out", [tmp_path / "a"])
    with pytest.raises(ArtifactError, match='holds vectors of encoder "other"'):
        merge_galleries(tmp_path / "out", [tmp_path / "a", tmp_path / "other"])
    with pytest.raises(InputError, match="is unknown"):
        merge_galleries(tmp_path / "out", [tmp_path / "a", tmp_path / "b"], index="best")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="already is a gallery"):
        merge_galleries(tmp_path / "a", [tmp_path / "a", tmp_path / "b"])
    merge_galleries(tmp_path / "a", [tmp_path / "a", tmp_path / "b"], overwrite=True)
    check_rows(tmp_path / "a", [1, 2])


@pytest.mark.parametrize("index", ["exact", "hnsw", "ivfpq", "auto"])
def test_a_gallery_gets_another_index_and_stays_the_same(folder, index):
    before = Gallery.load(folder).table
    reindex_gallery(folder, index=index)
    gallery = check_rows(folder, range(30))
    assert gallery.index_kind == ("exact" if index == "auto" else index)
    for name in TEXT_COLUMNS:
        assert list(getattr(gallery.table, name)) == list(getattr(before, name))


def test_a_change_that_fails_leaves_the_old_gallery(folder, tmp_path, monkeypatch):
    def fail(self, *, row_files):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TableWriter, "finish", fail)
    for change in (
        lambda: remove_photos(folder, ids=["p1"]),
        lambda: merge_galleries(folder, [folder, folder], overwrite=True),
        lambda: reindex_gallery(folder, index="hnsw"),
    ):
        with pytest.raises(ArtifactError, match="No space left"):
            change()
        check_rows(folder, range(30))
        assert [path.name for path in tmp_path.iterdir()] == ["g"]
