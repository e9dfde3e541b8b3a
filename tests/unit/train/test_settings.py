from pathlib import Path

import pytest

from geotoken.errors import ConfigError
from geotoken.model import ModelConfig
from geotoken.model.network import GeoTokenModel
from geotoken.train.config import flat_sections, save_sections
from geotoken.train.decoder import DecoderStage
from geotoken.train.loop import fit
from geotoken.train.settings import SECTIONS, DecoderSettings
from settings_pages import fields_of, table_of
from training_cases import TINY, NearCases

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "configs"
NAMES = ("compact", "paper", "demo/decoder")
FLAGS = {
    "model": {**TINY, "level": 4, "modalities": (("image", 4),), "num_neighbors": 4},
    "loop": {"steps": 2, "batch_size": 8, "micro_batch": 4, "accelerator": "cpu", "validate_every": 2},
    "decoder": {"validation_share": 0.2},
}


@pytest.mark.parametrize("name", NAMES)
def test_each_file_trains_two_steps_of_a_tiny_network(tmp_path, name):
    settings = DecoderSettings.resolve(CONFIGS / f"{name}.toml", FLAGS)
    stage = DecoderStage(
        GeoTokenModel(settings.model), NearCases(settings.model), settings.decoder, settings.dropout
    )
    outcome = fit(stage, settings.loop, tmp_path, settings=flat_sections(settings))
    assert outcome.step == 2
    assert outcome.best["loss"] > 0


def test_the_paper_s_recipe():
    settings = DecoderSettings.resolve(CONFIGS / "paper.toml")
    assert settings.model == ModelConfig.paper()
    loop, decoder = settings.loop, settings.decoder
    assert (loop.epochs, loop.batch_size, loop.learning_rate, loop.weight_decay) == (50, 2048, 5e-5, 1e-6)
    assert (loop.schedule, loop.decay, loop.precision) == ("exponential", 0.9, "bf16-mixed")
    assert (loop.warmup_steps, loop.clip_norm, loop.ema_decay) == (0, 0, 0)
    assert (decoder.first_weight, decoder.last_weight, decoder.smoothing) == (2, 1, 0)
    assert (settings.dropout.neighbor, settings.dropout.modality) == (0, 0)
    assert settings.neighbors.num_neighbors == 15


def test_what_holds_without_a_file_is_compact_toml():
    assert DecoderSettings.resolve() == DecoderSettings.resolve(CONFIGS / "compact.toml")
    assert DecoderSettings.resolve().model == ModelConfig.compact()


def test_vectors_at_hand_are_read_unless_the_file_says_which():
    at_hand = (("image", 384), ("text", 5))
    assert DecoderSettings.resolve(None, None, at_hand).model.modalities == at_hand
    paper = DecoderSettings.resolve(CONFIGS / "paper.toml", None, at_hand).model
    assert paper.modalities == ModelConfig.paper().modalities


def test_flags_overrule_and_neighbors_follow_the_network():
    flags = {"loop": {"epochs": 2, "seed": None}, "model": {"num_neighbors": 7}}
    settings = DecoderSettings.resolve(None, flags)
    assert settings.loop.epochs == 2
    assert settings.neighbors.num_neighbors == 7


def test_an_unknown_entry(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("[dropout]\nneighbors = 0.1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"unknown neighbors in \[dropout\]; did you mean neighbor"):
        DecoderSettings.resolve(path)


def test_saved_settings_are_the_same(tmp_path):
    settings = DecoderSettings.resolve(CONFIGS / "paper.toml", {"neighbors": {"within_km": 2.0}})
    save_sections(tmp_path / "a.toml", settings)
    assert DecoderSettings.resolve(tmp_path / "a.toml") == settings


def test_what_must_be_equal_to_resume():
    flat = flat_sections(DecoderSettings.resolve())
    assert flat["model.width"] == 128
    assert flat["neighbors.same_owner"] is True
    assert not any(name.startswith("loop.") for name in flat)  # the loop looks after its own


@pytest.mark.parametrize("section", [name for name in SECTIONS if name != "model"])
def test_the_tables_of_the_page_are_those_of_the_dataclasses(section):
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert table_of(page, section) == fields_of(SECTIONS[section])
