import json

import pytest

from geotoken.errors import ArtifactError, ConfigError
from geotoken.model import ModelConfig
from geotoken.tokens import TokenScheme


def test_the_paper_reads_214_positions():
    config = ModelConfig.paper()
    assert config.num_positions(15) == 214
    assert config.scheme == TokenScheme(20, 2)
    assert (config.width, config.num_encoder_layers, config.num_decoder_layers) == (512, 10, 10)
    assert (config.num_heads, config.feed_forward, config.vocabulary_size) == (8, 1024, 16)


def test_a_pooled_neighbor_is_one_position():
    assert ModelConfig.compact().num_positions(24) == 25


@pytest.mark.parametrize("config", [ModelConfig.paper(), ModelConfig.compact()])
def test_what_is_saved_is_loaded(tmp_path, config):
    config.save(tmp_path / "model.json")
    assert ModelConfig.load(tmp_path / "model.json") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 33}, "width"),
        ({"width": 32, "num_heads": 5}, "num_heads"),
        ({"num_decoder_layers": 0}, "num_decoder_layers"),
        ({"num_neighbors": 2.5}, "num_neighbors"),
        ({"num_guesses": -1}, "num_guesses"),
        ({"dropout": 1.0}, "dropout"),
        ({"layout": "flat"}, "full, pooled"),
        ({"norm": "none"}, "post, pre"),
        ({"head": "copy"}, "generator, pointer, kernel, kernel_only"),
        ({"rank_embedding": 1}, "rank_embedding"),
        ({"modalities": (("image", 8), ("image", 9))}, "modalities"),
        ({"modalities": (("image", 0),)}, "modalities"),
        ({"level": 21}, "group_size"),
    ],
)
def test_impossible_values_are_named(make_config, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_config("pointer", **changes)


@pytest.mark.parametrize("change", ["absent", "broken", "unknown", "missing", "impossible"])
def test_a_damaged_file_is_an_artifact_error(tmp_path, change):
    path = tmp_path / "model.json"
    ModelConfig.compact().save(path)
    data = json.loads(path.read_text())
    if change == "absent":
        path.unlink()
    elif change == "broken":
        path.write_text("{")
    elif change == "unknown":
        path.write_text(json.dumps(data | {"depth": 3}))
    elif change == "missing":
        path.write_text(json.dumps({k: v for k, v in data.items() if k != "width"}))
    else:
        path.write_text(json.dumps(data | {"width": 33}))
    with pytest.raises(ArtifactError, match=r"model\.json"):
        ModelConfig.load(path)
