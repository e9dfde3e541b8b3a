import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from geotoken.errors import ConfigError, InputError
from geotoken.reward import RewardConfig
from geotoken.reward.network import RewardNetwork
from geotoken.train.config import LoopConfig, flat_sections
from geotoken.train.draws import Draws
from geotoken.train.loop import fit
from geotoken.train.reward import RewardStage, RewardTraining, judge_loss, split_owners, thresholds_met
from geotoken.train.reward_cases import CandidateOptions, RewardCases, make_cases
from geotoken.train.reward_settings import RewardSettings
from reward_world import make_world

CONFIGS = Path(__file__).parents[3] / "configs"
NETWORK = RewardConfig(width=16, num_layers=1, num_heads=2, feed_forward=32, dropout=0.0)


@pytest.fixture(scope="module")
def cases(tmp_path_factory, tiny_mixture):
    evidence, lat, lng, owner = make_world(120, 1)
    options = CandidateOptions(num_samples=3, temperatures=(1.0,), max_candidates=12, epsilon=0.05)
    return make_cases(
        tiny_mixture, evidence, (lat, lng, owner), tmp_path_factory.mktemp("cases") / "c", options=options
    )


def make_stage(cases, **training):
    torch.manual_seed(0)
    return RewardStage(RewardNetwork(NETWORK), cases, RewardTraining(**training))


def test_it_learns_to_choose_better_than_by_log_probability(cases, tmp_path):
    """The tiny version of benchmarks/reward.py: similarities tell what the mixture does not know to read."""
    stage = make_stage(cases, validation_share=0.4)
    loop = LoopConfig(
        steps=120, batch_size=24, learning_rate=5e-3, validate_every=30, accelerator="cpu", weight_decay=0.0
    )
    outcome = fit(stage, loop, tmp_path)
    untrained = make_stage(cases, validation_share=0.4).validate(RewardNetwork(NETWORK).eval())
    assert outcome.best["loss"] < 0.6 * untrained["loss"]
    assert outcome.best["reward"] > outcome.best["log_prob"] + 8
    assert outcome.best["reward"] > outcome.best["posterior"] + 4
    assert outcome.best["reward"] <= outcome.best["best"]


def test_the_recipe_trains_two_steps_of_a_tiny_network(cases, tmp_path):
    tiny = {"width": 8, "num_layers": 1, "num_heads": 2, "feed_forward": 8}
    flags = {"network": tiny, "loop": {"steps": 2, "accelerator": "cpu"}}
    settings = RewardSettings.resolve(CONFIGS / "reward.toml", flags)
    stage = RewardStage(RewardNetwork(settings.network), cases, settings.training)
    assert fit(stage, settings.loop, tmp_path, settings=flat_sections(settings)).step == 2


def test_untrained_it_chooses_as_the_posterior_does(cases):
    stage = make_stage(cases)
    figures = stage.validate(stage.module.eval())
    assert figures["reward"] == pytest.approx(figures["posterior"], abs=1.0)
    assert set(figures) == {"loss", "reward", "log_prob", "posterior", "best"}


def test_the_split_parts_no_owner(cases):
    stage = make_stage(cases)
    train, validation = (set(cases.owner[rows]) for rows in (stage.train_rows, stage.validation_rows))
    assert not train & validation
    assert len(validation) == 12
    assert stage.num_rows + len(stage.validation_rows) == len(cases)


def test_owners_are_split_whatever_their_number():
    owner = np.array([7, 7, 3, 3, 3])
    for share in (0.01, 0.99):
        held_out = split_owners(owner, share)
        assert 0 < held_out.sum() < 5
        assert len(np.unique(held_out[:2])) == len(np.unique(held_out[2:])) == 1
    assert split_owners(np.array([5, 5]), 0.2).all()


def test_one_owner_is_too_few(cases):
    alone = RewardCases(cases.batch, cases.lat, cases.lng, np.zeros(len(cases), dtype=np.int64))
    with pytest.raises(InputError, match="of 1 owners; training and validation need at least one each"):
        make_stage(alone)


def test_a_threshold_is_met_at_exactly_its_distance():
    met = thresholds_met(np.array([[0.0, 1.0, 1.0001, 2500.0, 9000.0]]))
    assert met[0].sum(axis=1).tolist() == [5, 5, 4, 1, 0]


def test_the_loss_is_the_cross_entropy_of_candidates_that_are_there():
    logits, met = torch.randn(2, 3, 5), (torch.rand(2, 3, 5) < 0.5).float()
    mask = torch.tensor([[True, True, False], [True, False, False]])
    p = torch.sigmoid(logits)
    each = -(met * p.log() + (1 - met) * (1 - p).log()).mean(dim=-1)
    expected = ((each[0, 0] + each[0, 1]) / 2 + each[1, 0]) / 2
    torch.testing.assert_close(judge_loss(logits, met, mask), expected)


def test_a_step_does_not_depend_on_how_its_batch_is_divided(cases):
    stage = make_stage(cases, num_candidates=5)
    rows = np.arange(8)
    whole, _ = stage.loss(stage.module, rows, Draws(0, 3, 0, 8))
    parts = [stage.loss(stage.module, rows[i : i + 4], Draws(0, 3, i, 4))[0] for i in (0, 4)]
    torch.testing.assert_close(sum(parts) / 2, whole)
    other, _ = stage.loss(stage.module, rows, Draws(0, 4, 0, 8))
    assert other.item() != whole.item()  # other candidates are drawn


def test_candidates_that_are_not_there_are_never_drawn(cases):
    batch = dataclasses.replace(
        cases.batch, mask=cases.batch.mask & (np.arange(cases.batch.mask.shape[1]) < 3)
    )
    fewer = RewardCases(batch, cases.lat, cases.lng, cases.owner)
    # With as many drawn as there are, nothing is left to chance.
    stage = make_stage(fewer, num_candidates=3)
    first, second = (stage.loss(stage.module, np.arange(8), Draws(0, step, 0, 8))[0] for step in (0, 1))
    torch.testing.assert_close(first, second)


def test_ranking_adds_what_the_choice_misses(cases):
    plain, ranked = (
        make_stage(cases, ranking_weight=weight).loss(
            RewardNetwork(NETWORK), np.arange(8), Draws(0, 0, 0, 8)
        )[0]
        for weight in (0.0, 1.0)
    )
    assert 0 < (ranked - plain).item() < 1
    stage = make_stage(cases, ranking_weight=1.0, ranking_temperature=0.5)
    loss, _ = stage.loss(stage.module, np.arange(8), Draws(0, 0, 0, 8))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in stage.module.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_share": 1.0}, "validation_share is 1.0"),
        ({"num_candidates": 1}, "num_candidates is 1"),
        ({"ranking_weight": -1.0}, "ranking_weight"),
        ({"ranking_temperature": 0.0}, "ranking_temperature"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        RewardTraining(**changes)
