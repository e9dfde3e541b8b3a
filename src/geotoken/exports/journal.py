"""The journal of an unfinished run: each answer is on disk before the next photo is begun.

Owns the journal's file and its lock; must not know photos or the formats of the results.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from geotoken.errors import InputError
from geotoken.exports.columns import Row, settings_of, source_of, writable
from geotoken.exports.formats import to_json
from geotoken.files import replacing

try:
    import fcntl
except ImportError:  # not on Windows, where two runs on one journal are not told apart
    fcntl = None  # type: ignore[assignment]

SUFFIX: Final = ".partial.jsonl"
"""What the name of a journal adds to that of the first output."""

_VERSION = 1


def hash_settings(settings: Mapping[str, Any]) -> str:
    """The column `settings` of every answer made with some settings.

    Args:
        settings: Names and JSON-ready values.

    Returns:
        12 hexadecimal digits.
    """
    return hashlib.sha256(to_json(sorted(settings.items())).encode()).hexdigest()[:12]


class JournalEntry(NamedTuple):
    """Where an answer is in the journal, and what it is about."""

    offset: int
    """First byte of its line."""
    located: bool
    """Whether it is a place and not an error."""
    source: tuple[int | None, int | None]
    """Size in bytes and time of change in µs of the file."""


class Journal:
    """Answers in the order they were found; of several about one photo the last counts.

    The first line is a header with the settings of the run. A line that was cut short by a crash is dropped.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = dict(settings)
        self.settings_hash = hash_settings(self.settings)
        self.entries: dict[str, JournalEntry] = {}
        self._fd: int | None = None
        self._end = 0

    def open(self) -> None:
        """Read what is there and lock the file; nothing is made where there is none.

        Raises:
            InputError: If the journal is damaged, has other settings, or another run is writing it.
        """
        try:
            self._fd = os.open(self.path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            return
        try:
            self._lock()
            self._load(self._fd)
        except BaseException:
            self.close()
            raise

    def _load(self, fd: int) -> None:
        """Enter all whole lines, and cut off what comes after them.

        Raises:
            InputError: If the journal is damaged or has other settings.
        """
        with self.path.open("rb") as file:
            header = file.readline()
            if header.endswith(b"\n"):
                self._check_header(header)
            else:  # cut short: nothing was found yet
                header = self._header()
                self._write(header, 0)
                file.seek(len(header))
            self._end = len(header)
            for number, line in enumerate(file, start=2):
                if not line.endswith(b"\n"):
                    break
                try:
                    answer = json.loads(line)
                    self._enter(answer, self._end)
                except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                    raise InputError(
                        f"{self.path} is damaged in line {number}; delete it to locate all photos anew"
                    ) from error
                self._end += len(line)
        os.ftruncate(fd, self._end)

    def seed(self, answers: Iterable[Row]) -> None:
        """Begin with answers of an earlier run; the journal appears whole or not at all.

        Args:
            answers: With their sources and settings.

        Raises:
            InputError: If they were made with other settings.
        """
        with replacing(self.path) as beside, beside.open("wb") as file:
            file.write(self._header())
            for answer in answers:
                if settings_of(answer) != self.settings_hash:
                    raise InputError(
                        "its rows were made with other options, another model or another gallery"
                    )
                file.write(f"{to_json(answer)}\n".encode())
        self.open()

    def add(self, answer: Row) -> None:
        """Write an answer; it is with the operating system when this returns.

        Args:
            answer: With its source, to which the settings are added.
        """
        if self._fd is None:
            self._create()
        answer["source"]["settings"] = self.settings_hash
        line = f"{to_json(answer)}\n".encode()
        self._write(line, self._end)
        self._enter(answer, self._end)
        self._end += len(line)

    def read(self, names: Iterable[str]) -> Iterator[Row]:
        """Answers about given photos.

        Args:
            names: Keys of `entries`.

        Yields:
            One answer a name, in that order.
        """
        if not self.entries:
            return
        with self.path.open("rb") as file:
            for name in names:
                file.seek(self.entries[name].offset)
                yield json.loads(file.readline())

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def delete(self) -> None:
        """Remove the file: the results are written."""
        if fcntl is None:  # Windows removes no open file
            self.close()
        self.path.unlink(missing_ok=True)  # elsewhere while it is locked, before another run takes it up
        self.close()

    def _create(self) -> None:
        """Begin the file.

        Raises:
            InputError: If it is there by now.
        """
        try:
            self._fd = os.open(
                self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666
            )
        except FileExistsError as error:
            raise InputError(
                f"another run has begun to write {self.path}; wait until it has ended"
            ) from error
        self._lock()
        self._write(self._header(), 0)
        self._end = len(self._header())

    def _write(self, line: bytes, offset: int) -> None:
        """Write a line by one call, so that at most the last one can be cut short."""
        assert self._fd is not None
        os.lseek(self._fd, offset, os.SEEK_SET)
        while line:
            line = line[os.write(self._fd, line) :]

    def _lock(self) -> None:
        """Keep a second run away.

        Raises:
            InputError: If this is the second.
        """
        if fcntl is None:
            return
        assert self._fd is not None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another run is writing {self.path}; wait until it has ended") from error
        if os.fstat(self._fd).st_nlink == 0:  # removed between being opened and being locked
            raise InputError(f"another run has just ended with {self.path}; give the same command again")

    def _header(self) -> bytes:
        return f"{to_json({'journal': _VERSION, 'settings': self.settings})}\n".encode()

    def _check_header(self, line: bytes) -> None:
        """Compare the settings of the run that began the journal with those of this one.

        Raises:
            InputError: If they differ, or the line is no header.
        """
        try:
            header = json.loads(line)
            theirs, version = dict(header["settings"]), header["journal"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{self.path} is not a journal of geotoken; move it away") from error
        if version != _VERSION:
            raise InputError(f"{self.path} is of another version of geotoken; finish it there, or delete it")
        ours = json.loads(to_json(self.settings))
        differing = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
        if differing:
            changes = ", ".join(
                f"{name} {_word(theirs.get(name))}, now {_word(ours.get(name))}" for name in differing
            )
            raise InputError(
                f"{self.path} was begun with {changes}; give the same options, or delete it to begin anew"
            )

    def _enter(self, answer: Row, offset: int) -> None:
        self.entries[writable(answer["image"])] = JournalEntry(
            offset, answer["status"] == "ok", source_of(answer)
        )


def _word(value: Any) -> str:
    if value is None:
        return "not given"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
