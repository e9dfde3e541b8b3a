"""What the steps share; the steps in order are run by tests/integration/test_cli_train_reward.py."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geotoken.artifact import load_artifact
from geotoken.errors import ArtifactError, InputError
from geotoken.reward import RewardConfig, RewardModel
from geotoken.reward.network import RewardNetwork
from geotoken.train.reward_recipe import add_reward, fold_of, open_reward, work_folder


@pytest.fixture
def folder(tmp_path, tiny_model):
    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return RewardNetwork(RewardConfig(width=16, num_layers=1, num_heads=2, feed_forward=16))


def test_folds_part_no_owner_and_are_as_big_as_can_be():
    owner = np.repeat(np.random.default_rng(0).integers(0, 2**40, 50), 3)
    fold = fold_of(owner, 4)
    for number in range(4):
        assert not set(owner[fold == number]) & set(owner[fold != number])
        assert len(set(owner[fold == number])) in (12, 13)
    np.testing.assert_array_equal(fold_of(owner[::-1], 4), fold[::-1])


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
    assert sorted(one.name for one in folder.iterdir() if one.name.startswith(".")) == []
    assert RewardModel.load(folder / "reward").config == network.config


def test_a_damaged_model_gets_none(folder, network):
    (folder / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"config\.json"):
        add_reward(folder, network)
    assert not (folder / "reward").exists()


def test_the_run_lies_beside_the_model(tmp_path):
    assert work_folder(tmp_path / "model") == tmp_path.resolve() / "model.training" / "reward"


def test_a_model_must_say_how_it_was_trained(tmp_path, tiny_transformer, monkeypatch):
    store = SimpleNamespace(dims={"image": 3}, encoders={"image": "x"})
    monkeypatch.setattr("geotoken.train.reward_recipe.FeatureStore.open", lambda folder: store)
    monkeypatch.setattr("geotoken.train.reward_recipe.check_encoder", lambda *args, **named: None)
    with pytest.raises(
        InputError, match=r"has no training\.toml, so which photos it was trained on is not known"
    ):
        open_reward(tmp_path, tiny_transformer)


def test_several_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="start it without torchrun"):
        open_reward(tmp_path, tmp_path)
