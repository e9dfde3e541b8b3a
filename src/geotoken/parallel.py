"""Photos located by several processes at once, for batches that are worth their start.

Owns the processes and the order of the answers; must not know how one photo is located.
"""

import dataclasses
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from geotoken.errors import GeoTokenError, InputError
from geotoken.pipeline import Failure, LocateOptions, Locator
from geotoken.prediction import Prediction
from geotoken.processes import end_with_parent, interrupts_held, one_thread
from geotoken.regions import Region

WORTH_PROCESSES: Final = 64
"""Photos from which on a batch is shared among processes: their start takes as long as some 30 photos."""

T = TypeVar("T")
R = TypeVar("R")

_AHEAD: Final = 4  # photos handed out per process, so that none waits for work


class ParallelLocator:
    """Locators of one model in several processes; a context manager.

    Each process has the whole model, an encoder of one thread, and takes one photo at a time: the answers
    are those of `Locator.locate`, whatever their number. The processes are started anew, not forked, so a
    script that uses this needs the usual `if __name__ == "__main__":`.
    """

    def __init__(
        self, num_workers: int, options: LocateOptions | None = None, **from_pretrained: Any
    ) -> None:
        """Start the processes.

        Args:
            num_workers: How many, >= 1.
            options: How photos are located.
            **from_pretrained: What `Locator.from_pretrained` gets in each of them, but `num_threads`.

        Raises:
            InputError: If `num_workers` is less than 1.
        """
        if num_workers < 1:
            raise InputError(f"num_workers (--workers) is {num_workers}; give a whole number of at least 1")
        self.num_workers = num_workers
        self.options = options or LocateOptions()
        self._pool = ProcessPoolExecutor(
            num_workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(self.options, {**from_pretrained, "num_threads": 1}),
        )
        with interrupts_held(), one_thread():
            for _ in range(num_workers):  # the pool starts a process when there is work and none is free
                self._pool.submit(int)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def locate_many(self, photos: Iterable[str | Path]) -> Iterator[Prediction | Failure]:
        """Locate photos, in order, with bounded memory.

        Args:
            photos: Paths.

        Yields:
            A prediction, or the failure of a photo that cannot be read.

        Raises:
            GeoTokenError: If a process cannot load the model, as when its files are gone by now.
            InputError: If a process was ended from outside, as when memory runs out.
        """
        for answer in self.map(_locate, photos):
            yield _with_region(answer, self.options.within)

    def map(self, task: "Callable[[Locator, LocateOptions, T], R]", items: Iterable[T]) -> Iterator[R]:
        """Do something else with each of many things, in order, with bounded memory.

        Args:
            task: What is done, a function of a module; it gets the locator of its process and the options.
            items: Things that can be sent to a process.

        Yields:
            What the task returns.

        Raises:
            GeoTokenError: If a process cannot load the model, as when its files are gone by now.
            InputError: If a process was ended from outside, as when memory runs out.
        """
        remaining = iter(items)

        def submit(some: Iterable[T]) -> "list[Future[R]]":
            return [self._pool.submit(_run, task, item) for item in some]

        try:
            waiting = deque(submit(islice(remaining, _AHEAD * self.num_workers)))
            while waiting:
                answer = waiting.popleft().result()
                waiting.extend(submit(islice(remaining, 1)))
                yield answer
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process was ended from outside, perhaps for want of memory; "
                "go on with fewer (--workers 1)"
            ) from error


_locator: Locator | GeoTokenError
"""The locator of a worker process, or why there is none."""
_options: LocateOptions
"""How it locates; handed over once, for a country takes longer to send than a photo to locate."""


def _begin(options: LocateOptions, from_pretrained: dict[str, Any]) -> None:
    """Prepare a worker process: Ctrl-C is the parent's to handle, and without a parent there is no work."""
    global _locator, _options
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    _options = options
    try:
        _locator = Locator.from_pretrained(**from_pretrained)
    except GeoTokenError as error:  # told by the first photo; raised here, it would be taken for a crash
        _locator = error


def _run(task: Callable[[Locator, LocateOptions, T], R], item: T) -> R:
    if isinstance(_locator, GeoTokenError):
        raise _locator
    return task(_locator, _options, item)


def _locate(locator: Locator, options: LocateOptions, photo: str | Path) -> Prediction | Failure:
    return _with_region(locator.locate_one(photo, options), None)


def _with_region(answer: Prediction | Failure, region: Region | None) -> Prediction | Failure:
    """An answer with another region in its place: between processes it travels without."""
    if isinstance(answer, Failure) or answer.region is region:
        return answer
    return dataclasses.replace(answer, region=region)
