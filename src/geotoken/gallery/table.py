"""What is known about each photo of a gallery, one row each, kept in Parquet.

Owns the columns and their files; must not know vectors or how they are searched.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geotoken.duck import connect, literal
from geotoken.errors import ArtifactError, InputError
from geotoken.files import ARRAY_DAMAGE
from geotoken.gallery.storage import StoredStrings, TextFile, TextWriter
from geotoken.geo import check_lat_lng

Strings = NDArray[np.object_] | StoredStrings
"""Text values, shape (N,): str, or None where unknown; in memory, or on disk where a gallery is big."""

TEXT_COLUMNS = (
    "id",
    "owner",
    "sha256",
    "label",
    "attribution",
    "license",
    "source_url",
    "coord_precision",
)
"""The columns that hold text; only `id` is never empty."""

TABLE_NAME, ROWS_NAME, TEXT_NAME = "gallery.parquet", "rows.npy", "text.jsonl"
"""The table of a gallery folder; and, of a big one, the same again in a form that gives single rows at once:
coordinates and where each text begins, and the texts, `TEXT_COLUMNS` in a JSON list a line."""

_ROW = np.dtype([("lat", "<f8"), ("lng", "<f8"), ("offset", "<i8")])


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryTable:
    """The N rows of a gallery as columns; row i describes vector i.

    The Parquet file has these columns in this order: `lat` and `lng` as DOUBLE, the others as VARCHAR.
    """

    id: Strings
    """Name of the photo within its gallery, shape (N,); never None."""
    lat: NDArray[np.float64]
    """Latitude in degrees, -90 to 90, shape (N,)."""
    lng: NDArray[np.float64]
    """Longitude in degrees, -180 to 180, shape (N,)."""
    owner: Strings
    """Who took or uploaded the photo, shape (N,); photos of one owner are not independent."""
    sha256: Strings
    """Hash of the photo's file, 64 hexadecimal digits, shape (N,)."""
    label: Strings
    """A few words for people, shape (N,)."""
    attribution: Strings
    """The credit that the licence asks for, shape (N,)."""
    license: Strings
    """Licence of the photo, shape (N,)."""
    source_url: Strings
    """Where the photo is found, shape (N,)."""
    coord_precision: Strings
    """What the coordinates point at, shape (N,): exif, exact, landmark, city, region."""

    def __post_init__(self) -> None:
        num_rows = len(self.id)
        for field in fields(self):
            shape = getattr(self, field.name).shape
            if shape != (num_rows,):
                raise InputError(f"gallery column {field.name} has shape {shape}; needed: ({num_rows},)")
        for name, degrees in zip(("lat", "lng"), check_lat_lng(self.lat, self.lng), strict=True):
            object.__setattr__(self, name, degrees)
        if isinstance(self.id, StoredStrings):  # checked when it was written
            return
        nameless = [row for row, name in enumerate(self.id) if not isinstance(name, str)]
        if nameless:
            raise InputError(f"gallery row {nameless[0]} has no id; every photo needs one")

    def __len__(self) -> int:
        return len(self.id)

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "GalleryTable":
        """Make a table of one mapping a row.

        Args:
            rows: Column name to value; `id`, `lat` and `lng` are needed, others are None where absent.

        Returns:
            The table, rows in the order given.

        Raises:
            InputError: A row has no `id`, or a coordinate that is missing or out of range.
        """
        columns: dict[str, Any] = {}
        for name in (field.name for field in fields(cls)):
            values = [row.get(name) for row in rows]
            columns[name] = np.array(values, dtype=object if name in TEXT_COLUMNS else np.float64)
        return cls(**columns)

    def take(self, rows: NDArray[np.int64]) -> "GalleryTable":
        """Select rows by position.

        Args:
            rows: Positions to keep, shape (M,).

        Returns:
            A table of M rows in the order given, in memory.
        """
        return GalleryTable(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def count(self, name: str) -> dict[str, int]:
        """Count the values of a text column.

        Args:
            name: One of `TEXT_COLUMNS`.

        Returns:
            How often each value occurs, sorted by value; "unknown" for None.
        """
        return dict(sorted(Counter(value or "unknown" for value in getattr(self, name)).items()))

    @classmethod
    def read(cls, path: Path) -> "GalleryTable":
        """Read a Parquet file written by `TableWriter` into memory.

        Args:
            path: The Parquet file.

        Returns:
            The table.

        Raises:
            ArtifactError: The file is missing, is no Parquet file, lacks a column, or holds wrong values.
        """
        import duckdb

        try:
            with connect() as connection:
                rows = connection.execute(f"select {_selection()} from read_parquet(?)", [literal(path)])
                columns = rows.fetchnumpy()
            return cls(**{name: _without_mask(name, values) for name, values in columns.items()})
        except (duckdb.Error, InputError) as error:
            raise ArtifactError(
                f"{path} is not the table of a gallery ({_one_line(error)}); fetch or build the gallery again"
            ) from error


class TableWriter:
    """Writes a table piece by piece: the Parquet file of any gallery, and the row files of a big one.

    A context manager. The rows wait in files, so that memory does not grow with them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._coordinates: list[NDArray[np.float64]] = []
        self._texts = TextWriter(folder / TEXT_NAME)
        self._parts: list[Path] = []
        self._connection = connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._texts.close()

    def add(self, table: GalleryTable) -> None:
        """Write some rows after those before.

        Args:
            table: The rows.

        Raises:
            ArtifactError: They cannot be written.
        """
        columns = {field.name: np.asarray(getattr(table, field.name)[:]) for field in fields(table)}
        self._connection.register("columns_", columns)
        part = self._folder / f"part-{len(self._parts)}.parquet"
        self._write(f"select {_selection()} from columns_", [], part)
        self._parts.append(part)
        self._coordinates.append(np.stack([table.lat, table.lng], axis=1))
        self._texts.add(zip(*(columns[name] for name in TEXT_COLUMNS), strict=True))

    def finish(self, *, row_files: bool) -> None:
        """Write what is asked for, and remove what is not.

        Args:
            row_files: Whether to keep `TEXT_NAME` and `ROWS_NAME` beside the Parquet file.

        Raises:
            ArtifactError: A file cannot be written.
        """
        parts = [literal(part) for part in self._parts]
        self._write("select * from read_parquet(?)", [parts], self._folder / TABLE_NAME)
        for part in self._parts:
            part.unlink()
        offsets = self._texts.close()
        if not row_files:
            (self._folder / TEXT_NAME).unlink()
            return
        rows = np.empty(len(offsets), dtype=_ROW)
        rows["offset"] = offsets
        rows["lat"][:-1], rows["lng"][:-1] = np.concatenate(self._coordinates).T
        rows["lat"][-1] = rows["lng"][-1] = np.nan  # the last one only ends the text before it
        np.save(self._folder / ROWS_NAME, rows, allow_pickle=False)

    def _write(self, query: str, parameters: list[Any], path: Path) -> None:
        import duckdb

        try:
            rows = self._connection.sql(query, params=parameters)
            rows.write_parquet(str(path.resolve()), compression="zstd")
        except duckdb.Error as error:
            raise ArtifactError(f"{path} cannot be written ({_one_line(error)})") from error


def open_stored(folder: Path) -> GalleryTable:
    """Open the row files that `TableWriter` kept; texts stay on disk.

    Args:
        folder: The gallery folder.

    Returns:
        The table.

    Raises:
        ArtifactError: A file is missing or holds something else.
    """
    path = folder / ROWS_NAME
    try:
        rows = np.load(path, allow_pickle=False).astype(_ROW, casting="equiv").reshape(-1)
        file = TextFile(folder / TEXT_NAME, np.ascontiguousarray(rows["offset"]), len(TEXT_COLUMNS))
        texts = {name: file.column(position) for position, name in enumerate(TEXT_COLUMNS)}
        lat, lng = (np.ascontiguousarray(rows[name][:-1]) for name in ("lat", "lng"))
        return GalleryTable(**texts, lat=lat, lng=lng)
    except ARRAY_DAMAGE as error:
        raise ArtifactError(
            f"{path} is not the table of a gallery ({_one_line(error)}); fetch or build the gallery again"
        ) from error


def hash_bytes(sha256: str) -> bytes:
    """The hash of a photo's file in half the memory.

    Args:
        sha256: From a table: 64 hexadecimal digits.

    Returns:
        32 bytes.

    Raises:
        ArtifactError: It is no hash.
    """
    try:
        return bytes.fromhex(sha256)
    except ValueError:
        raise ArtifactError(
            f"a photo of the gallery has the hash {sha256[:80]!r}, which is none; fetch or build it again"
        ) from None


def _selection() -> str:
    """The columns with their types, as SQL."""
    return ", ".join(
        f'"{field.name}"::{"varchar" if field.name in TEXT_COLUMNS else "double"} as "{field.name}"'
        for field in fields(GalleryTable)
    )


def _without_mask(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """A column as `fetchnumpy` gives it, with None or NaN for the masked values."""
    if not isinstance(values, np.ma.MaskedArray):
        return values
    plain = np.array(values.data)
    plain[np.ma.getmaskarray(values)] = None if name in TEXT_COLUMNS else np.nan
    return plain


def _one_line(error: Exception) -> str:
    """What is wrong, without the SQL that DuckDB quotes below it."""
    return " ".join(str(error).split("\nLINE ")[0].split())
