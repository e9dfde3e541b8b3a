import json

import numpy as np
import pytest

from feature_stores import make_store
from geotoken.errors import ArtifactError, InputError
from geotoken.train.neighbor_lists import ListWriter, NeighborLists, pad_lists

K = 3
RULE = {"num_neighbors": K}


def write(folder, store, num_lists=10, sizes=(4, 4, 2)):
    rng = np.random.default_rng(0)
    rows = rng.integers(-1, 20, (num_lists, K))
    similarity = rng.uniform(-1, 1, (num_lists, K))
    writer = ListWriter.open(folder, store, RULE, (np.arange(num_lists), np.arange(20)), resume=False)
    for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        writer.append(rows[start : start + size], similarity[start : start + size])
    writer.finish()
    return rows, similarity.astype(np.float32)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "store", 30)


def test_lists_are_read_as_written(store, tmp_path):
    rows, similarity = write(tmp_path / "lists", store)
    lists = NeighborLists.open(tmp_path / "lists", store)
    assert (len(lists), lists.num_neighbors, lists.rule) == (10, K, RULE)
    asked = np.array([9, 0, 4, 4, 7, 3])
    found = lists.take(asked)
    np.testing.assert_array_equal(found[0], rows[asked])
    np.testing.assert_array_equal(found[1], similarity[asked])
    assert (found[0].dtype, found[1].dtype) == (np.int64, np.float32)
    for bad in ([10], [-1]):
        with pytest.raises(InputError, match="from 0 to 9"):
            lists.take(np.array(bad))


@pytest.mark.parametrize("name", ["00001.npy", "query_rows.npy", "gallery_rows.npy"])
def test_damage_is_named(store, tmp_path, name):
    write(tmp_path / "lists", store)
    path = tmp_path / "lists" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=name):
        NeighborLists.open(tmp_path / "lists", store)
    path.unlink()
    with pytest.raises(ArtifactError, match=name):
        NeighborLists.open(tmp_path / "lists", store, verify=False)


def test_lists_of_another_store_are_refused(store, tmp_path):
    write(tmp_path / "lists", store)
    with pytest.raises(ArtifactError, match="neighbors of other photos"):
        NeighborLists.open(tmp_path / "lists", make_store(tmp_path / "other", 33))


@pytest.mark.parametrize("entry", ["rule", "shards", "store", "num_neighbors"])
def test_a_manifest_that_lacks_something(store, tmp_path, entry):
    write(tmp_path / "lists", store)
    path = tmp_path / "lists" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest[entry]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ArtifactError, match=entry):
        NeighborLists.open(tmp_path / "lists", store)


def test_finished_lists_are_not_written_over(store, tmp_path):
    write(tmp_path / "lists", store)
    rows = (np.arange(10), np.arange(20))
    with pytest.raises(InputError, match="already holds neighbor lists"):
        ListWriter.open(tmp_path / "lists", store, RULE, rows, resume=False)
    with pytest.raises(InputError, match="already holds neighbor lists"):
        ListWriter.open(tmp_path / "lists", store, {"num_neighbors": 4}, rows, resume=True)
    assert ListWriter.open(tmp_path / "lists", store, RULE, rows, resume=True).is_finished
    (tmp_path / "photos").mkdir()
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        ListWriter.open(tmp_path / "photos", store, RULE, rows, resume=False)


def test_lists_are_padded():
    found = [(np.array([0.5, 0.25]), np.array([7, 3])), (np.empty(0), np.empty(0, dtype=np.int64))]
    rows, similarity = pad_lists(found, 3)
    np.testing.assert_array_equal(rows, [[7, 3, -1], [-1, -1, -1]])
    np.testing.assert_array_equal(similarity, [[0.5, 0.25, 0], [0, 0, 0]])
