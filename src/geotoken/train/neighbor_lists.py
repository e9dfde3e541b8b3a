"""Neighbor lists of a feature store on disk: written shard by shard, read a few rows at a time.

Owns the folder's format; must not know how neighbors are found.

A folder holds `manifest.json`, `query_rows.npy` and `gallery_rows.npy` (which rows of the store have a list,
and which are the rows of the gallery), and shards `00000.npy` of records `(row int32, similarity float32)`,
shape (N, K), best first; a row of -1 fills up a list that is shorter than K.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError, reason_of
from geotoken.features import FeatureStore
from geotoken.files import ARRAY_DAMAGE, cannot_write, read_json, replacing, write_whole
from geotoken.manifest import file_entry, read_manifest, verify_manifest, write_manifest
from geotoken.version import __version__

KIND: Final = "geotoken-neighbors"
"""What the manifest of a folder of lists calls it."""

FORMAT_VERSION: Final = 1
"""Newest layout of lists that this geotoken reads."""

Rows = NDArray[np.int64]

_RECORD: Final = np.dtype([("row", "<i4"), ("similarity", "<f4")])
_QUERIES, _GALLERY = "query_rows.npy", "gallery_rows.npy"
_STATE = ".state.json"
_AGAIN = "make the neighbor lists again"


class NeighborLists:
    """The nearest gallery rows of many rows of a store, found by one rule; made by `NeighborLists.open`.

    Lists stay on disk: they are mapped, and pages are read when they are asked for.
    """

    def __init__(
        self, folder: Path, rule: Mapping[str, Any], query_rows: Rows, gallery_rows: Rows, shards: list[Any]
    ) -> None:
        self.folder = folder
        """Where they lie."""
        self.rule = dict(rule)
        """How they were found: the fields of `geotoken.train.neighbors.NeighborRule`."""
        self.query_rows = query_rows
        """Row of the store that each list is about, rising, shape (Q,)."""
        self.gallery_rows = gallery_rows
        """Row of the store that each gallery row is, rising, shape (G,)."""
        self._shards = shards
        self._offsets = np.concatenate([[0], np.cumsum([len(one) for one in shards])]).astype(np.int64)

    @classmethod
    def open(cls, folder: str | Path, store: FeatureStore, *, verify: bool = True) -> "NeighborLists":
        """Open the lists of a store.

        Args:
            folder: A folder made by `ListWriter`.
            store: The store they were made of.
            verify: Whether the sha256 of every file is checked as well, which reads all of it once.

        Returns:
            The lists.

        Raises:
            ArtifactError: A file is missing or damaged, or the lists are those of another store.
        """
        root = Path(folder)
        manifest = (verify_manifest if verify else read_manifest)(root, KIND, FORMAT_VERSION)
        try:
            rule, num_neighbors = dict(manifest["rule"]), int(manifest["num_neighbors"])
            names, made_of = [str(name) for name in manifest["shards"]], str(manifest["store"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{root}/manifest.json lacks {error}; {_AGAIN}") from error
        if made_of != store_identity(store):
            raise ArtifactError(
                f"{root} holds the neighbors of other photos than the store {store.folder}; {_AGAIN}"
            )
        for name in (_QUERIES, _GALLERY, *names):
            if name not in manifest["files"]:
                raise ArtifactError(f"{root}/manifest.json does not list {name}; {_AGAIN}")
        try:
            query_rows, gallery_rows = (
                np.load(root / name, allow_pickle=False).astype(np.int64) for name in (_QUERIES, _GALLERY)
            )
            shards = [np.load(root / name, mmap_mode="r", allow_pickle=False) for name in names]
        except ARRAY_DAMAGE as error:
            raise ArtifactError(f"{root} cannot be read ({reason_of(error)}); {_AGAIN}") from error
        fits = shards and all(one.dtype == _RECORD and one.shape[1:] == (num_neighbors,) for one in shards)
        if not fits or sum(map(len, shards)) != len(query_rows):
            raise ArtifactError(f"{root} does not fit together: its shards have other rows; {_AGAIN}")
        return cls(root, rule, query_rows, gallery_rows, shards)

    def __len__(self) -> int:
        return len(self.query_rows)

    @property
    def num_neighbors(self) -> int:
        """Neighbors K of a list at most."""
        return int(self._shards[0].shape[1])

    def take(self, positions: Rows) -> tuple[Rows, NDArray[np.float32]]:
        """Read some lists.

        Args:
            positions: Positions in `query_rows`, in any order, also repeated, shape (B,).

        Returns:
            Gallery rows, shape (B, K), -1 where there is none; and their similarities, 0 there.

        Raises:
            InputError: A position does not exist.
        """
        positions = np.asarray(positions, dtype=np.int64)
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(self):
            raise InputError(f"positions of lists must be from 0 to {len(self) - 1}")
        found = np.empty((len(positions), self.num_neighbors), dtype=_RECORD)
        number = np.searchsorted(self._offsets, positions, side="right") - 1
        for one in np.unique(number):
            here = number == one
            found[here] = self._shards[one][positions[here] - self._offsets[one]]
        return found["row"].astype(np.int64), np.ascontiguousarray(found["similarity"])


class ListWriter:
    """Lists being written, in `OUT.partial`; a shard counts once its record is there, written last."""

    def __init__(self, out: Path, settings: Mapping[str, Any], rows: tuple[Rows, Rows]) -> None:
        self.out = out
        self.folder = out.resolve().with_name(out.resolve().name + ".partial")
        self._settings = dict(settings)
        self._query_rows, self._gallery_rows = rows
        digest = hashlib.sha256(json.dumps(self._settings, sort_keys=True).encode())
        for one in rows:
            digest.update(np.ascontiguousarray(one, dtype="<i8").data)
        self._fingerprint = digest.hexdigest()
        self._known: dict[str, dict[str, object]] = {}
        self.num_lists = 0
        """Lists that are on disk."""
        self.is_finished = False
        """Whether the folder is there, and nothing can be added."""

    @classmethod
    def open(
        cls, out: Path, store: FeatureStore, rule: Mapping[str, Any], rows: tuple[Rows, Rows], *, resume: bool
    ) -> "ListWriter":
        """Start a folder of lists, or go on with one.

        Args:
            out: The folder to make.
            store: The store.
            rule: How neighbors are found, JSON-serialisable, with `num_neighbors`.
            rows: Rows of the store that get a list, rising, shape (Q,); and those that are the gallery,
                rising, shape (G,).
            resume: Whether to go on with unfinished lists of the same rule and rows, or take finished ones.

        Returns:
            The writer; `is_finished` if the same lists are there already and `resume` is set.

        Raises:
            InputError: There are no rows, something else is there, or lists and `resume` is not set.
            ArtifactError: The folder cannot be written.
        """
        if not len(rows[0]) or not len(rows[1]):
            raise InputError(
                f"{store.folder} has {len(rows[0])} photos to find neighbors of, and {len(rows[1])} to find; "
                "give at least one each"
            )
        settings = {"rule": dict(rule), "store": store_identity(store)}
        writer = cls(out, settings, rows)
        if out.exists():
            found = read_manifest(out, KIND, FORMAT_VERSION)
            if not resume or found.get("fingerprint") != writer._fingerprint:
                raise InputError(
                    f"{out} already holds neighbor lists, of another store or rule or not to be resumed; "
                    "choose another folder, or remove it"
                )
            writer.is_finished, writer.num_lists = True, len(rows[0])
            return writer
        if writer.folder.exists():
            state = _state(writer.folder / _STATE)
            if not resume or state != writer._fingerprint:
                raise InputError(
                    f"{writer.folder} holds unfinished neighbor lists; resume them with the same store and "
                    "rule, or remove it"
                )
            writer._count()
            return writer
        try:
            writer.folder.mkdir(parents=True)
            write_whole(writer.folder / _STATE, json.dumps(writer._fingerprint).encode())
        except OSError as error:
            raise ArtifactError(cannot_write(writer.folder, error)) from error
        return writer

    def append(self, rows: Rows, similarity: NDArray[np.float64]) -> None:
        """Write a shard.

        Args:
            rows: Gallery rows of the next lists, shape (N, K), -1 where there is none.
            similarity: Their similarities, shape (N, K).

        Raises:
            ArtifactError: It cannot be written.
        """
        records = np.empty(rows.shape, dtype=_RECORD)
        records["row"], records["similarity"] = rows, similarity
        name = f"{len(self._known):05}.npy"
        try:
            with replacing(self.folder / name) as beside, beside.open("wb") as file:
                np.save(file, records, allow_pickle=False)
            entry = {**file_entry(self.folder / name), "num_lists": len(rows)}
            write_whole(self.folder / f".{name}.json", json.dumps(entry).encode())
        except OSError as error:
            raise ArtifactError(cannot_write(self.folder, error)) from error
        self._add(name, entry)

    def finish(self) -> None:
        """Turn the unfinished folder into the folder.

        Raises:
            ArtifactError: It cannot be written.
        """
        assert self.num_lists == len(self._query_rows), "every row must have its list"
        try:
            np.save(self.folder / _QUERIES, self._query_rows, allow_pickle=False)
            np.save(self.folder / _GALLERY, self._gallery_rows, allow_pickle=False)
            write_manifest(
                self.folder,
                kind=KIND,
                format_version=FORMAT_VERSION,
                extra={
                    **self._settings,
                    "num_neighbors": self._settings["rule"]["num_neighbors"],
                    "shards": list(self._known),
                    "fingerprint": self._fingerprint,
                    "geotoken_version": __version__,
                },
                known=self._known,
            )
            for path in self.folder.glob(".*.json"):
                path.unlink()
            self.folder.rename(self.out)
        except OSError as error:
            raise ArtifactError(cannot_write(self.out, error)) from error

    def _add(self, name: str, entry: Mapping[str, Any]) -> None:
        self.num_lists += int(entry["num_lists"])
        self._known[name] = {"sha256": entry["sha256"], "bytes": entry["bytes"]}

    def _count(self) -> None:
        """Find the shards that are whole, from the first; what follows a broken one is made again."""
        while isinstance(entry := _state(self.folder / f".{len(self._known):05}.npy.json"), dict):
            name = f"{len(self._known):05}.npy"
            path = self.folder / name
            if not path.is_file() or file_entry(path)["sha256"] != entry.get("sha256"):
                return
            self._add(name, entry)


def store_identity(store: FeatureStore) -> str:
    """What tells the rows and image vectors of one store from those of another.

    Args:
        store: The store.

    Returns:
        A hash of its rows' keys in order and of the name of its image encoder.
    """
    digest = hashlib.sha256(store.encoders.get("image", "").encode() + b"\0")
    digest.update(np.ascontiguousarray(store.keys, dtype="<i8").data)
    return digest.hexdigest()


def pad_lists(
    found: Sequence[tuple[NDArray[np.float64], Rows]], num_neighbors: int
) -> tuple[Rows, NDArray[np.float64]]:
    """Bring lists to one length.

    Args:
        found: Similarities and rows of each list, at most K.
        num_neighbors: K.

    Returns:
        Rows, shape (N, K), filled up with -1; and similarities, with 0.
    """
    rows = np.full((len(found), num_neighbors), -1, dtype=np.int64)
    similarity = np.zeros((len(found), num_neighbors))
    for i, (known, row) in enumerate(found):
        rows[i, : len(row)], similarity[i, : len(row)] = row, known
    return rows, similarity


def _state(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None
