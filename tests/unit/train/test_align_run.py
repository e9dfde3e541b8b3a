import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from feature_stores import make_located_store
from geotoken.alignment import Alignment
from geotoken.errors import ArtifactError, ConfigError, InputError
from geotoken.model.config import ModelConfig
from geotoken.train import align_run
from geotoken.train.align_run import check_held_out, check_out, plan, prepare, read_settings, train_align
from geotoken.train.checkpoint import training_folder
from geotoken.train.config import LoopConfig, read_sections
from geotoken.train.log import read_log
from geotoken.train.losses import symmetric_info_nce
from geotoken.train.neighbors import NeighborRule, prepare_neighbors
from geotoken.train.store_cases import StoreCases

CONFIGS = Path(__file__).parents[3] / "configs"
FLAGS = {
    "network": {
        "dim": 16,
        "text_dim": 12,
        "hidden": [32],
        "num_frequencies": 16,
        "width": 24,
        "num_buckets": 256,
    },
    "align": {"validation_share": 0.2, "queue_size": 32},
    "loop": {"steps": 6, "batch_size": 16, "validate_every": 3, "accelerator": "cpu", "log_every": 1},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_located_store(tmp_path_factory.mktemp("located") / "store", 200, dim=10, num_towns=10)


def losses(out):
    return [row["loss"] for row in read_log(training_folder(out)) if row["loss"]]


def test_the_best_weights_become_an_alignment(store, tmp_path):
    stage, settings = prepare(store.folder, flags=FLAGS)
    outcome = train_align(stage, settings, tmp_path / "align")
    assert (outcome.step, outcome.interrupted) == (6, False)
    alignment = Alignment.load(tmp_path / "align")
    assert alignment.config == settings.network
    vectors = store.batch(stage.validation_rows)["image"].astype(np.float32)
    with torch.no_grad():
        expected = stage.module.project(torch.from_numpy(vectors))
        assert stage.validate(stage.module)["loss"] == pytest.approx(outcome.best["loss"], rel=1e-5)
    for name, value in alignment.project(vectors).items():
        np.testing.assert_allclose(value, expected[name].numpy(), atol=1e-5)
    names = sorted(path.name for path in (tmp_path / "align").iterdir())
    assert names == ["align.json", "align.safetensors", "manifest.json"]
    assert {"last.ckpt", "best.ckpt", "log.csv"} <= {
        p.name for p in training_folder(tmp_path / "align").iterdir()
    }


def test_a_resumed_run_goes_on_as_if_nothing_had_happened(store, tmp_path, monkeypatch):
    whole, part = tmp_path / "whole", tmp_path / "part"
    train_align(*prepare(store.folder, flags=FLAGS), whole)
    stage, settings = prepare(store.folder, flags=FLAGS)
    calls = []

    def failing(*given, **named):
        calls.append(1)
        if len(calls) > 30:
            raise RuntimeError("the machine was switched off")
        return symmetric_info_nce(*given, **named)

    monkeypatch.setattr("geotoken.train.align.symmetric_info_nce", failing)
    with pytest.raises(RuntimeError):
        train_align(stage, settings, part)
    monkeypatch.undo()
    assert not part.exists()
    with pytest.raises(InputError, match="--resume"):
        train_align(*prepare(store.folder, flags=FLAGS), part)
    train_align(*prepare(store.folder, flags=FLAGS), part, resume=True)
    assert losses(part)[-6:] == losses(whole)
    assert (part / "align.safetensors").read_bytes() == (whole / "align.safetensors").read_bytes()
    changed = {**FLAGS, "align": {**FLAGS["align"], "queue_size": 5}}
    other = prepare(store.folder, flags=changed)
    with pytest.raises(InputError, match="align"):
        train_align(*other, part, resume=True)


def test_nothing_else_is_replaced(store, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").write_text("mine")
    with pytest.raises(InputError, match="thesis exists and is no alignment"):
        check_out(tmp_path / "thesis", resume=True)
    (tmp_path / "empty").mkdir()
    check_out(tmp_path / "empty", resume=False)
    stage, settings = prepare(store.folder, flags=FLAGS | {"loop": FLAGS["loop"] | {"steps": 1}})
    train_align(stage, settings, tmp_path / "done")
    with pytest.raises(InputError, match="done is there already"):
        check_out(tmp_path / "done", resume=False)
    check_out(tmp_path / "done", resume=True)


def test_settings_are_defaults_then_a_file_then_flags(store, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[network]\nscales = [1, 8]\ndim = 32\n[loop]\nepochs = 3\nbatch_size = 8\n")
    settings = read_settings(store, path, flags={"loop": {"epochs": 5, "seed": None}})
    assert (settings.network.scales, settings.network.dim, settings.network.image_dim) == ((1, 8), 32, 10)
    assert (settings.loop.epochs, settings.loop.batch_size) == (5, 8)
    assert settings.loop.warmup_steps == align_run.LOOP_DEFAULTS["warmup_steps"]
    with_geoclip = read_settings(store, path, with_geoclip=True).network
    assert (with_geoclip.dim, with_geoclip.width, with_geoclip.num_hidden) == (512, 1024, 3)
    path.write_text("[align]\nque_size = 3\n")
    with pytest.raises(ConfigError, match="did you mean queue_size"):
        read_settings(store, path)
    path.write_text('[align]\nmodality = "look"\n')
    with pytest.raises(InputError, match="no vectors 'look', only image"):
        read_settings(store, path)


def test_the_shipped_file_says_what_the_defaults_are(store):
    assert read_settings(store, CONFIGS / "align.toml") == read_settings(store)
    assert read_settings(store, CONFIGS / "demo" / "align.toml").align.validation_share == 0.25


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("align*.toml")), ids=lambda path: path.name)
def test_every_shipped_file_trains_two_steps(store, tmp_path, path):
    small = {"batch_size": 8, "steps": 2, "epochs": 1, "accelerator": "cpu", "precision": "32-true"}
    network = {"width": 16, "num_frequencies": 8, "num_buckets": 64, "dim": 8, "hidden": [8]}
    flags = {"loop": small | {"warmup_steps": 0}, "network": network, "align": {"validation_share": 0.2}}
    outcome = train_align(*prepare(store.folder, path, flags=flags), tmp_path / "align")
    assert outcome.step == 2
    sections = read_sections(
        path, {"network": align_run.AlignmentConfig, "align": align_run.AlignConfig, "loop": LoopConfig}
    )
    assert set(sections) == {"network", "align", "loop"}


def test_a_plan_counts_what_a_step_takes(store):
    stage, settings = prepare(store.folder, flags=FLAGS)
    before = {name: value.clone() for name, value in stage.module.state_dict().items()}
    found = plan(stage, settings)
    parameters = sum(one.numel() for one in stage.module.parameters())
    assert sum(found.num_parameters.values()) == parameters
    assert found.state_bytes == 16 * parameters
    assert (found.num_rows, found.num_validation_rows) == (stage.num_rows, len(stage.validation_rows))
    assert found.num_steps == 6
    # At least the heads and the location encoder, forward and twice that backward but for the first layers.
    places = 16 + 32
    encoder = 3 * places * (32 * 24 + 24 * 24 + 24 * 16)
    heads = 16 * (2 * 10 * 32 + 32 * 16 + 32 * 12)
    assert 2 * 2 * (encoder + heads) < found.flops_per_step < 3 * 2 * (encoder + heads) * 1.5
    assert found.hours == pytest.approx(6 * found.seconds_per_step / 3600)
    for name, value in stage.module.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(one.grad is None for one in stage.module.parameters())


def test_training_begins_with_geoclips_encoder(store, monkeypatch, tmp_path):
    pytest.importorskip("transformers", reason="the extra backbones is not installed")
    from geotoken.alignment.network import LocationEncoder, ProjectionHead
    from geotoken.backbones.network import GeoClip

    theirs = LocationEncoder()
    parts = GeoClip(theirs, ProjectionHead([768, 512]), 20.0)
    monkeypatch.setattr("geotoken.backbones.network.load_geoclip", lambda package: parts)
    stage, settings = prepare(store.folder, flags=FLAGS, geoclip=tmp_path / "a.whl")
    assert settings.network.dim == 512
    for name, value in theirs.state_dict().items():
        assert torch.equal(stage.module.location_encoder.state_dict()[name], value)
    assert stage.module.log_scales["location"].exp().item() == pytest.approx(20.0)


def test_another_file_than_geoclips_package_is_refused(store, tmp_path):
    pytest.importorskip("transformers", reason="the extra backbones is not installed")
    (tmp_path / "a.whl").write_bytes(b"no wheel")
    with pytest.raises(InputError, match="is not the package geoclip"):
        prepare(store.folder, flags=FLAGS, geoclip=tmp_path / "a.whl")


def test_a_frozen_text_encoder_is_named_in_the_configuration(store, monkeypatch, tmp_path):
    monkeypatch.setattr(
        "geotoken.train.texts.encode_texts",
        lambda encoder, texts, **named: (
            np.random.default_rng(0).normal(size=(len(texts), 7)).astype(np.float32)
        ),
    )
    stage, settings = prepare(store.folder, flags=FLAGS, text_encoder="me/clip")
    assert (settings.network.text_encoder, settings.network.text_encoder_dim) == ("me/clip", 7)
    assert train_align(stage, settings, tmp_path / "align").step == 6
    assert json.loads((tmp_path / "align" / "align.json").read_text())["text_encoder"] == "me/clip"
    with pytest.raises(InputError, match="no texts to encode"):
        prepare(store.folder, flags={**FLAGS, "network": {"text": "none"}}, text_encoder="me/clip")


def test_a_store_that_is_none_is_refused(tmp_path):
    with pytest.raises(ArtifactError):
        prepare(tmp_path / "missing")


def test_what_validates_a_later_stage_must_not_have_been_learnt_from(store, tmp_path):
    stage, settings = prepare(store.folder, flags=FLAGS | {"loop": FLAGS["loop"] | {"steps": 1}})
    train_align(stage, settings, tmp_path / "align")
    check_held_out(tmp_path / "align", store, 0.2)
    check_held_out(tmp_path / "align", store, 0.1)
    with pytest.raises(InputError, match=r"its validation_share was 0.2, and that of \[decoder\] is 0.3"):
        check_held_out(tmp_path / "align", store, 0.3)
    lists = prepare_neighbors(store, tmp_path / "neighbors", NeighborRule(num_neighbors=2)).lists
    cases = StoreCases.open(store, lists, replace(ModelConfig.compact(), modalities=(("image", 10),)))
    for share in (0.1, 0.2):  # owners held out with a smaller share are held out with a greater one
        held_out = np.flatnonzero(cases.held_out(share))
        assert len(held_out)
        assert not set(held_out) & set(stage.train_rows)
    other = make_located_store(tmp_path / "other", 90, dim=10)
    check_held_out(tmp_path / "align", other, 0.3)
