import re
import signal

import pytest

from geotoken.cli.errors import Terminated
from geotoken.cli.train_progress import check_whole, training_progress
from geotoken.train.loop import Outcome, StepReport


def outcome(number):
    return Outcome(step=5, num_steps=10, best_step=5, best={}, signal=number, rows_per_s=1.0)


def test_nothing_is_shown_where_stderr_is_no_terminal(capsys):
    with training_progress() as show:
        assert show is None
    assert capsys.readouterr().err == ""


def test_a_whole_training_goes_on(capsys):
    check_whole(outcome(0))
    assert capsys.readouterr().err == ""


def test_an_interrupt_says_how_to_go_on(capsys):
    with pytest.raises(KeyboardInterrupt):
        check_whole(outcome(signal.SIGINT))
    assert "stopped after step 5 of 10; go on with the same command and --resume" in capsys.readouterr().err
    with pytest.raises(Terminated):
        check_whole(outcome(signal.SIGTERM))


def test_other_processes_are_silent(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(KeyboardInterrupt):
        check_whole(outcome(signal.SIGINT))
    assert capsys.readouterr().err == ""


def test_a_terminal_is_shown_loss_and_speed(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    report = StepReport(step=5, num_steps=10, loss=1.25, rows_per_s=3456.7, validation=0.75)
    with training_progress() as show:
        show(report)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    for text in ("5/10", "loss 1.250, best validation 0.750", "3,457 rows/s"):
        assert text in shown
