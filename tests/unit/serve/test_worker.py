import time

import pytest

from geotoken.errors import ArtifactError, InputError
from geotoken.serve import worker as module
from geotoken.serve.schemas import Options
from geotoken.serve.worker import Bug, Row, Work, Worker, WorkerLost, enumerate_outcomes, to_json


def work(content: bytes = b"text", **options) -> Work:
    return Work(("a",), (content,), {**Options().model_dump(), **options})


def loaded(model):
    return {"model": model, "head": None, "gallery": None, "offline": True, "num_threads": 1}


@pytest.fixture(scope="module")
def started(tiny_model):
    worker = Worker(loaded(tiny_model), max_pixels=1_000_000)
    assert worker.start()["name"] == "tiny"
    yield worker
    worker.close()


def run(worker, batch, **options):
    found = {}
    worker.run(batch, found.__setitem__, **{"timeout_s": 30, "is_wanted": lambda: True, **options})
    return found


def test_a_process_does_work(started, examples):
    photo = (examples / "himeji-castle.jpg").read_bytes()
    found = run(started, [work(photo), work(), work(photo, within=["nonsense"])])
    assert found.keys() == {0, 1, 2}
    assert found[0][0].error is None
    assert '"country_code":"JP"' in found[0][0].text
    assert "it is text" in found[1][0].error
    assert isinstance(found[2], InputError)


def test_work_that_takes_too_long_costs_the_process_which_starts_again(started, examples):
    photo = (examples / "himeji-castle.jpg").read_bytes()
    slow = work(photo, decoder="sample", samples=100_000)
    with pytest.raises(WorkerLost) as lost:
        run(started, [slow] * 50, timeout_s=0.1)
    assert lost.value.timed_out
    with pytest.raises(WorkerLost):
        run(started, [work()])
    started.start()
    assert run(started, [work()])[0][0].error


def test_work_that_nobody_wants_does_not_go_on(started, examples, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    photo = (examples / "himeji-castle.jpg").read_bytes()
    start = time.monotonic()
    with pytest.raises(WorkerLost):
        run(started, [work(photo, decoder="sample", samples=100_000)] * 50, is_wanted=lambda: False)
    assert time.monotonic() - start < 20
    started.start()


def test_a_model_that_cannot_be_loaded_says_why(tmp_path):
    worker = Worker(loaded(tmp_path), max_pixels=1)
    with pytest.raises(ArtifactError, match=str(tmp_path)):
        worker.start()
    worker.close()


def test_a_closed_worker_does_not_start():
    worker = Worker(loaded("mini"), max_pixels=1)
    worker.close()
    with pytest.raises(WorkerLost):
        worker.start()
    with pytest.raises(WorkerLost):
        run(worker, [work()])


def test_a_bug_is_the_outcome_of_all_that_is_left():
    def answer(batch):
        yield 1, [Row("b")]
        raise ZeroDivisionError("secret")

    found = dict(enumerate_outcomes(answer, [work()] * 3))
    assert found[1] == [Row("b")]
    assert isinstance(found[0], Bug)
    assert "ZeroDivisionError" in found[2].text


def test_json_is_ascii_and_finite():
    assert to_json({"a": "\udcff\u2028ü"}) == '{"a":"\\udcff\\u2028\\u00fc"}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(float("nan"))
