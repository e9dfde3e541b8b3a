"""One export: which photos are still to be located, and the files made of all answers at the end.

Owns the order of the rows and the rules of resuming; must not know how photos are located.
"""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from geotoken.errors import InputError
from geotoken.exports.columns import Row, writable
from geotoken.exports.formats import format_of
from geotoken.exports.journal import SUFFIX, Journal
from geotoken.files import replacing

_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    csv.Error,
)
"""What reading a file raises that is not as it was written."""


def check_outputs(outputs: Sequence[Path], *, resume: bool) -> None:
    """Refuse what cannot be written, before any work is done.

    Args:
        outputs: The files to be written.
        resume: Whether an unfinished run shall go on.

    Raises:
        InputError: If an ending is unknown, a file is named twice, is a folder or is in none that can be
            written to; or, unless `resume`, if an unfinished run is there.
    """
    for output in outputs:
        format_of(output)
        folder = output.parent
        if output.is_dir():
            raise InputError(f"--out {output} is a folder; give a file")
        if output.exists() and not output.is_file():
            raise InputError(f"--out {output} is no regular file; choose another name")
        if not folder.is_dir():
            raise InputError(f"--out {output}: there is no folder {folder}; make it first")
        if not os.access(folder, os.W_OK) or (output.exists() and not os.access(output, os.W_OK)):
            raise InputError(f"--out {output} may not be written; change its permissions or choose another")
        journal = _journal_of(output)
        if journal.exists() and not resume:
            raise InputError(
                f"{journal} is what an unfinished run has found; add --resume to go on, or delete it"
            )
    if len({output.resolve() for output in outputs}) < len(outputs):
        raise InputError("--out names one file twice; give each once")


class Export:
    """Answers on their way to files; a context manager. Nothing is written until the first answer comes.

    Without `finish` the journal stays, and a later run with `resume` goes on where this one ended.
    """

    def __init__(self, outputs: Sequence[Path], settings: Mapping[str, Any], *, resume: bool = False) -> None:
        check_outputs(outputs, resume=resume)
        self.outputs = tuple(outputs)
        begun = [path for path in map(_journal_of, outputs) if path.exists()]
        self._journal = Journal(begun[0] if begun else _journal_of(outputs[0]), settings)
        self._photos: list[str] = []
        self._sources: dict[str, tuple[int | None, int | None]] = {}
        if begun:
            self._journal.open()
        elif resume:
            self._begin_with_finished()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()

    def plan(self, photos: Sequence[str]) -> list[str]:
        """Name the photos of the run.

        Args:
            photos: Their paths, each once, in the order of the rows.

        Returns:
            Those still to be located: new, changed since, or failed before.

        Raises:
            InputError: If the names of two photos differ only in what cannot be written.
        """
        self._photos = [writable(photo) for photo in photos]
        if len(set(self._photos)) < len(photos):
            names = sorted(self._photos)
            twice = next(name for name, following in pairwise(names) if name == following)
            raise InputError(f"two photos would both be written as {twice}; rename one of them")
        waiting = []
        for photo, name in zip(photos, self._photos, strict=True):
            entry, source = self._journal.entries.get(name), stamp_of(photo)
            if entry is None or not entry.located or entry.source != source:
                self._sources[name] = source
                waiting.append(photo)
        return waiting

    @property
    def num_done(self) -> int:
        """Photos of the plan that need not be located any more."""
        return len(self._photos) - len(self._sources)

    def add(self, answer: Mapping[str, Any]) -> None:
        """Take the answer for a photo of the plan.

        Args:
            answer: An object of `locate --json`.

        Raises:
            InputError: If it cannot be written, as on a full disk.
        """
        name = writable(answer["image"])
        num_bytes, mtime_us = self._sources[name]
        with self._errors_told():
            self._journal.add({**answer, "source": {"bytes": num_bytes, "mtime_us": mtime_us}})
        del self._sources[name]

    def finish(self) -> None:
        """Write the files, each whole or not at all, and remove the journal.

        The rows of earlier runs about photos that are not in the plan come first, then the plan in order.

        Raises:
            InputError: If they cannot be written, as on a full disk.
        """
        planned = set(self._photos)
        earlier = [name for name in self._journal.entries if name not in planned]
        with self._errors_told(), ExitStack() as stack:
            files = [
                stack.enter_context(format_of(output)(stack.enter_context(replacing(output))))
                for output in self.outputs
            ]
            for answer in self._journal.read([*earlier, *self._photos]):
                for file in files:
                    file.add(answer)
        self._journal.delete()

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        """Turn what the system refuses into a message that says what is left.

        Raises:
            InputError: If it refuses something.
        """
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self.outputs[0]} cannot be written ({error.strerror or error}); what was found is kept in "
                f"{self._journal.path}: make room, then add --resume"
            ) from error

    def _begin_with_finished(self) -> None:
        """Take over the rows of a finished file.

        Raises:
            InputError: If the file does not hold what is needed, or is not as it was written.
        """
        finished = [output for output in self.outputs if output.exists()]
        if not finished:
            return
        source = next((path for path in finished if format_of(path).complete), finished[0])
        try:
            needy = [path for path in self.outputs if format_of(path).complete > format_of(source).complete]
            if needy:
                raise InputError(f"it does not hold all that {needy[0]} does")
            self._journal.seed(_read(source))
        except _DAMAGE as error:
            raise InputError(
                f"{source} cannot be added to: {error}; leave out --resume to locate all photos anew"
            ) from error


def _read(path: Path) -> Iterator[Row]:
    for answer in format_of(path).read(path):
        if answer["status"] not in ("ok", "error") or not isinstance(answer["image"], str):
            raise ValueError("a row has no image or no status")
        yield answer


def _journal_of(output: Path) -> Path:
    return output.with_name(output.name + SUFFIX)


def stamp_of(photo: str | Path) -> tuple[int | None, int | None]:
    """What tells a photo from one that was there before under its name.

    Args:
        photo: Its path.

    Returns:
        Size in bytes and time of change in µs of the file; None if there is none.
    """
    try:
        status = os.stat(photo)
    except (OSError, ValueError):
        return None, None
    return status.st_size, status.st_mtime_ns // 1000
