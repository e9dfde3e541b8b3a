import os

import numpy as np
import pytest

from feature_stores import make_store
from geotoken.errors import ArtifactError, InputError
from geotoken.gallery import Gallery
from geotoken.train.neighbor_lists import NeighborLists
from geotoken.train.neighbors import (
    KnownStoreRows,
    NeighborRule,
    find_neighbors,
    make_gallery,
    prepare_neighbors,
)

RULES = [
    NeighborRule(num_neighbors=5),
    NeighborRule(num_neighbors=5, same_owner=False, same_file=False),
    NeighborRule(num_neighbors=4, same_owner=False, same_file=False, min_duplicate_similarity=0.9),
    NeighborRule(num_neighbors=3, same_owner=False, within_km=2500),
    NeighborRule(num_neighbors=7, min_duplicate_similarity=0.95, within_km=100),
]


def searched(store, gallery, rule, row):
    """What `Gallery.search` finds for one row of a store, itself left out by its position."""
    table = store.table(np.array([row]))
    own = np.flatnonzero(gallery.table.id[:] == table["id"][0])
    exclusion = rule.exclusion(
        lat=store.lat[row], lng=store.lng[row], owner=table["owner"][0], sha256=table["sha256"][0],
        row=int(own[0]) if len(own) else None,
    )  # fmt: skip
    vector = store.batch(np.array([row]), ["image"])["image"].astype(np.float32)
    return gallery.search(vector, rule.num_neighbors, exclusion)[0]


@pytest.mark.parametrize("rule", RULES, ids=range(len(RULES)))
def test_lists_are_what_the_search_finds(tmp_path, rule):
    store = make_store(tmp_path / "store")
    report = prepare_neighbors(store, tmp_path / "out", rule)
    lists = NeighborLists.open(report.lists, store)
    assert (report.num_gallery, report.num_lists) == (180, 240)
    np.testing.assert_array_equal(lists.gallery_rows, store.rows_of("train"))
    assert not np.isin(store.rows_of("test"), lists.query_rows).any()
    near, similarity = lists.take(np.arange(len(lists)))
    gallery = Gallery.load(report.gallery)
    for position in range(0, len(lists), 9):
        expected = searched(store, gallery, rule, lists.query_rows[position])
        count = len(expected)
        np.testing.assert_array_equal(near[position, :count], expected.row)
        np.testing.assert_allclose(similarity[position, :count], expected.similarity, atol=1e-6)
        assert (near[position, count:] == -1).all()


def test_what_the_rule_leaves_out_by_brute_force(tmp_path):
    rule = NeighborRule(num_neighbors=6, within_km=300, min_duplicate_similarity=0.97)
    store = make_store(tmp_path / "store")
    report = prepare_neighbors(store, tmp_path / "out", rule)
    lists = NeighborLists.open(report.lists, store)
    table = store.table(np.arange(len(store)))
    units = store.batch(np.arange(len(store)), ["image"])["image"].astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    xyz = np.stack(
        [np.cos(np.radians(store.lat)) * np.cos(np.radians(store.lng)),
         np.cos(np.radians(store.lat)) * np.sin(np.radians(store.lng)), np.sin(np.radians(store.lat))], axis=1
    )  # fmt: skip
    near = lists.take(np.arange(len(lists)))[0]
    for position, row in enumerate(lists.query_rows):
        similarity = units[lists.gallery_rows] @ units[row]
        angle_km = 6371.0088 * np.arccos(np.clip(xyz[lists.gallery_rows] @ xyz[row], -1, 1))
        allowed = (lists.gallery_rows != row) & (similarity < 0.97) & (angle_km > 300)
        allowed &= table["sha256"][lists.gallery_rows] != table["sha256"][row]
        if table["owner"][row] is not None:
            allowed &= table["owner"][lists.gallery_rows] != table["owner"][row]
        expected = np.flatnonzero(allowed)
        expected = expected[np.argsort(-similarity[expected], kind="stable")][:6]
        np.testing.assert_array_equal(near[position], expected)


@pytest.mark.parametrize("index", ["hnsw", "ivfpq"])
def test_big_galleries(tmp_path, index):
    rule = NeighborRule(num_neighbors=5)
    store = make_store(tmp_path / "store", 600)
    report = prepare_neighbors(store, tmp_path / "out", rule, index=index)
    gallery = Gallery.load(report.gallery)
    assert gallery.index_kind == index
    lists = NeighborLists.open(report.lists, store)
    near, similarity = lists.take(np.arange(len(lists)))
    for position in range(0, len(lists), 31):
        expected = searched(store, gallery, rule, lists.query_rows[position])
        np.testing.assert_array_equal(near[position], expected.row)
        np.testing.assert_allclose(similarity[position], expected.similarity, atol=1e-6)


def test_few_allowed_neighbors_give_short_lists(tmp_path):
    rule = NeighborRule(num_neighbors=9, same_owner=False, within_km=21_000)
    store = make_store(tmp_path / "store", 90)
    report = prepare_neighbors(store, tmp_path / "out", rule)
    near, similarity = NeighborLists.open(report.lists, store).take(np.arange(report.num_lists))
    assert (near == -1).all()
    assert (similarity == 0).all()


def test_looking_is_bounded(tmp_path):
    store = make_store(tmp_path / "store")
    tight = NeighborRule(num_neighbors=3, max_fetched=3, same_owner=True)
    near = NeighborLists.open(prepare_neighbors(store, tmp_path / "a", tight).lists, store).take(
        np.arange(240)
    )[0]
    wide = NeighborRule(num_neighbors=3, max_fetched=10**6)
    full = NeighborLists.open(prepare_neighbors(store, tmp_path / "b", wide).lists, store).take(
        np.arange(240)
    )[0]
    assert (near[:, -1] < 0).any()
    assert (full >= 0).all()
    for some, every in zip(near, full, strict=True):
        kept = some[some >= 0]
        np.testing.assert_array_equal(kept, every[: len(kept)])


def test_a_killed_process_goes_on_to_the_same_lists(tmp_path):
    rule = NeighborRule(num_neighbors=5)
    store = make_store(tmp_path / "store")
    rows = (np.arange(240), store.rows_of("train"))
    gallery = make_gallery(store, rows[1], tmp_path / "gallery")
    whole = find_neighbors(store, rows, gallery, rule, tmp_path / "whole", shard_rows=50).folder

    def stop(done, _):
        if done >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_neighbors(store, rows, gallery, rule, tmp_path / "lists", shard_rows=50, progress=stop)
    with pytest.raises(InputError, match="unfinished"):
        find_neighbors(store, rows, gallery, rule, tmp_path / "lists", shard_rows=50)
    with pytest.raises(InputError, match="same store and rule"):
        find_neighbors(store, rows, gallery, NeighborRule(num_neighbors=6), tmp_path / "lists", resume=True)
    second = tmp_path / "lists.partial" / "00001.npy"
    second.write_bytes(second.read_bytes()[:-1])  # torn: made again
    seen = []
    find_neighbors(
        store, rows, gallery, rule, tmp_path / "lists", shard_rows=50, resume=True,
        progress=lambda done, _: seen.append(done),
    )  # fmt: skip
    assert seen == [100, 150, 200, 240]
    files = {path.name: path.read_bytes() for path in whole.iterdir() if path.suffix == ".npy"}
    assert files == {p.name: p.read_bytes() for p in (tmp_path / "lists").iterdir() if p.suffix == ".npy"}
    assert sorted(os.listdir(tmp_path / "lists")) == sorted([*files, "manifest.json"])
    finished = find_neighbors(store, rows, gallery, rule, tmp_path / "lists", resume=True)
    assert len(finished) == 240


def test_resume_takes_the_gallery_of_the_same_rows_only(tmp_path):
    rule = NeighborRule(num_neighbors=2)
    first = make_store(tmp_path / "first", 90)
    prepare_neighbors(first, tmp_path / "out", rule)
    before = (tmp_path / "out" / "gallery" / "manifest.json").stat().st_mtime_ns
    prepare_neighbors(first, tmp_path / "out", rule, resume=True)
    assert (tmp_path / "out" / "gallery" / "manifest.json").stat().st_mtime_ns == before
    second = make_store(tmp_path / "second", 90, seed=1)
    with pytest.raises(ArtifactError, match="not the gallery of"):
        prepare_neighbors(second, tmp_path / "out", rule, resume=True)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    store = make_store(tmp_path / "store", 60)
    before = sorted(path.name for path in store.folder.iterdir())
    with pytest.raises(InputError, match="holds something else than a gallery and neighbor lists"):
        prepare_neighbors(store, store.folder, NeighborRule(num_neighbors=2), resume=True)
    assert sorted(path.name for path in store.folder.iterdir()) == before


def test_stores_without_splits_and_without_images(tmp_path):
    store = make_store(tmp_path / "store", 60, splits=(None,))
    report = prepare_neighbors(store, tmp_path / "out", NeighborRule(num_neighbors=2))
    assert (report.num_gallery, report.num_lists) == (60, 60)
    del store.dims["image"]
    with pytest.raises(InputError, match="no modality image"):
        prepare_neighbors(store, tmp_path / "other", NeighborRule())
    only_tests = make_store(tmp_path / "tests", 30, splits=("test",))
    with pytest.raises(InputError, match="no photo to learn from, only those of the splits test"):
        prepare_neighbors(only_tests, tmp_path / "none", NeighborRule())


def test_the_gallery_keeps_what_is_known(tmp_path):
    store = make_store(tmp_path / "store", 90)
    table = Gallery.load(prepare_neighbors(store, tmp_path / "out", NeighborRule()).gallery).table
    expected = store.table(store.rows_of("train"))
    for name in ("id", "owner", "sha256", "attribution", "lat", "lng"):
        assert getattr(table, name).tolist() == expected[name].tolist()


def test_known_rows_are_those_of_the_store(tmp_path):
    store = make_store(tmp_path / "store", 90)
    rows = store.rows_of("val")
    known, table = KnownStoreRows(store, rows), store.table(rows)
    some = np.array([3, 0, 3, len(rows) - 1])
    for name in ("owner", "sha256"):
        assert list(getattr(known, name)[some]) == list(table[name][some])
    np.testing.assert_array_equal(known.position(rows), np.arange(len(rows)))
    assert (known.position(store.rows_of("test")) == -1).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_neighbors": 0}, "num_neighbors is 0"),
        ({"max_fetched": 3}, "max_fetched is 3; give at least num_neighbors, 20"),
        ({"within_km": -1}, "within_km is -1"),
        ({"min_duplicate_similarity": 2}, "min_duplicate_similarity is 2"),
    ],
)
def test_impossible_rules(fields, message):
    with pytest.raises(InputError, match=message):
        NeighborRule(**fields)
