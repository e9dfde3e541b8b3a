import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geotoken.artifact import load_artifact
from geotoken.errors import ArtifactError
from geotoken.manifest import write_manifest
from geotoken.reward import RewardConfig, RewardModel
from geotoken.reward.network import RewardNetwork
from geotoken.train.reward_publish import add_reward, describe_reward


@pytest.fixture
def folder(tmp_path, tiny_model):
    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return RewardNetwork(RewardConfig(width=16, num_layers=1, num_heads=2, feed_forward=16))


def test_a_reward_model_is_added_replaced_and_described(folder, network):
    assert add_reward(folder, network, card="## Reward model\n\nFirst.\n") < 1e-5
    assert load_artifact(folder).manifest["files"].keys() >= {"reward/reward.onnx", "reward/reward.json"}
    first = (folder / "reward" / "reward.onnx").read_bytes()
    with torch.no_grad():
        network.head.bias += 1
    add_reward(folder, network, card="## Reward model\n\nSecond.\n")
    load_artifact(folder)
    assert (folder / "reward" / "reward.onnx").read_bytes() != first
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == "# tiny\n\n## Reward model\n\nSecond.\n"
    path = folder / "MODEL_CARD.md"
    path.write_text(f"{card}\n## Thanks\n\nTo all.\n", encoding="utf-8")
    write_manifest(folder, kind="geotoken-model", format_version=1)
    add_reward(folder, network, card="## Reward model\n\nThird.\n")
    card = path.read_text(encoding="utf-8")
    assert card == "# tiny\n\n## Reward model\n\nThird.\n\n## Thanks\n\nTo all.\n"
    assert sorted(one.name for one in folder.iterdir() if one.name.startswith(".")) == []
    assert RewardModel.load(folder / "reward").config == network.config


def test_a_damaged_model_gets_none(folder, network):
    (folder / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"config\.json"):
        add_reward(folder, network)
    assert not (folder / "reward").exists()


@pytest.mark.parametrize(
    ("num_folds", "words"), [(0, "on which the model was not trained"), (3, "in 3 folds, each decoded by")]
)
def test_the_card_says_who_decoded_what_and_how_good_it_is(network, num_folds, words):
    stage = SimpleNamespace(module=network, num_rows=1234, validation_rows=np.arange(56))
    best = {"loss": 0.1, "reward": 61.25, "log_prob": 40.0, "posterior": 50.04, "best": 80.0}
    text = describe_reward(stage, SimpleNamespace(best=best), store="run", num_folds=num_folds)
    assert text.startswith("## Reward model\n")
    assert words in text
    assert "1,234 photos of the feature store `run`" in text
    assert "56 of other owners" in text
    assert "| 61.2 | 40.0 | 50.0 | 80.0 |" in text
