import asyncio
import threading

import pytest

from geotoken.errors import ArtifactError, InputError
from geotoken.serve.errors import Refusal
from geotoken.serve.pool import Pool
from geotoken.serve.worker import Bug, Row, Work, WorkerLost


class Fake:
    """A worker that repeats the names of photos; `dies` and `hangs` do what they say."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.batches: list[list[str]] = []
        self.num_starts = 0
        self.closed = threading.Event()
        self.gate = gate

    def start(self):
        self.num_starts += 1
        return {"name": "fake"}

    def run(self, batch, deliver, *, timeout_s, is_wanted):
        self.batches.append([name for work in batch for name in work.names])
        if self.gate is not None:
            self.gate.wait(5)
        for place, work in enumerate(batch):
            if "dies" in work.names:
                raise WorkerLost
            if "hangs" in work.names:
                raise WorkerLost(timed_out=True)
            deliver(place, [Row(name) for name in work.names])

    def close(self):
        self.closed.set()


def work(*names: str, together: bool = False) -> Work:
    return Work(names, tuple(b"" for _ in names), {"together": together})


def in_pool(test, *, num_workers=1, max_waiting=100, workers=None, **options):
    """Run a coroutine function with a started pool and its workers."""

    async def run():
        made = workers or [Fake() for _ in range(num_workers)]
        left = iter(made)
        pool = Pool(
            lambda: next(left),
            num_workers=len(made),
            max_waiting=max_waiting,
            photo_timeout_s=1.0,
            batch_timeout_s=5.0,
            **options,
        )
        pool.start()
        try:
            async with asyncio.timeout(20):
                return await test(pool, made)
        finally:
            await pool.close()

    return asyncio.run(run())


def texts(outcomes) -> list[str]:
    return [row.text for outcome in outcomes for row in outcome]


def test_each_piece_gets_its_own_outcome_in_order():
    async def test(pool, workers):
        return await pool.do([work(str(i)) for i in range(50)])

    assert texts(in_pool(test, num_workers=3)) == [str(i) for i in range(50)]


def test_what_waits_is_taken_together_across_requests_and_shared():
    async def test(pool, workers):
        gate = threading.Event()
        for worker in workers:
            worker.gate = gate
        first = [asyncio.create_task(pool.do([work("first")])) for _ in workers]
        while not all(worker.batches for worker in workers):
            await asyncio.sleep(0.01)
        others = [asyncio.create_task(pool.do([work(str(i))])) for i in range(40)]
        await asyncio.sleep(0.05)
        gate.set()
        await asyncio.gather(*first, *others)
        sizes = [len(batch) for worker in workers for batch in worker.batches]
        return sizes

    sizes = in_pool(test, num_workers=2)
    assert sum(sizes) == 42
    assert max(sizes) == 16


def test_photos_of_one_place_go_by_themselves():
    async def test(pool, workers):
        await pool.do([work("a"), work("b", "c", together=True), work("d")])
        return workers[0].batches

    batches = in_pool(test)
    assert ["b", "c"] in batches


def test_more_than_may_wait_are_refused():
    async def test(pool, workers):
        workers[0].gate = threading.Event()
        doing = asyncio.create_task(pool.do([work(str(i)) for i in range(4)]))
        await asyncio.sleep(0.05)
        assert pool.num_waiting == 3
        with pytest.raises(Refusal) as refused:
            await pool.do([work("late")])
        workers[0].gate.set()
        await doing
        assert pool.num_waiting == 0
        await pool.do([work("later")])
        return refused.value

    refused = in_pool(test, max_waiting=3)
    assert refused.code == "busy"
    assert int(refused.headers["Retry-After"]) >= 1


def test_work_that_nobody_waits_for_is_dropped():
    async def test(pool, workers):
        workers[0].gate = threading.Event()
        first = asyncio.create_task(pool.do([work("first")]))
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(pool.do([work("gone"), work("gone")]))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        assert pool.num_waiting == 0
        workers[0].gate.set()
        await first
        await pool.do([work("last")])
        return workers[0].batches

    assert in_pool(test) == [["first"], ["last"]]


@pytest.mark.parametrize(
    ("name", "message"), [("dies", "ended the process"), ("hangs", "took longer than 1 s")]
)
def test_the_photo_that_costs_a_worker_fails_alone(name, message):
    async def test(pool, workers):
        outcomes = await pool.do([work("a"), work(name), work("b")])
        return outcomes, workers[0].num_starts

    outcomes, num_starts = in_pool(test)
    assert [outcome[0].error is None for outcome in outcomes] == [True, False, True]
    assert message in outcomes[1][0].error
    assert num_starts >= 2


def test_work_for_a_worker_that_had_ended_before_is_done_by_the_next():
    class Gone(Fake):
        def run(self, batch, deliver, **options):
            if self.num_starts == 1:
                raise WorkerLost(idle=True)
            super().run(batch, deliver, **options)

    async def test(pool, workers):
        return await pool.do([work("a")])

    assert texts(in_pool(test, workers=[Gone()])) == ["a"]


def test_a_bug_in_the_talk_with_a_worker_is_a_failure_of_the_pool():
    class Mad(Fake):
        def run(self, batch, deliver, **options):
            raise ZeroDivisionError

    failed = asyncio.Event()

    async def test(pool, workers):
        doing = asyncio.create_task(pool.do([work("a")]))
        await failed.wait()
        doing.cancel()
        return pool

    assert isinstance(in_pool(test, workers=[Mad()], on_failure=failed.set).failure, ZeroDivisionError)


def test_outcomes_that_are_no_rows_are_handed_on(caplog):
    refused = InputError("no")

    class Failing(Fake):
        def run(self, batch, deliver, **_):
            for place, one in enumerate(batch):
                deliver(place, refused if one.names == ("a",) else Bug("Traceback ..."))

    async def test(pool, workers):
        return await pool.do([work("a"), work("b")])

    assert in_pool(test, workers=[Failing()]) == [refused, Bug("Traceback ...")]
    assert "Traceback ..." in caplog.text


def test_a_model_that_cannot_be_loaded_is_a_failure_of_the_pool():
    class Empty(Fake):
        def start(self):
            raise ArtifactError("there is no model")

    failed = []

    async def test(pool, workers):
        while not failed:
            await asyncio.sleep(0.01)
        return pool

    pool = in_pool(test, workers=[Empty(), Fake()], on_failure=lambda: failed.append(1))
    assert (str(pool.failure), pool.facts, failed) == ("there is no model", None, [1])


def test_the_first_worker_starts_alone():
    gate = threading.Event()

    class Slow(Fake):
        def start(self):
            gate.wait(5)
            return super().start()

    async def test(pool, workers):
        await asyncio.sleep(0.05)
        alone = workers[1].num_starts
        gate.set()
        while not workers[1].num_starts:
            await asyncio.sleep(0.01)
        return alone

    assert in_pool(test, workers=[Slow(), Fake()]) == 0


def test_workers_are_closed_at_the_end():
    workers = [Fake(), Fake()]

    async def test(pool, _):
        await pool.do([work("a")])

    in_pool(test, workers=workers)
    assert all(worker.closed.is_set() for worker in workers)
