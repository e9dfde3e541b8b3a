"""A process with the model: what runs in it, and the handle by which the server holds it.

Owns the talk between the two, deadlines and the end of a process that hangs; must not know HTTP.

A photo is read, decoded and located in a process of its own kind, because decoders of photos are native code:
one that hangs or crashes on a strange file costs a worker, which is replaced, and not the server.
"""

import json
import multiprocessing
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from geotoken.errors import GeoTokenError, InputError
from geotoken.processes import end_with_parent, interrupts_held, one_thread

PATIENCE_S: Final = 2.0
"""How long work that nobody waits for may go on before its process is ended; a start takes as long."""

_LOOK_S: Final = 0.1  # how often a waiting thread looks whether the work is still wanted
_START_TIMEOUT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Work:
    """One photo to locate, or several together."""

    names: tuple[str, ...]
    """What each photo is called."""
    photos: tuple[bytes, ...]
    """Content of each file."""
    options: Mapping[str, Any]
    """The fields of `schemas.Options`."""

    @property
    def is_joint(self) -> bool:
        """Whether its photos get one answer."""
        return bool(self.options["together"])


@dataclass(frozen=True, slots=True)
class Row:
    """One photo's object of the reply."""

    text: str
    """The object as JSON, ASCII."""
    error: str | None = None
    """Why the photo was not located, in one line; None if it was."""


@dataclass(frozen=True, slots=True)
class Bug:
    """An exception that was not raised on purpose."""

    text: str
    """Its traceback, for the operator."""


Outcome = list[Row] | InputError | Bug
"""What becomes of a piece of work: a row for each photo, or why there is none."""


class WorkerLost(Exception):
    """A worker process ended, by itself or because its time was up."""

    def __init__(self, *, timed_out: bool = False, idle: bool = False) -> None:
        super().__init__("timed out" if timed_out else "ended")
        self.timed_out = timed_out
        """Whether it was ended because its time was up."""
        self.idle = idle
        """Whether it had ended before it was given its work."""


class Worker:
    """The server's handle of one process; its methods block, so they are called in a thread."""

    def __init__(self, loaded: Mapping[str, Any], *, max_pixels: int) -> None:
        """Prepare a worker; `start` starts it.

        Args:
            loaded: What `Locator.from_pretrained` gets.
            max_pixels: Largest width times height of a photo.
        """
        self._arguments = (dict(loaded), max_pixels)
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._closed = False
        self._lock = threading.Lock()

    def start(self) -> dict[str, Any]:
        """Start the process, anew if it ran before, and wait until it has the model.

        Returns:
            What there is to know about the model; see `_describe`.

        Raises:
            GeoTokenError: If the model cannot be loaded.
            WorkerLost: If the process ended, or this was closed.
        """
        with self._lock:
            if self._closed:
                raise WorkerLost
            self._end()
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_main, args=(theirs, *self._arguments), daemon=True)
            with interrupts_held(), one_thread():
                self._process.start()
            theirs.close()
        told = self._receive(time.monotonic() + _START_TIMEOUT_S, lambda: False)
        if isinstance(told, GeoTokenError):
            raise told
        facts: dict[str, Any] = told
        return facts

    def run(
        self,
        batch: Sequence[Work],
        deliver: Callable[[int, Outcome], None],
        *,
        timeout_s: float,
        is_wanted: Callable[[], bool],
    ) -> None:
        """Do a batch of work.

        Args:
            batch: What to do.
            deliver: Called with the place in the batch and the outcome of each piece, as they come.
            timeout_s: How long it may take altogether.
            is_wanted: Whether anybody still waits for what is not delivered.

        Raises:
            WorkerLost: If the process ended or had to be; what was delivered is done.
        """
        deadline = time.monotonic() + timeout_s
        if self._connection is None or self._process is None or not self._process.is_alive():
            raise WorkerLost(idle=True)
        try:
            self._connection.send(list(batch))
        except OSError:
            raise WorkerLost from None
        except Exception:  # what cannot be sent must not end whoever sends
            for place in range(len(batch)):
                deliver(place, Bug(traceback.format_exc()))
            return
        while (told := self._receive(deadline, lambda: not is_wanted())) is not None:
            deliver(*told)

    def close(self) -> None:
        """End the process for good; it has nothing to save."""
        with self._lock:
            self._closed = True
            self._end()

    def _end(self) -> None:
        """End the process, if there is one."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if process is not None:
            process.kill()
            process.join()
        if connection is not None:
            connection.close()

    def _receive(self, deadline: float, is_given_up: Callable[[], bool]) -> Any:
        """Wait for what the process says next.

        Raises:
            WorkerLost: It ended, or time is up, and then it is ended.
        """
        connection, process = self._connection, self._process
        if connection is None or process is None:
            raise WorkerLost
        given_up = False
        try:
            while not connection.poll(_LOOK_S):
                if not given_up and is_given_up():
                    given_up, deadline = True, min(deadline, time.monotonic() + PATIENCE_S)
                if time.monotonic() > deadline:
                    process.kill()
                    raise WorkerLost(timed_out=True)
            return connection.recv()
        except (EOFError, OSError):
            raise WorkerLost from None


def _main(connection: Connection, loaded: dict[str, Any], max_pixels: int) -> None:
    """What the process does: load the model, then answer until nobody is there to ask."""
    for number in (signal.SIGINT, signal.SIGTERM):  # to stop is the server's decision
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    from geotoken.serve.answer import Answerer

    try:
        answerer = Answerer(loaded, max_pixels=max_pixels)
    except GeoTokenError as error:
        connection.send(error)
        return
    try:
        connection.send(answerer.describe())
        while True:
            for told in enumerate_outcomes(answerer.answer, connection.recv()):
                connection.send(told)
            connection.send(None)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def enumerate_outcomes(
    answer: Callable[[Sequence[Work]], Iterator[tuple[int, Outcome]]], batch: Sequence[Work]
) -> Iterator[tuple[int, Outcome]]:
    """The outcomes of a batch, a bug among them.

    Args:
        answer: What does the work.
        batch: The work.

    Yields:
        The place in the batch and the outcome, once for each piece.
    """
    left = set(range(len(batch)))
    try:
        for place, outcome in answer(batch):
            left.discard(place)
            yield place, outcome
    except Exception:
        text = traceback.format_exc()
        yield from ((place, Bug(text)) for place in sorted(left))


def to_json(value: Any) -> str:
    """A value as JSON on one line, ASCII."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
