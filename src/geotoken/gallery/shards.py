"""An unfinished build on disk: what has been embedded so far, in parts that are whole or absent.

Owns the `.partial` folder; must not know photos or encoders.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError
from geotoken.files import ARRAY_DAMAGE, cannot_write, read_record, replacing, write_whole

KIND = "geotoken-gallery-partial"
"""What `build.json` of a partial folder calls it."""


class Shards:
    """A folder of numbered parts, each a block of vectors and a JSON record; the record is written last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.num_shards = 0
        """Parts that are whole."""

    @classmethod
    def open(cls, folder: Path, fingerprint: str, *, resume: bool, discard: bool) -> "Shards":
        """Start an unfinished build, or go on with one.

        Args:
            folder: The partial folder; made if absent.
            fingerprint: What the parts depend on: source, encoder, size of the parts.
            resume: Whether to keep the parts that are there.
            discard: Whether to remove the parts that are there, unless `resume`.

        Returns:
            The parts, `num_shards` of them.

        Raises:
            InputError: Something is there that is no partial build, or one of another source or encoder; or
                there is one and neither `resume` nor `discard` is set.
            ArtifactError: The folder cannot be written.
        """
        shards = cls(folder)
        state = folder / "build.json"
        if os.path.lexists(folder):
            found = read_record(state)
            if not isinstance(found, dict) or found.get("format") != KIND:
                raise InputError(f"{folder} exists and is not an unfinished build; move it away")
            if resume and found.get("fingerprint") != fingerprint:
                raise InputError(
                    f"{folder} is an unfinished build of another source or encoder; "
                    "give those to resume it, or remove it"
                )
            if resume:
                shards.num_shards = shards._count()
                return shards
            if not discard:
                raise InputError(
                    f"{folder} is an unfinished build; go on with it (--resume, in Python resume=True), "
                    "or remove it"
                )
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_whole(state, json.dumps({"format": KIND, "fingerprint": fingerprint}).encode())
        except OSError as error:
            raise ArtifactError(cannot_write(folder, error)) from error
        return shards

    def append(self, vectors: NDArray[np.float32], record: dict[str, Any]) -> None:
        """Keep one more part.

        Args:
            vectors: Its vectors, shape (M, D); M may be 0.
            record: JSON-serialisable.

        Raises:
            ArtifactError: It cannot be written.
        """
        vectors_path, record_path = self._paths(self.num_shards)
        try:
            with replacing(vectors_path) as beside, beside.open("wb") as file:
                np.save(file, vectors, allow_pickle=False)
            write_whole(record_path, json.dumps(record).encode())
        except OSError as error:
            raise ArtifactError(cannot_write(self._folder, error)) from error
        self.num_shards += 1

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of all parts, in order.

        Yields:
            Each record as it was appended.
        """
        for number in range(self.num_shards):
            yield read_record(self._paths(number)[1])

    def vectors(self) -> Iterator[NDArray[np.float32]]:
        """The vectors of all parts, in order.

        Yields:
            Vectors of one part, shape (M, D).
        """
        for number in range(self.num_shards):
            yield np.load(self._paths(number)[0], allow_pickle=False)

    def keep(self, num_shards: int) -> None:
        """Do without the last parts; those that follow are written over them.

        Args:
            num_shards: How many to keep, from the first.
        """
        self.num_shards = min(self.num_shards, num_shards)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _count(self) -> int:
        """Parts that are whole, from the first; what follows a broken one is done again."""
        number = 0
        while True:
            vectors_path, record_path = self._paths(number)
            record = read_record(record_path)
            try:
                vectors = np.load(vectors_path, mmap_mode="r", allow_pickle=False)
            except ARRAY_DAMAGE:
                return number
            if not isinstance(record, dict) or len(vectors) != len(record.get("rows", ())):
                return number
            number += 1

    def _paths(self, number: int) -> tuple[Path, Path]:
        return self._folder / f"{number:06}.npy", self._folder / f"{number:06}.json"
