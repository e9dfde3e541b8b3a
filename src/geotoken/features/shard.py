"""One shard of a store on disk: a file of vectors a modality, and the table of the same rows.

Owns both formats; must not know how shards make a store.

A feature file is safetensors with two tensors: `key` (N,), int64, and `vector` (N, D), float16. The table
is Parquet with the same `key`, `lat`, `lng`, `TEXT_COLUMNS` and `CREDIT_COLUMNS`. A key is a hash of the
row's id: rows that do not belong together have other keys.
"""

import hashlib
import json
import mmap
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken import duck
from geotoken.errors import ArtifactError, reason_of

Keys = NDArray[np.int64]

TEXT_COLUMNS: Final = ("id", "owner", "sha256", "split")
"""Columns of the table that hold text; only `id` is never empty."""

CREDIT_COLUMNS: Final = ("attribution", "license", "source_url")
"""Further columns of text: what a gallery of the same photos must tell about their authors. The first stores
lack them."""

_MAX_HEADER = 1 << 16
_ALIGNMENT = 64


def row_key(row_id: str) -> int:
    """The key of a row.

    Args:
        row_id: Its id, unique in the store.

    Returns:
        64 bits of the id's sha256, as a signed number.
    """
    return int.from_bytes(hashlib.sha256(row_id.encode()).digest()[:8], "little", signed=True)


def header(num_rows: int, dim: int) -> bytes:
    """The first bytes of a feature file.

    Args:
        num_rows: Rows N.
        dim: Length D of the vectors.

    Returns:
        Length and JSON header of safetensors, padded so that the data is aligned.

    References:
        https://github.com/huggingface/safetensors, "Format".
    """
    keys, vectors = 8 * num_rows, 2 * num_rows * dim
    entries = {
        "key": {"dtype": "I64", "shape": [num_rows], "data_offsets": [0, keys]},
        "vector": {"dtype": "F16", "shape": [num_rows, dim], "data_offsets": [keys, keys + vectors]},
    }
    text = json.dumps(entries).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def write_features(path: Path, keys: Keys, vectors: NDArray[np.float16]) -> None:
    """Write a feature file.

    Args:
        path: The file.
        keys: Key of each row, shape (N,).
        vectors: Vectors, shape (N, D).
    """
    with path.open("wb") as file:
        file.write(header(*vectors.shape))
        file.write(np.ascontiguousarray(keys, dtype="<i8").data)
        file.write(np.ascontiguousarray(vectors, dtype="<f2").data)


class FeatureFile:
    """A feature file mapped into memory; pages are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Map a file.

        Args:
            path: A file written by `write_features`.

        Raises:
            ArtifactError: It is missing, cut short, or something else.
        """
        try:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            (length,) = struct.unpack("<Q", mapped[:8])
            entries = json.loads(mapped[8 : 8 + min(length, _MAX_HEADER)])
            num_rows, dim = entries["vector"]["shape"]
            start = 8 + length
            fits = mapped[:start] == header(num_rows, dim)
            whole = len(mapped) == start + num_rows * (8 + 2 * dim)
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            reason = getattr(error, "strerror", None) or reason_of(error)
            raise ArtifactError(
                f"{path} is not a feature file ({reason}); embed its photos again, or copy the store again"
            ) from error
        if not (fits and whole):
            raise ArtifactError(f"{path} is cut short, or its header damaged; copy the store again")
        if hasattr(mmap, "MADV_RANDOM"):  # rows are asked for in any order: reading ahead is in vain
            mapped.madvise(mmap.MADV_RANDOM)
        self.keys: Keys = np.frombuffer(mapped, dtype="<i8", count=num_rows, offset=start)
        """Key of each row, shape (N,)."""
        self.vectors: NDArray[np.float16] = np.frombuffer(
            mapped, dtype="<f2", count=num_rows * dim, offset=start + 8 * num_rows
        ).reshape(num_rows, dim)
        """Vectors, shape (N, D)."""


def write_table(path: Path, keys: Keys, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table of a shard.

    Args:
        path: The Parquet file.
        keys: Key of each row, shape (N,).
        rows: N mappings with `lat`, `lng`, `TEXT_COLUMNS` and `CREDIT_COLUMNS`; what is absent is None.

    Raises:
        ArtifactError: It cannot be written.
    """
    import duckdb

    columns: dict[str, Any] = {"key": keys}
    for name in ("lat", "lng"):
        columns[name] = np.array([row[name] for row in rows], dtype=np.float64)
    text_columns = (*TEXT_COLUMNS, *CREDIT_COLUMNS)
    for name in text_columns:
        columns[name] = np.array([row.get(name) for row in rows], dtype=object)
    texts = ", ".join(f'"{name}"::varchar as "{name}"' for name in text_columns)
    try:
        with duck.connect(threads=1) as connection:
            connection.register("columns_", columns)
            selected = connection.sql(f"select key, lat, lng, {texts} from columns_")
            selected.write_parquet(str(path.resolve()), compression="zstd")
    except duckdb.Error as error:
        raise ArtifactError(
            f"{path} cannot be written ({reason_of(error)}); check space and permissions"
        ) from error


def write_shard(
    folder: Path, stem: str, rows: Sequence[Mapping[str, Any]], vectors: Mapping[str, NDArray[np.float16]]
) -> list[str]:
    """Write the files of a shard.

    Args:
        folder: The store.
        stem: What the names of the files begin with.
        rows: N mappings as `write_table` takes them.
        vectors: Vectors by modality, shape (N, D).

    Returns:
        Names of the files, the table first.

    Raises:
        OSError: A file cannot be written.
        ArtifactError: The table cannot be written.
    """
    keys = np.array([row_key(row["id"]) for row in rows], dtype=np.int64)
    names = [f"{stem}.parquet", *(f"{stem}.{name}.safetensors" for name in vectors)]
    write_table(folder / names[0], keys, rows)
    for name, one in zip(names[1:], vectors.values(), strict=True):
        write_features(folder / name, keys, one)
    return names


def read_table(path: Path, columns: Sequence[str], rows: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Read columns of the table of a shard.

    Args:
        path: The Parquet file.
        columns: Their names.
        rows: Positions within the shard, shape (M,); all when None.

    Returns:
        Arrays by name, shape (M,), in the order of `rows`; unknown text is None.

    Raises:
        ArtifactError: It is missing, damaged, or lacks a column.
    """
    import duckdb

    names = "".join(f'"{name}", ' for name in columns)
    query = f"select {names}file_row_number as row_ from read_parquet(?, file_row_number = true)"
    wanted = None if rows is None else np.unique(rows)
    if wanted is not None:
        query += " where file_row_number in (select unnest(?))"
    try:
        with duck.connect(threads=1) as connection:
            given: list[Any] = [duck.literal(path), *([] if wanted is None else [wanted.tolist()])]
            found = connection.execute(f"{query} order by row_", given).fetchnumpy()
    except duckdb.Error as error:
        raise ArtifactError(
            f"{path} is not the table of a shard ({reason_of(error)}); copy the store again"
        ) from error
    values = {name: _plain(found[name]) for name in columns}
    if rows is None or wanted is None:
        return values
    order = np.searchsorted(wanted, rows)
    return {name: column[order] for name, column in values.items()}


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    if not isinstance(values, np.ma.MaskedArray):
        return values
    plain = np.array(values.data)
    plain[np.ma.getmaskarray(values)] = None if plain.dtype == object else 0
    return plain
