"""What is known about each photo of a gallery, one row each, kept in Parquet.

Owns the columns and their file; must not know vectors or how they are searched.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError
from geotoken.geo import check_lat_lng

Strings = NDArray[np.object_]
"""Text values, shape (N,), dtype object: str, or None where unknown."""

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
            A table of M rows in the order given.
        """
        return GalleryTable(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def write(self, path: Path) -> None:
        """Write the table as Parquet.

        Args:
            path: The file; its folder must exist.

        Raises:
            ArtifactError: The file cannot be written.
        """
        import duckdb

        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        try:
            with _connect() as connection:
                connection.register("columns_", columns)
                rows = connection.sql(f"select {_selection()} from columns_")
                rows.write_parquet(str(path.resolve()), compression="zstd")
        except duckdb.Error as error:
            raise ArtifactError(f"{path} cannot be written ({_one_line(error)})") from error

    @classmethod
    def read(cls, path: Path) -> "GalleryTable":
        """Read a table written by `write`.

        Args:
            path: The Parquet file.

        Returns:
            The table.

        Raises:
            ArtifactError: The file is missing, is no Parquet file, lacks a column, or holds wrong values.
        """
        import duckdb

        # A name is meant as it is: read_parquet takes a pattern, so its special characters are escaped.
        pattern = re.sub(r"([*?\[])", r"[\1]", str(path.resolve()))
        try:
            with _connect() as connection:
                rows = connection.execute(f"select {_selection()} from read_parquet(?)", [pattern])
                columns = rows.fetchnumpy()
            return cls(**{name: _without_mask(name, values) for name, values in columns.items()})
        except (duckdb.Error, InputError) as error:
            raise ArtifactError(
                f"{path} is not the table of a gallery ({_one_line(error)}); fetch or build the gallery again"
            ) from error


def _connect() -> Any:
    """A DuckDB session in memory that loads no extension.

    With the setting below, columns of dtype object are text and not analysed: older releases need pandas to
    analyse them, and take a column of None for one of integers.
    """
    import duckdb

    connection = duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    connection.execute("set pandas_analyze_sample = 0")
    return connection


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
    return " ".join(str(error).split())
