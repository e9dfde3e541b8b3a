"""What the steps share; the steps in order are run by tests/integration/test_cli_train_reward.py."""

from types import SimpleNamespace

import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.train.reward_recipe import fold_of, open_reward, work_folder


def test_folds_part_no_owner_and_are_as_big_as_can_be():
    owner = np.repeat(np.random.default_rng(0).integers(0, 2**40, 50), 3)
    fold = fold_of(owner, 4)
    for number in range(4):
        assert not set(owner[fold == number]) & set(owner[fold != number])
        assert len(set(owner[fold == number])) in (12, 13)
    np.testing.assert_array_equal(fold_of(owner[::-1], 4), fold[::-1])


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
