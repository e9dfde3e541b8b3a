import json

import pytest

from geotoken.errors import ArtifactError, ConfigError
from geotoken.reward import RewardConfig


def test_a_configuration_comes_back(tmp_path):
    config = RewardConfig(width=32, modalities=("text", "location"), places=True)
    config.save(tmp_path / "reward.json")
    assert RewardConfig.load(tmp_path / "reward.json") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 30}, "width is 30"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"num_neighbors": 0}, "num_neighbors is 0"),
        ({"num_guesses": -1}, "num_guesses is -1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"places": 1}, "places is 1; give true or false"),
        ({"modalities": ("text", "text")}, "distinct name"),
        ({"modalities": ("a b",)}, "distinct name"),
    ],
)
def test_impossible_values_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        RewardConfig(**changes)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"modalities": [], "width": 30}', '{"modalities": 3}'])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "reward.json"
    path.write_text(content)
    with pytest.raises(ArtifactError, match=r"reward\.json does not hold the configuration"):
        RewardConfig.load(path)


def test_an_unknown_entry_is_refused(tmp_path):
    path = tmp_path / "reward.json"
    RewardConfig().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"depth": 3}))
    with pytest.raises(ArtifactError, match="depth"):
        RewardConfig.load(path)
