import numpy as np
import pytest

from geotoken.errors import ArtifactError
from geotoken.features.shard import FeatureFile, read_table, row_key, write_features, write_shard, write_table

KEYS = np.array([row_key(f"row-{number}") for number in range(5)])
VECTORS = np.arange(15, dtype=np.float16).reshape(5, 3) / 7


@pytest.fixture
def path(tmp_path):
    write_features(tmp_path / "f.safetensors", KEYS, VECTORS)
    return tmp_path / "f.safetensors"


def test_what_is_written_is_read(path):
    file = FeatureFile(path)
    np.testing.assert_array_equal(file.keys, KEYS)
    np.testing.assert_array_equal(file.vectors, VECTORS)
    assert file.vectors.dtype == np.float16
    assert not file.vectors.flags.writeable


def test_it_is_safetensors(path):
    numpy = pytest.importorskip("safetensors.numpy")
    tensors = numpy.load_file(path)
    np.testing.assert_array_equal(tensors["key"], KEYS)
    np.testing.assert_array_equal(tensors["vector"], VECTORS)


def test_no_rows_at_all(tmp_path):
    write_features(tmp_path / "f", KEYS[:0], VECTORS[:0])
    assert FeatureFile(tmp_path / "f").vectors.shape == (0, 3)


def test_keys_are_stable_and_differ():
    assert row_key("a") == 0xCABD1BCA128197CA - 2**64  # sha256 of "a" is ca978112ca1bbdca...
    assert len(set(KEYS.tolist())) == 5


@pytest.mark.parametrize("length", [0, 4, 60, 150])
def test_a_file_cut_short_is_named(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ArtifactError, match=r"f\.safetensors"):
        FeatureFile(path)


def test_other_tensors_are_refused(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({"vector": VECTORS, "key": KEYS, "more": KEYS}, tmp_path / "f")
    with pytest.raises(ArtifactError, match="f is cut short, or its header damaged"):
        FeatureFile(tmp_path / "f")


def test_a_table_in_any_order(tmp_path):
    path = tmp_path / "odd [name]*.parquet"
    rows = [
        {"id": f"row-{n}", "lat": n, "lng": -n, "owner": None if n == 2 else "é", "split": None}
        for n in range(5)
    ]
    write_table(path, KEYS, rows)
    whole = read_table(path, ("key", "lat", "lng", "id", "split"))
    np.testing.assert_array_equal(whole["key"], KEYS)
    np.testing.assert_array_equal(whole["lng"], [0, -1, -2, -3, -4])
    assert whole["split"].tolist() == [None] * 5
    some = read_table(path, ("id", "owner"), np.array([4, 2, 2, 0]))
    assert some["id"].tolist() == ["row-4", "row-2", "row-2", "row-0"]
    assert some["owner"].tolist() == ["é", None, None, "é"]


def test_a_damaged_table_is_named(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match=r"t\.parquet is not the table of a shard"):
        read_table(tmp_path / "t.parquet", ("id",))


def test_a_shard_is_a_table_and_a_file_for_each_kind_of_vector(tmp_path):
    rows = [{"id": f"row-{n}", "lat": n, "lng": -n} for n in range(len(VECTORS))]
    names = write_shard(tmp_path, "00007", rows, {"image": VECTORS, "text": VECTORS[:, :1]})
    assert names == ["00007.parquet", "00007.image.safetensors", "00007.text.safetensors"]
    keys = [row_key(row["id"]) for row in rows]
    assert read_table(tmp_path / names[0], ("key",))["key"].tolist() == keys
    np.testing.assert_array_equal(FeatureFile(tmp_path / names[1]).keys, keys)
    assert FeatureFile(tmp_path / names[2]).vectors.shape == (len(VECTORS), 1)
