"""What reaches the terminal: consoles, a progress bar that stays out of the way, JSON as it comes.

Owns stdout and stderr; must not know what is printed.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.status import Status
from rich.table import Table
from rich.text import Text

from geotoken.words import printable

FEW = 3
"""Up to so many photos need no progress bar."""


class _Console(Console):
    """A console that lets a closed pipe be seen; Rich would end the process."""

    def on_broken_pipe(self) -> None:
        raise


def stdout() -> Console:
    """The console of results; plain text where stdout is no terminal or NO_COLOR is set."""
    return _Console(highlight=False)


class ProgressBar:
    """A progress bar on stderr; nothing where that is no terminal, or where there are only a `FEW` photos.

    A context manager. Results may go to the same terminal: print them inside `paused`.
    """

    def __init__(self, label: str, detail: Callable[[], str] | None = None) -> None:
        """Prepare a bar.

        Args:
            label: What is being done.
            detail: Says in few words what it has come to so far; with it a bar is shown for few photos, too.
        """
        console = _Console(stderr=True)
        self._detail = detail
        self._progress: Progress | None = None
        self._waiting: Status | None = None
        if console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[detail]}"),
                console=console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._progress.add_task(label, total=None, visible=False, detail="")

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_waiting()
        if self._progress is not None:
            self._progress.stop()

    def wait(self, what: str) -> None:
        """Show what is being done where it cannot be counted, until `set` is called.

        Args:
            what: It, as in "Making the index".
        """
        if self._progress is not None:
            self._end_waiting()
            self._progress.stop()
            self._waiting = Status(f"{what} ...", console=self._progress.console)
            self._waiting.start()

    def _end_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None

    def set(self, num_done: int, total: int) -> None:
        """Show how many are done.

        Args:
            num_done: Photos done so far.
            total: Photos in all.
        """
        if self._progress is not None:
            if self._waiting is not None:
                self._end_waiting()
                self._progress.start()
            detail = self._detail() if self._detail else ""
            visible = total > FEW or self._detail is not None
            self._progress.update(self._task, completed=num_done, total=total, visible=visible, detail=detail)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar away while something is printed.

        Yields:
            Once, for the printing.
        """
        if self._progress is None:
            yield
            return
        self._end_waiting()
        self._progress.stop()
        yield
        self._progress.start()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on stderr, where that is a terminal, what is being done where it cannot be counted.

    Args:
        what: It, as in "Making the index".

    Yields:
        Once, for the doing.
    """
    with ProgressBar(what) as bar:
        bar.wait(what)
        yield


class JsonArray:
    """A JSON array on stdout, one element a line as it comes; a context manager.

    The array is closed also when something is raised, so that what was printed is valid JSON. It is ASCII:
    a file name need not be valid Unicode.
    """

    def __init__(self) -> None:
        self._separator = ""

    def __enter__(self) -> Self:
        sys.stdout.write("[\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):
            sys.stdout.write("]\n")

    def add(self, element: Mapping[str, Any]) -> None:
        """Print one element.

        Args:
            element: JSON-ready values; every number finite.
        """
        sys.stdout.write(f"{self._separator}{json.dumps(element, allow_nan=False)}\n")
        sys.stdout.flush()
        self._separator = ","


def print_json(value: Any) -> None:
    """Print one JSON document on stdout.

    Args:
        value: JSON-ready values; every number finite.
    """
    print(json.dumps(value, indent=2, allow_nan=False))


def print_facts(facts: Mapping[str, str]) -> None:
    """Print names and values below each other.

    Args:
        facts: What, and how it is; values may hold anything.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(printable(value)))
    stdout().print(table)
