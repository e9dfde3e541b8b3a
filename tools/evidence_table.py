"""Reading of evidence tables: Parquet with image_id, owner, truth, neighbors and recorded guesses.

Owns the table's columns; must not know models.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from geotoken.evidence import Evidence


@dataclass(frozen=True, slots=True)
class EvidenceTable:
    """N photos with truth and evidence."""

    owner: list[str]
    """Photographer of each, length N."""
    lat: NDArray[np.float64]
    """True latitude in degrees, shape (N,)."""
    lng: NDArray[np.float64]
    """True longitude in degrees, shape (N,)."""
    cases: list[Evidence]
    """Evidence of each, length N."""


def load_evidence_table(path: Path, *, guesses: bool) -> EvidenceTable:
    """Read a table.

    Args:
        path: The Parquet file.
        guesses: Whether the recorded guesses are kept.

    Returns:
        The table.
    """
    query = "SELECT owner, lat, lng, neighbor_lat, neighbor_lng, guess_lat, guess_lng FROM read_parquet(?)"
    rows = duckdb.execute(query, [str(path)]).fetchall()
    cases = []
    for _, _, _, neighbor_lat, neighbor_lng, guess_lat, guess_lng in rows:
        known = guesses and guess_lat is not None and not np.isnan(guess_lat)
        cases.append(
            Evidence(
                neighbor_lat=np.array(neighbor_lat, dtype=np.float64),
                neighbor_lng=np.array(neighbor_lng, dtype=np.float64),
                neighbor_rank=np.arange(1.0, len(neighbor_lat) + 1),
                guess_lat=np.array([guess_lat] if known else [], dtype=np.float64),
                guess_lng=np.array([guess_lng] if known else [], dtype=np.float64),
                guess_weight=np.ones(int(known)),
            )
        )
    lat, lng = np.array([[r[1], r[2]] for r in rows], dtype=np.float64).T
    return EvidenceTable([r[0] for r in rows], lat, lng, cases)
