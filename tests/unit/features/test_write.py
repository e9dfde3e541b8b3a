import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.features import FeatureStore
from geotoken.features.write import Modality, StoreWriter

KINDS = {"image": Modality(2, "enc")}


def open_writer(folder, *, resume=False, fingerprint="f"):
    return StoreWriter.open(folder / "store", KINDS, fingerprint, resume=resume)


def append(writer, number):
    rows = [{"id": f"{number}-{n}", "lat": 1.0, "lng": 2.0} for n in range(3)]
    assert all(writer.is_new(row["id"]) for row in rows)
    writer.append(rows, {"image": np.full((3, 2), number, np.float16)}, num_items=4, failures=[
        {"image": f"{number}-x", "reason": "no"}
    ])  # fmt: skip


def test_shards_stay_and_the_rest_is_done_again(tmp_path):
    writer = open_writer(tmp_path)
    for number in range(3):
        append(writer, number)
    (writer.folder / "00002.image.safetensors").write_bytes(b"cut")  # after the record, as a full disk may do
    again = open_writer(tmp_path, resume=True)
    assert again.num_items == 8
    assert not again.is_new("1-2")
    append(again, 2)
    again.finish()
    store = FeatureStore.open(tmp_path / "store")
    np.testing.assert_array_equal(store.batch(np.arange(9))["image"][:, 0], [0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    assert len((tmp_path / "store" / "failures.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    assert not [path for path in (tmp_path / "store").iterdir() if path.name.startswith(".")]


def test_rows_and_vectors_must_be_as_many(tmp_path):
    writer = open_writer(tmp_path)
    row = {"id": "a", "lat": 1.0, "lng": 2.0}
    with pytest.raises(AssertionError, match="as many"):
        writer.append([row], {"image": np.zeros((2, 2), np.float16)}, num_items=1, failures=[])


def test_what_is_there_is_never_overwritten(tmp_path):
    (tmp_path / "store").mkdir()
    with pytest.raises(InputError, match="not a feature store"):
        open_writer(tmp_path, resume=True)
    (tmp_path / "store").rmdir()
    (tmp_path / "store.partial").mkdir()
    with pytest.raises(InputError, match="not an unfinished store"):
        open_writer(tmp_path, resume=True)


def test_resuming_must_be_asked_for_and_fit(tmp_path):
    append(open_writer(tmp_path), 0)
    with pytest.raises(InputError, match="--resume"):
        open_writer(tmp_path)
    with pytest.raises(InputError, match="another source, or with other encoders"):
        open_writer(tmp_path, resume=True, fingerprint="g")
    writer = open_writer(tmp_path, resume=True)
    writer.finish()
    with pytest.raises(InputError, match="already is a feature store"):
        open_writer(tmp_path)
    done = open_writer(tmp_path, resume=True)
    assert done.is_finished
    assert done.records[0]["num_rows"] == 3
    assert done.records[0]["failures"] == [{"image": "0-x", "reason": "no"}]


def test_a_kill_while_finishing_loses_nothing(tmp_path, monkeypatch):
    writer = open_writer(tmp_path)
    append(writer, 0)
    with monkeypatch.context() as context:
        context.setattr("pathlib.Path.rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            writer.finish()
    open_writer(tmp_path, resume=True).finish()
    assert len(FeatureStore.open(tmp_path / "store")) == 3
