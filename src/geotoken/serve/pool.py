"""Work of all requests, shared among the worker processes.

Owns the queue, its bound, the batches and what becomes of work whose process is lost; must not know HTTP.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from geotoken.serve.errors import Refusal
from geotoken.serve.worker import Bug, Outcome, Row, Work, Worker, WorkerLost, to_json
from geotoken.words import plural

MAX_BATCH: Final = 16
"""Photos that a worker takes at once."""

_RATE: Final = 10  # photos that a worker does in a second, more or less
_RESTART_S: Final = 1.0  # pause before a process is started again after one that ended at once
_log = logging.getLogger("geotoken.serve")


@dataclass(eq=False, slots=True)
class _Entry:
    """Work that waits or is being done."""

    work: Work
    outcome: "asyncio.Future[Outcome]"
    alone: bool = field(default=False)
    """Whether it goes without company, because a process was lost with it among others."""


class Pool:
    """Workers, and the photos that wait for them; used from one event loop."""

    def __init__(
        self,
        make_worker: Callable[[], Worker],
        *,
        num_workers: int,
        max_waiting: int,
        photo_timeout_s: float,
        batch_timeout_s: float,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare a pool; `start` starts it.

        Args:
            make_worker: Makes a handle of a process that is not started.
            num_workers: How many processes.
            max_waiting: Photos that may wait before others are refused.
            photo_timeout_s: Seconds of work on one photo.
            batch_timeout_s: Seconds of work on a batch of any size.
            on_failure: Called when it can work no more, as without a model; `failure` says why.
        """
        self.failure: BaseException | None = None
        """Why it does no work any more."""
        self.facts: dict[str, Any] | None = None
        """What there is to know about the model; None until a worker has it."""
        self._workers = [make_worker() for _ in range(num_workers)]
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix="worker")
        self._max_waiting = max_waiting
        self._photo_timeout_s, self._batch_timeout_s = photo_timeout_s, batch_timeout_s
        self._on_failure = on_failure
        self._waiting: deque[_Entry] = deque()
        self._in_hand: set[_Entry] = set()
        self._changed = asyncio.Condition()
        self._is_ready = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def num_waiting(self) -> int:
        """Photos beyond one a worker that are not done, whether a worker has them or not."""
        wanted = [entry for entry in self._waiting if not entry.outcome.done()]
        num_photos = sum(len(entry.work.photos) for entry in (*wanted, *self._in_hand))
        return max(num_photos - len(self._workers), 0)

    def start(self) -> None:
        """Start the processes; returns at once.

        The first has the machine for itself until it is ready, and is alone in fetching what is not here yet.
        """
        first, *others = self._workers
        doing = [self._run(first), *(self._follow(worker) for worker in others)]
        self._tasks = [asyncio.create_task(one) for one in doing]
        for task in self._tasks:
            task.add_done_callback(self._look_after)

    async def close(self) -> None:
        """End the processes and whatever they do."""
        for task in self._tasks:
            task.cancel()
        for worker in self._workers:
            worker.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown()

    def check_room(self) -> None:
        """Refuse work when too much waits already.

        Raises:
            Refusal: If so.
        """
        waiting = self.num_waiting
        if waiting >= self._max_waiting:
            raise Refusal(
                "busy",
                f"{waiting} photos wait already, and {self._max_waiting} may; ask again a little later",
                retry_after_s=math.ceil(waiting / len(self._workers) / _RATE),
            )

    async def do(self, works: Sequence[Work]) -> list[Outcome]:
        """Do work, in any order; what is not yet done when this is cancelled is dropped.

        Args:
            works: What to do.

        Returns:
            The outcome of each.

        Raises:
            Refusal: If too much waits already.
        """
        self.check_room()
        loop = asyncio.get_running_loop()
        entries = [_Entry(work, loop.create_future()) for work in works]
        try:
            async with self._changed:
                self._waiting.extend(entries)
                self._changed.notify_all()
            return list(await asyncio.gather(*(entry.outcome for entry in entries)))
        finally:
            for entry in entries:
                entry.outcome.cancel()

    async def _follow(self, worker: Worker) -> None:
        """Keep one process at work once there is another."""
        await self._is_ready.wait()
        await self._run(worker)

    async def _run(self, worker: Worker) -> None:
        """Keep one process at work."""
        while True:
            await self._start(worker)
            try:
                while True:
                    async with self._changed:
                        await self._changed.wait_for(lambda: self._waiting)
                        batch = self._take()
                    if batch:
                        await self._work(worker, batch)
            except WorkerLost:
                continue

    def _look_after(self, task: "asyncio.Task[None]") -> None:
        """Give up when a worker's task ended by an exception: the model is gone, or there is a bug."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failure = error
            self._on_failure()

    async def _start(self, worker: Worker) -> None:
        """Start a process, again and again until it has the model."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self.facts = await loop.run_in_executor(self._threads, worker.start)
                self._is_ready.set()
                return
            except WorkerLost:
                _log.error("a worker ended before it had the model; starting another")
                await asyncio.sleep(_RESTART_S)

    def _take(self) -> list[_Entry]:
        """A fair share of what waits: at most `MAX_BATCH` photos, joint work and suspects by themselves."""
        share = max(1, min(MAX_BATCH, len(self._waiting) // len(self._workers)))
        batch: list[_Entry] = []
        while self._waiting and len(batch) < share:
            entry = self._waiting[0]
            single = entry.alone or entry.work.is_joint
            if single and batch:
                break
            self._waiting.popleft()
            if entry.outcome.done():
                continue
            batch.append(entry)
            if single:
                break
        return batch

    async def _work(self, worker: Worker, batch: list[_Entry]) -> None:
        """Have a batch done.

        Raises:
            WorkerLost: If the process is lost; its work is settled or waits again.
        """
        loop = asyncio.get_running_loop()

        def deliver(place: int, outcome: Outcome) -> None:
            loop.call_soon_threadsafe(self._settle, batch[place], outcome)

        def is_wanted() -> bool:
            return any(not entry.outcome.done() for entry in batch)

        self._in_hand.update(batch)
        num_photos = sum(len(entry.work.photos) for entry in batch)
        timeout_s = min(self._photo_timeout_s * num_photos, self._batch_timeout_s)
        try:
            await loop.run_in_executor(
                self._threads,
                lambda: worker.run(
                    [entry.work for entry in batch], deliver, timeout_s=timeout_s, is_wanted=is_wanted
                ),
            )
        except WorkerLost as lost:
            left = [entry for entry in batch if not entry.outcome.done()]
            if left:
                _log.warning("a worker was lost (%s) with %s", lost, plural(len(left), "request"))
            if len(left) == 1 and not lost.idle:
                self._settle(left[0], _lost(left[0].work, lost, timeout_s))
            else:
                for entry in reversed(left):
                    entry.alone |= not lost.idle
                    self._waiting.appendleft(entry)
            raise
        finally:
            self._in_hand.difference_update(batch)

    def _settle(self, entry: _Entry, outcome: Outcome) -> None:
        """Give a piece of work its outcome, unless nobody waits for it any more."""
        self._in_hand.discard(entry)
        if isinstance(outcome, Bug):
            _log.error("a bug in a worker:\n%s", outcome.text)
        if not entry.outcome.done():
            entry.outcome.set_result(outcome)


def _lost(work: Work, lost: WorkerLost, timeout_s: float) -> Outcome:
    """The outcome of work whose process was lost with it."""
    from geotoken.prediction import error_to_dict  # it takes numpy along, which the server can spare

    why = (
        f"it took longer than {timeout_s:g} s; ask for less, or send a smaller photo"
        if lost.timed_out
        else "it ended the process that read it; save it again as JPEG or PNG"
    )
    message = f"cannot locate the photo: {why}"
    return [Row(to_json(error_to_dict(name, message)), message) for name in work.names]
