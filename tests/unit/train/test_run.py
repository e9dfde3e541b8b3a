import numpy as np
import pytest
import torch
from torch import nn

from geotoken.errors import ConfigError
from geotoken.train.config import LoopConfig
from geotoken.train.run import Best, Run, learning_rate


def make(tmp_path, **changes):
    torch.manual_seed(0)
    config = LoopConfig(**{"accelerator": "cpu", "batch_size": 10, "epochs": 3, "clip_norm": 0.0, **changes})
    return Run("test", nn.Linear(3, 1), 25, config, tmp_path, {})


def test_steps(tmp_path):
    run = make(tmp_path)
    assert (run.steps_per_epoch, run.num_steps, run.validate_every) == (2, 8, 2)
    run = make(tmp_path, steps=5, validate_every=4)
    assert (run.num_steps, run.validate_every) == (5, 4)


def test_a_batch_that_cannot_be_divided(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_fabric.Fabric.world_size", 3)
    with pytest.raises(ConfigError, match="batch_size 10 cannot be divided among 3 processes"):
        make(tmp_path)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
        ("exponential", [0.05, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125, 0.0125]),
        ("cosine", [0.05, 0.1, *(0.05 + 0.05 * np.cos(np.pi * np.arange(8) / 8))]),
    ],
)
def test_schedules(schedule, expected):
    config = LoopConfig(learning_rate=0.1, warmup_steps=2, schedule=schedule, batch_size=10, decay=0.5)
    rates = [learning_rate(config, step, 10, 25) for step in range(10)]
    assert rates == pytest.approx(expected)


def test_the_gradient_is_clipped(tmp_path):
    run = make(tmp_path, clip_norm=0.5)
    run.begin_step()
    run.backward(100 * run.wrapped(torch.ones(1, 3)).sum())
    run.end_step()
    assert float(run.gradient_norm) == pytest.approx(200)  # of three weights and a bias, 100 each


def test_the_running_mean_is_judged(tmp_path):
    run = make(tmp_path, ema_decay=0.5, learning_rate=0.1, weight_decay=0.0, schedule="constant")
    before = run.judge(lambda module: {"loss": float(module.bias)})["loss"]
    values = []
    for _ in range(3):
        run.begin_step()
        run.backward(run.wrapped(torch.zeros(1, 3)).sum())
        run.end_step()
        values.append(float(run.wrapped.bias.detach()))
    judged = run.judge(lambda module: {"loss": float(module.bias)})["loss"]
    mean = values[0]  # the first is taken as it is
    for count, value in enumerate(values[1:], start=1):
        kept = min(0.5, (1 + count) / (10 + count))
        mean = kept * mean + (1 - kept) * value
    assert judged == pytest.approx(mean, rel=1e-5)
    assert judged < before


def test_the_best_is_noted(tmp_path):
    run = make(tmp_path, patience=2)
    noted = [run.note(Best(step, {"loss": loss})) for step, loss in enumerate([3.0, 2.0, 2.0])]
    assert noted == [True, True, False]
    assert not run.exhausted
    run.note(Best(3, {"loss": float("nan")}))
    assert run.exhausted
    assert run.best.step == 1


def test_what_is_no_number_is_beaten_by_any(tmp_path):
    run = make(tmp_path, patience=2)
    noted = [run.note(Best(step, {"loss": loss})) for step, loss in enumerate([float("nan"), 9.0, 10.0])]
    assert noted == [True, True, False]


def test_a_short_run_warms_up_for_a_fifth_of_it():
    config = LoopConfig(learning_rate=1.0, warmup_steps=200, schedule="constant")
    assert [learning_rate(config, step, 10, 25) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
