import json
import shutil

import duckdb
import numpy as np
import pytest

from geotoken.errors import ArtifactError, InputError
from geotoken.features import FeatureStore
from geotoken.features.write import Modality, StoreWriter
from geotoken.manifest import file_entry

SIZES = (4, 0, 7, 2)
NUM_ROWS = sum(SIZES)
DIMS = {"image": 5, "location": 3}


def make(folder, seed=0):
    """A store of random vectors; returns them."""
    random = np.random.default_rng(seed)
    writer = StoreWriter.open(
        folder, {n: Modality(d, f"enc-{n}") for n, d in DIMS.items()}, "f", resume=False
    )
    all_vectors = {name: [] for name in DIMS}
    number = 0
    for size in SIZES:
        rows = [
            {
                "id": f"p{n}",
                "lat": n,
                "lng": -n,
                "owner": f"o{n % 2}",
                "sha256": f"{n:064}",
                "attribution": f"by {n}",
                "split": "ab"[n % 2],
            }
            for n in range(number, number + size)
        ]
        number += size
        vectors = {name: random.normal(size=(size, dim)).astype(np.float16) for name, dim in DIMS.items()}
        for name, one in vectors.items():
            all_vectors[name].append(one)
        writer.append(rows, vectors, num_items=size, failures=[])
    writer.finish()
    return {name: np.concatenate(blocks) for name, blocks in all_vectors.items()}


@pytest.fixture
def made(tmp_path):
    return tmp_path / "store", make(tmp_path / "store")


def test_credits(made):
    folder, _ = made
    store = FeatureStore.open(folder)
    assert store.table(np.array([3, 0]))["attribution"].tolist() == ["by 3", "by 0"]
    assert store.table(np.array([3]))["license"].tolist() == [None]
    assert list(store.table(np.array([3]), ("license",))) == ["license", "lat", "lng"]
    assert store.splits == ["a", "b"]


def test_stores_of_the_first_version_have_no_credits(made):
    folder, _ = made
    for path in folder.glob("*.parquet"):  # as they were written then
        with duckdb.connect() as connection:
            rows = connection.sql(f"select key, lat, lng, id, owner, sha256, split from '{path}'")
            rows.write_parquet(str(path.with_suffix(".new")))
        path.with_suffix(".new").replace(path)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del manifest["columns"]
    for path in folder.glob("*.parquet"):
        manifest["files"][path.name] = file_entry(path)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    table = FeatureStore.open(folder).table(np.array([3, 0]))
    assert table["id"].tolist() == ["p3", "p0"]
    assert table["attribution"].tolist() == [None, None]
    assert FeatureStore.open(folder).table(np.array([3]), ("license",))["license"].tolist() == [None]


def test_random_batches_across_shards(made):
    folder, vectors = made
    store = FeatureStore.open(folder)
    assert len(store) == NUM_ROWS
    assert store.dims == DIMS
    assert store.encoders == {"image": "enc-image", "location": "enc-location"}
    random = np.random.default_rng(1)
    for _ in range(20):
        rows = random.integers(0, NUM_ROWS, 9)
        batch = store.batch(rows)
        for name in DIMS:
            np.testing.assert_array_equal(batch[name], vectors[name][rows])
        assert store.table(rows)["id"].tolist() == [f"p{row}" for row in rows]
        np.testing.assert_array_equal(store.lat[rows], rows)
    assert list(store.batch(np.array([3]), ["location"])) == ["location"]
    assert store.batch(np.empty(0, dtype=np.int64))["image"].shape == (0, 5)


def test_splits(made):
    store = FeatureStore.open(made[0])
    np.testing.assert_array_equal(store.rows_of("b"), np.arange(1, NUM_ROWS, 2))
    with pytest.raises(InputError, match="no split 'c'; this store has a, b"):
        store.rows_of("c")


@pytest.mark.parametrize("rows", [[-1], [NUM_ROWS], [[0]]])
def test_rows_that_are_not_there(made, rows):
    with pytest.raises(InputError, match=f"positions from 0 to {NUM_ROWS - 1}"):
        FeatureStore.open(made[0]).batch(np.array(rows))


def test_modalities_that_are_not_there(made):
    with pytest.raises(InputError, match="no modality 'text'; this store has image, location"):
        FeatureStore.open(made[0]).batch(np.array([0]), ["text"])


@pytest.mark.parametrize("name", ["00002.image.safetensors", "00000.location.safetensors", "00003.parquet"])
def test_a_shard_with_a_flipped_bit_is_named(made, name):
    path = made[0] / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{name} was changed"):
        FeatureStore.open(made[0])


@pytest.mark.parametrize("verify", [True, False])
def test_a_shard_that_is_missing_or_short_is_named(made, verify):
    path = made[0] / "00002.image.safetensors"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ArtifactError, match=r"00002\.image\.safetensors"):
        FeatureStore.open(made[0], verify=verify)
    path.unlink()
    with pytest.raises(ArtifactError, match=r"00002\.image\.safetensors"):
        FeatureStore.open(made[0], verify=verify)


def test_features_of_other_rows_are_refused_even_unverified(made):
    """Files of two shards exchanged, and the manifest made to agree: the keys still tell."""
    folder, _ = made
    a, b = folder / "00000.image.safetensors", folder / "00000.location.safetensors"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for name in ("00002.parquet", "00002.image.safetensors", "00002.location.safetensors"):
        other = name.replace("00002", "00000")
        if name.endswith("image.safetensors"):
            continue
        shutil.copyfile(folder / name, folder / other)
        manifest["files"][other] = manifest["files"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert a.is_file()
    assert b.is_file()
    for verify in (True, False):
        with pytest.raises(
            ArtifactError, match=r"00000\.image\.safetensors and 00000\.parquet are not about"
        ):
            FeatureStore.open(folder, verify=verify)


def test_a_row_twice_is_refused(made):
    folder, _ = made
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for name in ("parquet", "image.safetensors", "location.safetensors"):
        shutil.copyfile(folder / f"00000.{name}", folder / f"00004.{name}")
        manifest["files"][f"00004.{name}"] = manifest["files"][f"00000.{name}"]
    manifest["shards"].append("00004")
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ArtifactError, match="a row twice"):
        FeatureStore.open(folder)


@pytest.mark.parametrize(
    "change", [{"shards": ["../00000"]}, {"modalities": {"../x": {"dim": 1, "encoder": "e"}}}]
)
def test_names_that_reach_outside_are_refused(made, change):
    folder, _ = made
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps(manifest | change), encoding="utf-8")
    with pytest.raises(ArtifactError, match="impossible names"):
        FeatureStore.open(folder)


def test_an_unfinished_store_says_how_to_go_on(tmp_path):
    StoreWriter.open(tmp_path / "store", {"image": Modality(2, "e")}, "f", resume=False)
    with pytest.raises(ArtifactError, match=r"not finished.*--resume"):
        FeatureStore.open(tmp_path / "store")


def test_something_else_is_refused(tmp_path):
    with pytest.raises(ArtifactError):
        FeatureStore.open(tmp_path)
