import os
import signal

import pytest

from geotoken.processes import end_with_parent, interrupts_held, one_thread

POSIX = pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals of POSIX")


def test_arithmetic_of_processes_started_meanwhile_has_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with one_thread():
        assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("1", "1")
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


@POSIX
def test_an_interrupt_waits():
    held = []

    def interrupt() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            held.append(True)

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert held


def test_a_process_that_nobody_started_does_not_end():
    end_with_parent()
