import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from geotoken.errors import ArtifactError, InputError
from geotoken.parallel import ParallelLocator
from geotoken.pipeline import Failure, LocateOptions, Locator

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(scope="module")
def parallel(tiny_model):
    with ParallelLocator(2, LocateOptions(guesses=((1.0, 2.0),)), model=tiny_model) as found:
        yield found


def test_answers_are_those_of_one_process_in_order(parallel, tiny_model, examples, tmp_path):
    bad = tmp_path / "text.jpg"
    bad.write_text("no photo")
    photos = [*sorted(examples.glob("*.jpg"))[:3], bad, examples / "himeji-castle.jpg"]
    found = list(parallel.locate_many(photos))
    locator = Locator.from_pretrained(tiny_model)
    assert isinstance(found[3], Failure)
    assert "text" in str(found[3].error)
    for photo, answer in zip(photos, found, strict=True):
        expected = locator.locate_one(photo, parallel.options)
        assert answer.image == expected.image == str(photo)
        if not isinstance(answer, Failure):
            assert answer.to_dict() == expected.to_dict()
            np.testing.assert_array_equal(answer.posterior.probability, expected.posterior.probability)


def _encoder_of(locator, options, item):
    return locator.encoder.name, options.guesses, item


def test_other_tasks_get_the_locator_and_the_options_in_order(parallel):
    found = list(parallel.map(_encoder_of, range(20)))
    assert [item for _, _, item in found] == list(range(20))
    assert {guesses for _, guesses, _ in found} == {((1.0, 2.0),)}


def test_photos_are_taken_as_they_are_needed(parallel, examples):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield examples / "himeji-castle.jpg"

    found = parallel.locate_many(endless())
    for _ in range(3):
        next(found)
    assert len(taken) <= 12
    found.close()


def test_a_worker_that_cannot_load_the_model_says_why(examples, tmp_path):
    with (
        ParallelLocator(1, model=tmp_path) as parallel,
        pytest.raises(ArtifactError, match=re.escape(str(tmp_path))),
    ):
        list(parallel.locate_many([examples / "himeji-castle.jpg"]))


def test_no_photos_give_no_answers(parallel):
    assert list(parallel.locate_many([])) == []


def test_no_worker_is_no_choice():
    with pytest.raises(InputError, match=r"num_workers \(--workers\) is 0"):
        ParallelLocator(0)


def test_a_worker_that_dies_is_told(parallel, monkeypatch):
    def broken(*arguments):
        raise BrokenProcessPool

    monkeypatch.setattr(parallel._pool, "submit", broken)
    with pytest.raises(InputError, match="--workers 1"):
        next(parallel.locate_many(["a.jpg"]))


@POSIX
def test_workers_end_with_a_parent_that_is_killed(tiny_model):
    script = (
        "import sys, time\n"
        "from geotoken.parallel import ParallelLocator\n"
        "if __name__ == '__main__':\n"
        "    parallel = ParallelLocator(1, model=sys.argv[1])\n"
        "    list(parallel.locate_many(['missing.jpg']))\n"
        "    print(*parallel._pool._processes, flush=True)\n"
        "    time.sleep(60)\n"
    )
    file = tiny_model.parent / "parent.py"
    file.write_text(script, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(file), str(tiny_model)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    worker = int(process.stdout.readline())
    os.kill(worker, signal.SIGINT)  # is the parent's to handle
    time.sleep(0.2)
    os.kill(worker, 0)
    process.kill()
    process.wait()
    process.stdout.close()
    for _ in range(200):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the worker still runs")
