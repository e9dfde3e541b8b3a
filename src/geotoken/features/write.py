"""Writes a feature store shard by shard; what is written stays when the process is killed.

Owns the unfinished store and finishing it; must not know photos or encoders.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError
from geotoken.features.shard import (
    CREDIT_COLUMNS,
    TEXT_COLUMNS,
    FeatureFile,
    row_key,
    write_shard,
)
from geotoken.features.store import FORMAT_VERSION, KIND
from geotoken.files import cannot_write, read_record, write_whole
from geotoken.manifest import file_entry, read_manifest, write_manifest
from geotoken.version import __version__

FAILURES_NAME = "failures.jsonl"
"""What could not be embedded and why, a line each; absent if all could."""

_PARTIAL, _PROGRESS, _BUILD_NAME = "geotoken-features-partial", ".progress", "build.json"


@dataclass(frozen=True, slots=True)
class Modality:
    """A kind of vector in a store."""

    dim: int
    """Length D of the vectors."""
    encoder: str
    """Name of the encoder that makes them."""


def describe_rows(modalities: Mapping[str, Modality]) -> dict[str, Any]:
    """What the manifest of a store says of its rows.

    Args:
        modalities: What is kept of a photo, by name.

    Returns:
        Its entries `modalities` and `columns`.
    """
    return {
        "modalities": {name: {"dim": one.dim, "encoder": one.encoder} for name, one in modalities.items()},
        "columns": [*TEXT_COLUMNS, *CREDIT_COLUMNS],
    }


class StoreWriter:
    """An unfinished store, in `OUT.partial`; a shard counts once its record is there, which is written last.

    Records lie in a folder whose name begins with a dot, which a manifest leaves out.
    """

    def __init__(self, out: Path, modalities: Mapping[str, Modality], fingerprint: str) -> None:
        self.out = out
        self.folder = out.resolve().with_name(out.resolve().name + ".partial")
        self._progress = self.folder / _PROGRESS
        self.modalities = dict(modalities)
        self.fingerprint = fingerprint
        self.records: list[dict[str, Any]] = []
        """What was written of each shard: `num_items`, `num_rows`, `failures` and `files`."""
        self.is_finished = False
        """Whether the store is there, and nothing can be added."""
        self._known: set[int] = set()

    @classmethod
    def open(
        cls, out: Path, modalities: Mapping[str, Modality], fingerprint: str, *, resume: bool
    ) -> "StoreWriter":
        """Start a store, or go on with one.

        Args:
            out: The folder to make.
            modalities: What the store holds, by name.
            fingerprint: What the shards depend on: source, encoders, size of the shards.
            resume: Whether to go on with an unfinished store.

        Returns:
            The writer; `is_finished` if the same store is there already and `resume` is set.

        Raises:
            InputError: Something else is there, or an unfinished store and `resume` is not set.
            ArtifactError: It cannot be written.
        """
        writer = cls(out, modalities, fingerprint)
        if os.path.lexists(out):
            writer._check_finished(resume)
            return writer
        state = writer._progress / _BUILD_NAME
        if os.path.lexists(writer.folder):
            found = read_record(state)
            if not isinstance(found, dict) or found.get("format") != _PARTIAL:
                raise InputError(f"{writer.folder} exists and is not an unfinished store; move it away")
            if not resume:
                raise InputError(
                    f"{writer.folder} is an unfinished store; go on with it (--resume), or remove it"
                )
            if found.get("fingerprint") != fingerprint:
                raise InputError(
                    f"{writer.folder} was begun from another source, or with other encoders or another "
                    "--dtype; give those to resume it, or remove it"
                )
            writer._read_records()
            return writer
        try:
            writer._progress.mkdir(parents=True)
            write_whole(state, json.dumps({"format": _PARTIAL, "fingerprint": fingerprint}).encode())
        except OSError as error:
            raise ArtifactError(cannot_write(writer.folder, error)) from error
        return writer

    @property
    def num_items(self) -> int:
        """Items of the source that the shards cover."""
        return sum(int(record["num_items"]) for record in self.records)

    def is_new(self, row_id: str) -> bool:
        """Take note of an id.

        Args:
            row_id: The id of a row.

        Returns:
            Whether it was not there before.
        """
        key = row_key(row_id)
        if key in self._known:
            return False
        self._known.add(key)
        return True

    def append(
        self,
        rows: Sequence[Mapping[str, Any]],
        vectors: Mapping[str, NDArray[np.float16]],
        *,
        num_items: int,
        failures: Sequence[Mapping[str, str]],
    ) -> None:
        """Write a shard.

        Args:
            rows: N mappings as `geotoken.features.shard.write_table` takes them.
            vectors: Vectors of every modality, shape (N, D).
            num_items: Items of the source that the shard covers.
            failures: Those that gave no row: `image` and `reason`.

        Raises:
            ArtifactError: It cannot be written.
        """
        shapes = {name: (len(rows), one.dim) for name, one in self.modalities.items()}
        assert {name: one.shape for name, one in vectors.items()} == shapes, (
            "rows and vectors must be as many"
        )
        stem = f"{len(self.records):05}"
        try:
            names = write_shard(self.folder, stem, rows, vectors)
            record = {
                "num_items": num_items,
                "num_rows": len(rows),
                "failures": list(failures),
                "files": {name: file_entry(self.folder / name) for name in names},
            }
            write_whole(self._progress / f"{stem}.json", json.dumps(record).encode())
        except OSError as error:
            raise ArtifactError(cannot_write(self.folder, error)) from error
        self.records.append(record)

    def finish(self) -> None:
        """Turn the unfinished store into the store.

        Raises:
            ArtifactError: It cannot be written.
        """
        failures = [failure for record in self.records for failure in record["failures"]]
        try:
            if failures:
                lines = "".join(json.dumps(one) + "\n" for one in failures)
                (self.folder / FAILURES_NAME).write_text(lines, encoding="utf-8")
            write_manifest(
                self.folder,
                kind=KIND,
                format_version=FORMAT_VERSION,
                extra={
                    **describe_rows(self.modalities),
                    "shards": [f"{number:05}" for number in range(len(self.records))],
                    "num_rows": sum(int(record["num_rows"]) for record in self.records),
                    "num_failures": len(failures),
                    "fingerprint": self.fingerprint,
                    "geotoken_version": __version__,
                },
                known={name: entry for record in self.records for name, entry in record["files"].items()},
            )
            self.folder.rename(self.out)
            shutil.rmtree(self.out / _PROGRESS, ignore_errors=True)
        except OSError as error:
            raise ArtifactError(cannot_write(self.out, error)) from error

    def discard(self) -> None:
        """Remove the unfinished store."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check_finished(self, resume: bool) -> None:
        """Accept a finished store of the same making if it is to be resumed.

        Raises:
            InputError: It is something else.
        """
        try:
            manifest = read_manifest(self.out, KIND, FORMAT_VERSION)
        except ArtifactError as error:
            raise InputError(
                f"{self.out} exists and is not a feature store; choose another folder"
            ) from error
        if not resume or manifest.get("fingerprint") != self.fingerprint:
            raise InputError(f"{self.out} already is a feature store; choose another folder, or remove it")
        failures = []
        if (self.out / FAILURES_NAME).is_file():
            lines = (self.out / FAILURES_NAME).read_text(encoding="utf-8").splitlines()
            failures = [json.loads(line) for line in lines]
        self.records = [{"num_items": 0, "num_rows": manifest["num_rows"], "failures": failures, "files": {}}]
        self.is_finished = True

    def _read_records(self) -> None:
        """Find the shards that are whole, from the first; what follows a broken one is made again."""
        while isinstance(record := read_record(self._progress / f"{len(self.records):05}.json"), dict):
            paths = {self.folder / name: entry for name, entry in record["files"].items()}
            if any(not path.is_file() or file_entry(path) != entry for path, entry in paths.items()):
                return
            first = next(path for path in paths if path.suffix == ".safetensors")
            self._known.update(FeatureFile(first).keys.tolist())
            self.records.append(record)
