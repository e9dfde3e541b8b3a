import os
import signal

import numpy as np
import pytest
import torch

from geotoken.errors import ArtifactError, ConfigError, GeoTokenError, InputError
from geotoken.train.config import LoopConfig
from geotoken.train.log import read_log
from geotoken.train.loop import fit


def settings(**changes):
    given = {
        "epochs": 4,
        "batch_size": 16,
        "learning_rate": 0.1,
        "validate_every": 4,
        "log_every": 1,
        "accelerator": "cpu",
        "schedule": "constant",
        "weight_decay": 0.0,
    }
    return LoopConfig(**{**given, **changes})


def losses(folder):
    return [(int(row["step"]), float(row["loss"])) for row in read_log(folder) if row["loss"]]


def test_a_line_is_found_again(line, tmp_path):
    stage = line()
    stage.noise = 0.0
    outcome = fit(stage, settings(epochs=50, schedule="cosine", validate_every=50), tmp_path)
    assert outcome.step == outcome.num_steps == 200
    assert outcome.best["loss"] < 1e-6
    torch.testing.assert_close(stage.module.weight.detach(), torch.tensor([[2.0, -1.0]]), atol=1e-3, rtol=0)


def test_every_row_is_seen_once_an_epoch_in_a_new_order(line, tmp_path):
    stage = line()
    fit(stage, settings(epochs=2), tmp_path)
    rows = np.concatenate(stage.seen).reshape(2, 64)
    np.testing.assert_array_equal(np.sort(rows), np.tile(np.arange(64), (2, 1)))
    assert (rows[0] != rows[1]).any()


def test_small_parts_add_up_to_the_whole_batch(line, tmp_path):
    for size in (0, 5):
        fit(line(), settings(micro_batch=size), tmp_path / str(size))
    np.testing.assert_allclose(losses(tmp_path / "0"), losses(tmp_path / "5"), rtol=1e-5)


class Failure(Exception):
    pass


@pytest.mark.parametrize("step", [1, 5, 6, 13])
def test_a_resumed_run_goes_on_as_if_nothing_had_happened(line, tmp_path, step):
    config = settings(ema_decay=0.9, save_every=3, schedule="exponential", warmup_steps=3)
    whole = fit(line(), config, tmp_path / "whole")
    stage = line()
    loss, calls = stage.loss, []

    def fail(*given):
        calls.append(None)
        if len(calls) == step:
            raise Failure
        return loss(*given)

    stage.loss = fail
    with pytest.raises(Failure):
        fit(stage, config, tmp_path / "broken")
    resumed = line(seed=5)
    outcome = fit(resumed, config, tmp_path / "broken", resume=True)
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    assert outcome.best == whole.best


def test_the_best_weights_are_kept(line, tmp_path):
    stage = line()
    stage.noise = 0.0
    figures = iter([3.0, 1.0, 2.0, 5.0, 4.0, 6.0])
    weights = []

    def validate(module):
        weights.append(module.weight.detach().clone())
        return {"loss": next(figures)}

    stage.validate = validate
    outcome = fit(stage, settings(epochs=8, patience=3), tmp_path)
    assert (outcome.best_step, outcome.step) == (4, 16)
    torch.testing.assert_close(stage.module.weight.detach(), weights[1], rtol=0, atol=0)


def test_other_settings_are_refused(line, tmp_path):
    fit(line(), settings(epochs=1), tmp_path)
    with pytest.raises(InputError, match="--resume"):
        fit(line(), settings(epochs=1), tmp_path)
    with pytest.raises(InputError, match=r"learning_rate 0\.1 \(now 0\.2\)"):
        fit(line(), settings(epochs=1, learning_rate=0.2), tmp_path, resume=True)
    with pytest.raises(InputError, match=r"kind None \(now 'other'\)"):
        fit(line(), settings(epochs=1), tmp_path, resume=True, settings={"kind": "other"})
    fit(line(), settings(epochs=1, micro_batch=4), tmp_path, resume=True)


def test_an_interrupt_leaves_what_can_be_resumed(line, tmp_path):
    config = settings()
    fit(line(), config, tmp_path / "whole")
    stage = line()
    loss = stage.loss

    def interrupt(*given):
        if len(stage.seen) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(*given)

    stage.loss = interrupt
    outcome = fit(stage, config, tmp_path / "broken")
    assert outcome.interrupted
    assert outcome.step == 7
    outcome = fit(line(), config, tmp_path / "broken", resume=True)
    assert not outcome.interrupted
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")


def test_a_loss_that_is_not_finite_is_an_error(line, tmp_path):
    stage = line()
    stage.y[3] = torch.nan
    with pytest.raises(GeoTokenError, match="loss of step 1 is nan; lower learning_rate"):
        fit(stage, settings(batch_size=64), tmp_path)


def test_a_damaged_checkpoint_is_named(line, tmp_path):
    fit(line(), settings(epochs=1), tmp_path)
    path = tmp_path / "last.ckpt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"last\.ckpt cannot be read"):
        fit(line(), settings(epochs=1), tmp_path, resume=True)


def test_a_folder_that_cannot_be_written_is_named(line, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=r"file/run cannot be written \(Not a directory\); check space"):
        fit(line(), settings(epochs=1), tmp_path / "file" / "run")


def test_no_rows(line, tmp_path):
    stage = line()
    stage.num_rows = 0
    with pytest.raises(InputError, match="no row"):
        fit(stage, settings(), tmp_path)


def test_no_gpu(line, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="no GPU"):
        fit(line(), settings(accelerator="gpu"), tmp_path)


def test_a_stage_hears_of_the_next_rows_early(line, tmp_path):
    stage = line()
    loss, events = stage.loss, []
    stage.announce = lambda rows, rng: events.append(("announce", rows, rng))

    def note(module, rows, rng):
        events.append(("loss", rows, rng))
        return loss(module, rows, rng)

    stage.loss = note
    fit(stage, settings(epochs=1, micro_batch=7), tmp_path / "told")
    kinds = [kind for kind, _, _ in events]
    assert kinds[:3] == ["announce", "announce", "loss"]
    announced = [rest for kind, *rest in events if kind == "announce"]
    asked = [rest for kind, *rest in events if kind == "loss"]
    assert len(announced) == len(asked) == 12
    for (rows, rng), (same_rows, same_rng) in zip(announced, asked, strict=True):
        np.testing.assert_array_equal(rows, same_rows)
        assert rng is same_rng
    fit(line(), settings(epochs=1, micro_batch=7), tmp_path / "not")
    assert losses(tmp_path / "told") == losses(tmp_path / "not")
