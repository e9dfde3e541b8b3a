import threading
from pathlib import Path

import numpy as np
import pytest

from feature_stores import make_store
from geotoken.errors import InputError
from geotoken.features.write import Modality, StoreWriter
from geotoken.train import recipe
from geotoken.train.neighbors import NeighborRule
from geotoken.train.recipe import Sources, find_lists, open_sources, plan_decoder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    make_store(folder / "store", 90)
    return folder / "store"


@pytest.fixture
def any_encoder(monkeypatch):
    monkeypatch.setattr(recipe, "check_encoder", lambda *given, **named: None)


def test_places():
    sources = Sources(store=Path("a"), out=Path("b/model"))
    assert sources.work == Path.cwd() / "b/model.training"
    assert sources.neighbors == sources.work / "neighbors"
    assert Sources(store=Path("a"), out=Path("b"), gallery=Path("g")).neighbors == Path("g")


def test_only_vectors_that_a_photo_has_at_run_time_are_read(store, tmp_path):
    opened = open_sources(Sources(store=store, out=tmp_path / "m"))
    assert opened.settings.model.modalities == (("image", 8),)  # the store has text, a photo has not
    with pytest.raises(InputError, match=r"the network reads text vectors.*give an alignment"):
        open_sources(
            Sources(store=store, out=tmp_path / "m"), None, {"model": {"modalities": (("text", 3),)}}
        )


def test_a_store_without_image_vectors(tmp_path):
    writer = StoreWriter.open(tmp_path / "s", {"look": Modality(4, "enc")}, "f", resume=False)
    row = {"id": "a", "lat": 1.0, "lng": 2.0}
    writer.append([row], {"look": np.ones((1, 4), np.float16)}, num_items=1, failures=[])
    writer.finish()
    with pytest.raises(InputError, match="has no modality image, only look"):
        open_sources(Sources(store=tmp_path / "s", out=tmp_path / "m"))


def test_a_plan_needs_no_lists(store, tmp_path):
    opened = open_sources(Sources(store=store, out=tmp_path / "m"), None, {"loop": {"batch_size": 10}})
    plan = plan_decoder(opened, machine_tflops=1.0)
    assert plan.num_rows == 54  # those of the split train
    with pytest.raises(InputError, match=r"machine_tflops .* is -1; give more than 0"):
        plan_decoder(opened, machine_tflops=-1)
    assert list(tmp_path.iterdir()) == []


def test_lists_are_found_once_and_others_wait(store, tmp_path, monkeypatch, any_encoder):
    sources = Sources(store=store, out=tmp_path / "m")
    opened = open_sources(sources)
    found = []
    monkeypatch.setenv("RANK", "1")
    waiting = threading.Thread(target=lambda: found.append(find_lists(sources, opened)), daemon=True)
    waiting.start()
    waiting.join(0.5)
    assert not found
    monkeypatch.setenv("RANK", "0")
    lists = find_lists(sources, opened)
    waiting.join(10)
    np.testing.assert_array_equal(found[0].query_rows, lists.query_rows)
    again = find_lists(sources, opened)
    np.testing.assert_array_equal(again.take(np.arange(5))[0], lists.take(np.arange(5))[0])
    assert lists.rule["num_neighbors"] == opened.settings.neighbors.num_neighbors == 20
    assert NeighborRule(**lists.rule) == opened.settings.neighbors


def test_a_model_that_is_there_is_not_overwritten(store, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "note.txt").write_text("mine", encoding="utf-8")
    sources = Sources(store=store, out=tmp_path / "m")
    with pytest.raises(InputError, match="exists; give another --out"):
        find_lists(sources, open_sources(sources))
