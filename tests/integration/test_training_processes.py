"""Training in real processes: two agree with one, and a killed one is resumed as if nothing had been."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import training_worker
from geotoken.train.log import read_log

TESTS = Path(training_worker.__file__).parent
WORKER = [str(TESTS / "training_worker.py")]


def run(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=300
    )


def curve(folder):
    lines = read_log(folder)
    steps = [(int(line["step"]), float(line["loss"])) for line in lines if line.get("loss")]
    validations = [float(line["validation_loss"]) for line in lines if line.get("validation_loss")]
    return steps, validations


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The curve of one process that nobody disturbs."""
    folder = tmp_path_factory.mktemp("alone")
    training_worker.train(folder)
    steps, validations = curve(folder)
    assert [step for step, _ in steps] == list(range(1, len(steps) + 1))
    assert len(steps) >= 9
    assert len(validations) >= 3
    return steps, validations


def test_a_killed_run_is_resumed_with_the_same_losses(tmp_path, alone):
    killed = run(*WORKER, tmp_path, 18)
    assert killed.returncode == -9, killed.stderr
    assert len(curve(tmp_path)[0]) < len(alone[0])
    resumed = run(*WORKER, tmp_path, 0, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert curve(tmp_path) == alone


def test_two_processes_have_the_losses_of_one(tmp_path, alone):
    two = run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, *WORKER, tmp_path, 0)
    assert two.returncode == 0, two.stderr
    steps, validations = curve(tmp_path)
    assert [step for step, _ in steps] == [step for step, _ in alone[0]]
    for (_, loss), (_, expected) in zip(steps, alone[0], strict=True):
        assert loss == pytest.approx(expected, abs=1e-4)
    assert validations == pytest.approx(alone[1], abs=1e-4)
