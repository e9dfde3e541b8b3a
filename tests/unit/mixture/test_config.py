import dataclasses
import json

import pytest

from geotoken.errors import ArtifactError, ConfigError
from geotoken.mixture import MixtureConfig


def test_save_and_load_give_the_same_parameters(config, tmp_path):
    config.save(tmp_path / "mixture.json")
    assert MixtureConfig.load(tmp_path / "mixture.json") == config


def test_scales_of_all_parts_must_match(config):
    with pytest.raises(ConfigError, match="4 scales, but the model has 5"):
        dataclasses.replace(config, broad_scales_km=(400.0, 900.0))
    with pytest.raises(ConfigError, match="rising"):
        dataclasses.replace(config, sharp_scales_km=(5.0, 0.3, 40.0))
    with pytest.raises(ConfigError, match="rank_slope has 1 entries"):
        dataclasses.replace(config.with_similarity, rank_slope=(0.0,))
    with pytest.raises(ConfigError, match="agreement_slope must have 4 rows"):
        dataclasses.replace(config.guess, agreement_slope=((0.0,),))
    with pytest.raises(ConfigError, match="similarity_std"):
        dataclasses.replace(config.with_similarity, similarity_std=0.0)
    with pytest.raises(ConfigError, match="num_neighbors"):
        dataclasses.replace(config.with_similarity, num_neighbors=0)


def _without(data, name):
    return {k: v for k, v in data.items() if k != name}


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: [],
        lambda data: _without(data, "guess"),
        lambda data: data | {"guess": data["guess"] | {"surprise": 1}},
        lambda data: data | {"sharp_scales_km": []},
        lambda data: data | {"sharp_scales_km": "wide"},
    ],
)
def test_load_refuses_damaged_parameters(config, tmp_path, damage):
    path = tmp_path / "mixture.json"
    config.save(path)
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(ArtifactError, match="install the model again"):
        MixtureConfig.load(path)


def test_load_refuses_text_that_is_no_json(tmp_path):
    (tmp_path / "mixture.json").write_text("{")
    with pytest.raises(ArtifactError, match="parameters of a mixture"):
        MixtureConfig.load(tmp_path / "mixture.json")
