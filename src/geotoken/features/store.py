"""Reads a feature store: random rows of any modality, with memory that does not grow with the store.

Owns opening and checking a store; must not know how it was made.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError
from geotoken.features.shard import CREDIT_COLUMNS, TEXT_COLUMNS, FeatureFile, read_table
from geotoken.manifest import read_manifest, verify_manifest

KIND: Final = "geotoken-features"
"""What the manifest of a store calls it."""

FORMAT_VERSION: Final = 1
"""Newest layout of a store that this geotoken reads."""

Rows = NDArray[np.int64]


class FeatureStore:
    """A store opened for reading; made by `FeatureStore.open`. Reading is safe from several threads.

    A store is a folder with `manifest.json` and, for each shard, `00000.parquet` and, for each modality,
    `00000.NAME.safetensors`. Positions of rows run through the shards in order.
    """

    def __init__(
        self,
        folder: Path,
        dims: Mapping[str, int],
        encoders: Mapping[str, str],
        columns: Sequence[str],
        offsets: Rows,
        parts: list[Any],
    ) -> None:
        self.folder = folder
        """Where it lies."""
        self.dims = dict(dims)
        """Length D of the vectors of each modality."""
        self.encoders = dict(encoders)
        """Name of the encoder that made each modality."""
        self._columns = tuple(columns)
        self._offsets = offsets
        self._files: list[dict[str, FeatureFile]] = [files for files, _ in parts]
        tables = [table for _, table in parts]
        self.keys: NDArray[np.int64] = _joined(tables, "key", np.int64)
        """Key of each row, a hash of its id, shape (N,)."""
        self.lat: NDArray[np.float64] = _joined(tables, "lat", np.float64)
        """Latitude in degrees, shape (N,)."""
        self.lng: NDArray[np.float64] = _joined(tables, "lng", np.float64)
        """Longitude in degrees, shape (N,)."""
        self._splits = sorted({name for table in tables for name in table["split_names"]})
        self._split_codes = _joined(
            [
                {"split": np.searchsorted(self._splits, table["split_names"])[table["split"]]}
                for table in tables
            ],
            "split",
            np.int16,
        )

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = True) -> "FeatureStore":
        """Open a store.

        That features and rows belong together is always checked, for every row and modality.

        Args:
            folder: The store.
            verify: Whether the sha256 of every file is checked as well, which reads all of it once.

        Returns:
            The store.

        Raises:
            ArtifactError: It is unfinished, or a file is missing, damaged or belongs to other rows; the file
                is named.
        """
        root = Path(folder)
        if not root.is_dir() and root.with_name(root.name + ".partial").is_dir():
            raise ArtifactError(f"{root} is not finished; go on with it: geotoken embed ... --resume")
        if not root.exists():
            raise ArtifactError(f"there is no feature store {root}; make it: geotoken embed ... --out {root}")
        check = verify_manifest if verify else read_manifest
        manifest = check(root, KIND, FORMAT_VERSION)
        try:
            shards = [str(name) for name in manifest["shards"]]
            modalities = dict(manifest["modalities"])
            dims = {name: int(one["dim"]) for name, one in modalities.items()}
            encoders = {name: str(one["encoder"]) for name, one in modalities.items()}
            columns = [
                name
                for name in (*TEXT_COLUMNS, *CREDIT_COLUMNS)
                if name in manifest.get("columns", TEXT_COLUMNS)
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{root}/manifest.json lacks {error}; embed the photos again") from error
        if shards != [f"{number:05}" for number in range(len(shards))] or not all(map(is_modality, dims)):
            raise ArtifactError(f"{root}/manifest.json has impossible names; embed the photos again")
        parts = [_open_shard(root, name, dims, manifest["files"]) for name in shards]
        sizes = [len(table["key"]) for _, table in parts]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        store = cls(root, dims, encoders, columns, offsets, parts)
        if len(np.unique(store.keys)) != len(store.keys):
            raise ArtifactError(f"{root} has a row twice; embed the photos again")
        return store

    def __len__(self) -> int:
        return int(self._offsets[-1])

    def batch(self, rows: Rows, modalities: Sequence[str] | None = None) -> dict[str, NDArray[np.float16]]:
        """Read the vectors of some rows.

        Args:
            rows: Positions in any order, also repeated, shape (B,).
            modalities: Which; all when None.

        Returns:
            Vectors by modality, shape (B, D), in the order of `rows`.

        Raises:
            InputError: A position or modality does not exist.
        """
        rows = self._checked(rows)
        names = list(self.dims) if modalities is None else list(modalities)
        unknown = [name for name in names if name not in self.dims]
        if unknown:
            raise InputError(f"there is no modality {unknown[0]!r}; this store has {', '.join(self.dims)}")
        out = {name: np.empty((len(rows), self.dims[name]), dtype=np.float16) for name in names}
        for number, places, inside in self._by_shard(rows):
            for name in names:
                out[name][places] = self._files[number][name].vectors[inside]
        return out

    def table(
        self, rows: Rows, columns: Sequence[str] = (*TEXT_COLUMNS, *CREDIT_COLUMNS)
    ) -> dict[str, NDArray[Any]]:
        """Read what is known about some rows, from disk.

        Args:
            rows: Positions, shape (B,).
            columns: Which of `id`, `owner`, `sha256`, `split`, `attribution`, `license` and `source_url`.

        Returns:
            These columns, and `lat` and `lng`, each of shape (B,); unknown text is None.

        Raises:
            InputError: A position does not exist.
            ArtifactError: A table is damaged.
        """
        rows = self._checked(rows)
        found: dict[str, NDArray[Any]] = {name: np.empty(len(rows), dtype=object) for name in columns}
        known = [name for name in columns if name in self._columns]
        for number, places, inside in self._by_shard(rows):
            for name, values in read_table(self.folder / f"{number:05}.parquet", known, inside).items():
                found[name][places] = values
        return found | {"lat": self.lat[rows], "lng": self.lng[rows]}

    @property
    def splits(self) -> list[str]:
        """Names of the splits that rows have, sorted; rows without one are in none."""
        return [name for name in self._splits if name]

    def rows_of(self, split: str) -> Rows:
        """Positions of the rows of a split.

        Args:
            split: Its name, such as "train".

        Returns:
            Positions, rising, shape (M,).

        Raises:
            InputError: No row has that split.
        """
        if split not in self._splits:
            known = ", ".join(self.splits) or "none"
            raise InputError(f"there is no split {split!r}; this store has {known}")
        return np.flatnonzero(self._split_codes == self._splits.index(split))

    def _checked(self, rows: Rows) -> Rows:
        rows = np.asarray(rows, dtype=np.int64)
        if rows.ndim != 1 or (len(rows) and not 0 <= rows.min() <= rows.max() < len(self)):
            raise InputError(f"rows must be positions from 0 to {len(self) - 1}, in one dimension")
        return rows

    def _by_shard(self, rows: Rows) -> list[tuple[int, Rows, Rows]]:
        """Number of each shard asked for, where its rows go, and where they are in it."""
        order = np.argsort(rows, kind="stable")
        bounds = np.searchsorted(rows[order], self._offsets)
        return [
            (
                int(number),
                (places := order[bounds[number] : bounds[number + 1]]),
                rows[places] - self._offsets[number],
            )
            for number in np.flatnonzero(np.diff(bounds))
        ]


def is_modality(name: str) -> bool:
    """Whether a text can name a modality, and so be part of a file name.

    Args:
        name: The text.

    Returns:
        Whether it is up to 32 lower-case letters, digits and underscores, a letter first.
    """
    return re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name) is not None


def _open_shard(
    root: Path, name: str, dims: Mapping[str, int], listed: Mapping[str, Any]
) -> tuple[dict[str, FeatureFile], dict[str, NDArray[Any]]]:
    """Map a shard and check that its files are about the same rows.

    Raises:
        ArtifactError: They are not, or one is not listed or of another size.
    """
    paths = {None: root / f"{name}.parquet"} | {one: root / f"{name}.{one}.safetensors" for one in dims}
    for path in paths.values():
        size = path.stat().st_size if path.is_file() else None
        if path.name not in listed or listed[path.name].get("bytes") != size:
            raise ArtifactError(f"{path} is missing, or not as long as it was written; copy the store again")
    table = read_table(paths[None], ("key", "lat", "lng", "split"))
    names = sorted({value or "" for value in table["split"]})  # a shard's texts are dropped before the next's
    codes = {name: code for code, name in enumerate(names)}
    table["split"] = np.array([codes[value or ""] for value in table["split"]], dtype=np.int16)
    table["split_names"] = np.array(names, dtype=np.str_)
    files = {}
    for one, dim in dims.items():
        files[one] = FeatureFile(paths[one])
        if files[one].vectors.shape[1] != dim:
            raise ArtifactError(f"{paths[one]} does not hold vectors of {dim} numbers; copy the store again")
        if not np.array_equal(files[one].keys, table["key"]):
            raise ArtifactError(
                f"{paths[one]} and {paths[None].name} are not about the same rows; copy the store again"
            )
    return files, table


def _joined(tables: list[dict[str, NDArray[Any]]], name: str, dtype: type) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *(table[name].astype(dtype, copy=False) for table in tables)])
