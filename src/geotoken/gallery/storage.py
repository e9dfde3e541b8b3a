"""Rows of a big gallery that stay on disk: vectors as 16-bit floats, and texts as lines of JSON.

Owns their two file formats and reading single rows; must not know what a row is about.
"""

import json
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, reason_of
from geotoken.files import ARRAY_DAMAGE

_TEXT_TYPES = {str, type(None)}

BLOCK_ROWS = 8192
"""Rows read or written at once where all are; bounds memory to about 12 MB at 384 numbers a vector."""


class VectorFile:
    """Vectors in a `.npy` file of 16-bit floats, of which a few are read at a time.

    They are read by seeking and not mapped: the kernel maps 16 pages around each one touched, so that after a
    thousand searches of a mapped file all of it would count as memory of the process. Safe for threads.
    """

    def __init__(self, path: Path) -> None:
        try:
            header = np.load(path, mmap_mode="r", allow_pickle=False)
            if header.dtype != np.float16 or header.ndim != 2 or not header.flags.c_contiguous:
                raise ValueError(f"{header.dtype} of shape {header.shape}")
            self.shape: tuple[int, int] = header.shape
            self._start = int(header.offset)
            self._file = path.open("rb", buffering=0)
        except ARRAY_DAMAGE as error:
            raise ArtifactError(
                f"{path} holds no vectors ({reason_of(error)}); fetch or build the gallery again"
            ) from error
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def close(self) -> None:
        """Close the file; nothing can be read afterwards."""
        self._file.close()

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read some vectors.

        Args:
            rows: Positions, shape (M,), from 0 to N - 1.

        Returns:
            Vectors in the order asked for, shape (M, D).
        """
        out = np.empty((len(rows), self.shape[1]), dtype=np.float16)
        size, file, start = out.itemsize * self.shape[1], self._file, self._start
        with self._lock:
            for vector, row in zip(out, rows.tolist(), strict=True):
                file.seek(start + row * size)
                file.readinto(vector.data)
        return out.astype(np.float32)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Read all vectors, `BLOCK_ROWS` at a time.

        Yields:
            Vectors of a block, shape (M, D), in order.
        """
        for first in range(0, self.shape[0], BLOCK_ROWS):
            yield self.block(first, min(first + BLOCK_ROWS, self.shape[0]))

    def block(self, first: int, stop: int) -> NDArray[np.float32]:
        """Read vectors that follow each other.

        Args:
            first: Position of the first.
            stop: Position after the last.

        Returns:
            Vectors, shape (stop - first, D).
        """
        block = np.empty((stop - first, self.shape[1]), dtype=np.float16)
        with self._lock:
            self._file.seek(self._start + first * block.itemsize * self.shape[1])
            self._file.readinto(block.data)
        return block.astype(np.float32)


def write_vectors(path: Path, blocks: Iterable[NDArray[np.float32]], shape: tuple[int, int]) -> None:
    """Write vectors for `VectorFile`.

    Args:
        path: The file.
        blocks: The vectors in order, each of shape (M, D).
        shape: (N, D) of all together.
    """
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype="<f2").data)


class TextFile:
    """Lines of JSON, each the list of a row's texts, of which a few are read at a time. Safe for threads."""

    def __init__(self, path: Path, offsets: NDArray[np.int64], width: int) -> None:
        self._path = path
        self._offsets = offsets  # where each line begins, and the end of the last: shape (N + 1,)
        self._width = width  # texts of a row
        self._lock = threading.Lock()
        try:
            num_bytes = path.stat().st_size
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise ArtifactError(
                f"{path} cannot be read ({error.strerror}); fetch or build the gallery again"
            ) from error
        weakref.finalize(self, self._file.close)
        if not len(offsets) or offsets[0] or offsets[-1] != num_bytes or (np.diff(offsets) < 0).any():
            raise ArtifactError(self._misfit())

    def close(self) -> None:
        """Close the file; nothing can be read afterwards."""
        self._file.close()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def take(self, rows: NDArray[np.int64]) -> list[list[str | None]]:
        """Read some rows.

        Args:
            rows: Positions, shape (M,), from 0 to N - 1.

        Returns:
            The texts of each, in the order asked for.

        Raises:
            ArtifactError: A line is not what was written.
        """
        starts, stops = self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        if starts[1:] == stops[:-1] and starts:  # rows that follow each other are read at once
            with self._lock:
                self._file.seek(starts[0])
                lines = self._file.read(stops[-1] - starts[0]).split(b"\n")[:-1]
        else:
            with self._lock:
                lines = [self._read(start, stop) for start, stop in zip(starts, stops, strict=True)]
        try:
            found = json.loads(b"[" + b",".join(lines) + b"]")  # at once: five times faster than one by one
        except (ValueError, RecursionError) as error:
            raise ArtifactError(self._misfit()) from error
        if len(found) != len(rows) or not all(map(self._is_row, found)):
            raise ArtifactError(self._misfit())
        texts: list[list[str | None]] = found
        return texts

    def _is_row(self, texts: object) -> bool:
        return isinstance(texts, list) and len(texts) == self._width and set(map(type, texts)) <= _TEXT_TYPES

    def _misfit(self) -> str:
        return f"{self._path} does not fit its rows; fetch or build the gallery again"

    def _read(self, start: int, stop: int) -> bytes:
        self._file.seek(start)
        return self._file.read(stop - start)

    def column(self, position: int) -> "StoredStrings":
        """One text of every row.

        Args:
            position: Which text of the rows' lists.

        Returns:
            The column.
        """
        return StoredStrings(self, position)


class StoredStrings:
    """One column of a `TextFile`; indexed like an array of N strings, read when asked for."""

    def __init__(self, file: TextFile, position: int) -> None:
        self._file = file
        self._position = position

    def __len__(self) -> int:
        return len(self._file)

    @property
    def shape(self) -> tuple[int]:
        """(N,), as an array has it."""
        return (len(self),)

    def close(self) -> None:
        """Close the file, and so every column of it."""
        self._file.close()

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, int | np.integer):
            row = range(len(self))[int(rows)]
            return self._file.take(np.array([row]))[0][self._position]
        picked = np.arange(len(self))[rows] if _needs_resolving(rows) else np.asarray(rows, dtype=np.int64)
        values = np.empty(len(picked), dtype=object)
        values[:] = [texts[self._position] for texts in self._file.take(picked)]
        return values

    def __iter__(self) -> Iterator[str | None]:
        for first in range(0, len(self), BLOCK_ROWS):
            rows = np.arange(first, min(first + BLOCK_ROWS, len(self)))
            yield from (texts[self._position] for texts in self._file.take(rows))


class TextWriter:
    """Writes lines for a `TextFile`, and remembers where each begins."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._offsets = [np.zeros(1, dtype=np.int64)]

    def add(self, rows: Iterable[Sequence[str | None]]) -> None:
        """Write some rows.

        Args:
            rows: The texts of each.
        """
        lines = [json.dumps(list(row), ensure_ascii=False).encode() + b"\n" for row in rows]
        if not lines:
            return
        self._file.writelines(lines)
        sizes = np.array([len(line) for line in lines], dtype=np.int64)
        self._offsets.append(self._offsets[-1][-1:] + np.cumsum(sizes))

    def close(self) -> NDArray[np.int64]:
        """End the file.

        Returns:
            Where each line begins, and the end of the last, shape (N + 1,).
        """
        self._file.close()
        return np.concatenate(self._offsets)


def _needs_resolving(rows: Any) -> bool:
    """Whether an index is a slice, a mask or has negative positions, which only an array can resolve."""
    if isinstance(rows, slice):
        return True
    array = np.asarray(rows)
    return array.dtype == np.bool_ or bool(len(array) and array.min() < 0)
