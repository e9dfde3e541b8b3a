"""Evidence tables: Parquet with the truth of photos, and neighbors and guesses in place of their pixels.

Owns the table's columns; must not know models.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken import duck
from geotoken.errors import InputError, reason_of
from geotoken.evidence import Evidence
from geotoken.files import check_regular
from geotoken.geo import check_lat_lng

REQUIRED: Final = ("image_id", "owner", "lat", "lng", "neighbor_lat", "neighbor_lng")
"""Columns that a table must have; the last two are lists, best neighbor first."""
OPTIONAL: Final = ("neighbor_similarity", "guess_lat", "guess_lng", "guess_source")
"""Columns that it may have: a list, and one guess a photo, empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceTable:
    """N photos with truth and evidence."""

    image: list[str]
    """Name of each, length N."""
    owner: list[str]
    """Photographer of each, length N; empty where unknown."""
    lat: NDArray[np.float64]
    """True latitude in degrees, shape (N,)."""
    lng: NDArray[np.float64]
    """True longitude in degrees, shape (N,)."""
    cases: list[Evidence]
    """Evidence of each, length N."""


def load_evidence_table(path: Path, *, guesses: bool, limit: int | None = None) -> EvidenceTable:
    """Read a table.

    Args:
        path: The Parquet file.
        guesses: Whether the recorded guesses are kept.
        limit: Photos read at most; all when None.

    Returns:
        The table.

    Raises:
        InputError: If it cannot be read, lacks a column, or holds what is no place; the row is named.
    """
    rows = _read(path, limit)
    if not rows:
        raise InputError(f"the evidence table {path} has no rows; give one with at least one photo")
    names = [str(row["image_id"]) for row in rows]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"the evidence table {path} has the photo {twice!r} twice; give each once")
    try:
        lat, lng = check_lat_lng([row["lat"] for row in rows], [row["lng"] for row in rows])
    except InputError as error:
        raise InputError(f"the evidence table {path}: {error}") from None
    cases = []
    for number, row in enumerate(rows):
        try:
            cases.append(_evidence(row, guesses=guesses))
        except (InputError, TypeError, ValueError) as error:
            raise InputError(
                f"the evidence table {path} cannot be used in row {number}: {reason_of(error)}"
            ) from None
    return EvidenceTable(
        image=names,
        owner=["" if row["owner"] is None else str(row["owner"]) for row in rows],
        lat=lat,
        lng=lng,
        cases=cases,
    )


def _read(path: Path, limit: int | None) -> list[dict[str, Any]]:
    """The rows, with None in columns that are absent.

    Raises:
        InputError: If the file cannot be read or lacks a column.
    """
    import duckdb

    try:
        check_regular(path)
        with duck.connect(threads=1) as connection:
            file = [duck.literal(path)]
            found = connection.execute("describe from read_parquet(?)", file).fetchall()
            present = {row[0] for row in found}
            names = [name for name in (*REQUIRED, *OPTIONAL) if name in present]
            chosen = ", ".join(names) or "1"
            query = f"select {chosen} from read_parquet(?)" + (f" limit {limit:d}" if limit else "")
            rows = connection.execute(query, file).fetchall()
    except (OSError, ValueError, duckdb.Error) as error:
        raise InputError(
            f"the evidence table {path} cannot be read ({reason_of(error)}); give a Parquet file"
        ) from error
    missing = [name for name in REQUIRED if name not in present]
    if missing:
        raise InputError(
            f"the evidence table {path} lacks {', '.join(missing)}; it must have {', '.join(REQUIRED)}"
        )
    empty = dict.fromkeys(OPTIONAL)
    return [{**empty, **dict(zip(names, row, strict=True))} for row in rows]


def _evidence(row: dict[str, Any], *, guesses: bool) -> Evidence:
    lat, lng = (np.array(row[name] or [], dtype=np.float64) for name in ("neighbor_lat", "neighbor_lng"))
    similarity = row["neighbor_similarity"]
    guess = [float("nan") if row[name] is None else float(row[name]) for name in ("guess_lat", "guess_lng")]
    known = guesses and not np.isnan(guess).any()
    return Evidence(
        neighbor_lat=lat,
        neighbor_lng=lng,
        neighbor_rank=np.arange(1.0, len(lat) + 1),
        neighbor_similarity=None if similarity is None else np.array(similarity, dtype=np.float64),
        guess_lat=np.array(guess[:1] if known else [], dtype=np.float64),
        guess_lng=np.array(guess[1:] if known else [], dtype=np.float64),
        guess_weight=np.ones(int(known)),
    )
