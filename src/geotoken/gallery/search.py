"""The nearest gallery photos to a query, leaving out those that must not count.

Owns exclusion and the search loop; must not know how a gallery is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError
from geotoken.evidence import Evidence
from geotoken.gallery.kinds import Index
from geotoken.gallery.table import GalleryTable
from geotoken.geo import check_lat_lng, haversine_km

_MARGIN = 16  # rows fetched beyond K at first, where something is excluded
_ENOUGH = 0.75  # share of an approximate index's candidates that must remain, or more are fetched
_GROWTH = 4  # how many times more rows are fetched where too few remained
_MAX_FETCHED = 1 << 22  # rows in memory at once, over all queries: about 50 MB

Kept = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Similarities, falling, and rows of one query, each of shape (K,)."""


class KnownRows(Protocol):
    """What an exclusion asks about the N rows of a gallery; `GalleryTable` is one."""

    @property
    def lat(self) -> NDArray[np.float64]:
        """Latitude in degrees, shape (N,)."""
        ...

    @property
    def lng(self) -> NDArray[np.float64]:
        """Longitude in degrees, shape (N,)."""
        ...

    @property
    def owner(self) -> Any:
        """Owners, indexed like an array of N strings; None where unknown."""
        ...

    @property
    def sha256(self) -> Any:
        """Hashes of the photos' files, indexed like an array of N strings; None where unknown."""
        ...

    def __len__(self) -> int:
        """N."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Gallery rows that must not count for one query; a row is left out if any part applies to it."""

    row: int | None = None
    """Leave out this row of the gallery: the query itself, where it is one of them."""
    owner: str | None = None
    """Leave out the photos of this owner; rows without an owner stay."""
    sha256: str | None = None
    """Leave out the photo with this file hash, 64 hexadecimal digits."""
    min_duplicate_similarity: float | None = None
    """Leave out near-duplicates of the query: rows of at least this similarity, in [-1, 1]."""
    within_km: float | None = None
    """Leave out the rows up to this great-circle distance in km, >= 0, from (`lat`, `lng`)."""
    lat: float | None = None
    """Latitude in degrees of the point that `within_km` is about."""
    lng: float | None = None
    """Longitude in degrees of the point that `within_km` is about."""

    def __post_init__(self) -> None:
        limit = self.min_duplicate_similarity
        if limit is not None and not -1 <= limit <= 1:
            raise InputError(f"min_duplicate_similarity is {limit}; a similarity is from -1 to 1")
        parts = (self.within_km, self.lat, self.lng)
        if any(part is None for part in parts) != all(part is None for part in parts):
            raise InputError("within_km, lat and lng of an exclusion go together; give all three or none")
        if self.within_km is not None and self.lat is not None and self.lng is not None:
            if not 0 <= self.within_km < np.inf:
                raise InputError(f"within_km is {self.within_km}; give a distance of 0 km or more")
            check_lat_lng(self.lat, self.lng)

    def drops(
        self, table: KnownRows, rows: NDArray[np.int64], similarity: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Tell which of some gallery rows are left out.

        Args:
            table: The gallery's rows.
            rows: Positions in the table, shape (M,).
            similarity: Cosine similarity of each to the query, shape (M,).

        Returns:
            True where the row is left out, shape (M,).
        """
        dropped = np.zeros(len(rows), dtype=np.bool_) if self.row is None else rows == self.row
        if self.owner is not None:
            dropped |= table.owner[rows] == self.owner
        if self.sha256 is not None:
            dropped |= table.sha256[rows] == self.sha256
        if self.min_duplicate_similarity is not None:
            dropped |= similarity >= self.min_duplicate_similarity
        if self.within_km is not None and self.lat is not None and self.lng is not None:
            distance_km = haversine_km(table.lat[rows], table.lng[rows], self.lat, self.lng)
            dropped |= distance_km <= self.within_km
        return dropped


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbors:
    """The K nearest gallery photos of one query, best first."""

    row: NDArray[np.int64]
    """Position of each in the gallery, shape (K,)."""
    similarity: NDArray[np.float64]
    """Cosine similarity of each to the query, in [-1, 1], falling, shape (K,)."""
    lat: NDArray[np.float64]
    """Latitude of each in degrees, shape (K,)."""
    lng: NDArray[np.float64]
    """Longitude of each in degrees, shape (K,)."""
    id: list[str]
    """Name of each within the gallery, length K."""
    attribution: list[str | None]
    """Credit of each, length K."""
    license: list[str | None]
    """Licence of each, length K."""
    source_url: list[str | None]
    """Where each is found, length K."""

    def __len__(self) -> int:
        return len(self.row)

    def to_evidence(self) -> Evidence:
        """What they say about the place of the query: coordinates, ranks from 1, similarities."""
        return Evidence(
            neighbor_lat=self.lat,
            neighbor_lng=self.lng,
            neighbor_rank=np.arange(1.0, len(self) + 1),
            neighbor_similarity=self.similarity,
        )


def search_index(
    index: Index,
    table: GalleryTable,
    queries: NDArray[np.float32],
    k: int,
    exclude: Sequence[Exclusion | None],
) -> list[Neighbors]:
    """Find the k rows nearest to each query that its exclusion leaves, see `find_rows`.

    Args:
        index: Index over unit vectors, N rows.
        table: What is known about those N rows.
        queries: Unit vectors, shape (B, D), float32.
        k: Neighbors wanted, at least 1.
        exclude: What to leave out for each query, length B.

    Returns:
        One `Neighbors` a query, in order; fewer than k neighbors only where fewer rows remain.

    Raises:
        ArtifactError: The index holds what cannot be compared.
    """
    found = find_rows(index, table, queries, k, exclude)
    return [_neighbors(table, row, similarity) for similarity, row in found]


def find_rows(
    index: Index,
    table: KnownRows,
    queries: NDArray[np.float32],
    k: int,
    exclude: Sequence[Exclusion | None],
    max_fetched: int | None = None,
) -> list[Kept]:
    """Find the k rows nearest to each query that its exclusion leaves.

    Rows are dropped after the search, and more are fetched where too few remain, until enough do or the
    whole gallery has been seen. So the answer of an exact index is that of a gallery without the excluded
    rows, however many. An approximate index must leave nearly as many candidates to choose from as it was
    tuned to need.

    Args:
        index: Index over unit vectors, N rows.
        table: What is known about those N rows.
        queries: Unit vectors, shape (B, D), float32.
        k: Neighbors wanted, at least 1.
        exclude: What to leave out for each query, length B.
        max_fetched: Rows looked at for a query at most, at least k; all N when None.

    Returns:
        Similarities, float64, and rows of each query, in order, best first; fewer than k only where fewer
        rows remain, or no more may be looked at.

    Raises:
        ArtifactError: The index holds what cannot be compared.
    """
    num_rows = len(table)
    most = num_rows if max_fetched is None else min(num_rows, max(max_fetched, index.depth))
    answers: dict[int, Kept] = {}
    pending = list(range(len(queries)))
    margin = 0 if all(part is None for part in exclude) else _MARGIN
    num_needed = max(k, index.depth)
    num_fetched = min(most, num_needed + margin)
    while pending:
        too_few = []
        chunk = max(1, _MAX_FETCHED // num_fetched)
        for start in range(0, len(pending), chunk):
            positions = pending[start : start + chunk]
            found, certain = index.nearest(queries[positions], num_fetched)
            for position, (similarity, row) in zip(positions, found, strict=True):
                kept_similarity, kept = _keep(table, row, similarity, exclude[position])
                enough = certain or len(kept) >= _ENOUGH * min(len(row), num_needed)
                if num_fetched == most or (len(kept) >= k and enough):
                    answers[position] = kept_similarity[:k], kept[:k]
                else:
                    too_few.append(position)
        pending = too_few
        num_fetched = min(most, num_fetched * _GROWTH)
    return [answers[position] for position in range(len(queries))]


def _keep(
    table: KnownRows, row: NDArray[np.int64], similarity: NDArray[np.float32], exclusion: Exclusion | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Similarities and rows of one query that its exclusion leaves.

    Raises:
        ArtifactError: A similarity is none, for the vectors of the gallery are not finite.
    """
    if not np.isfinite(similarity).all():
        raise ArtifactError("the vectors of the gallery are not finite; fetch or build it again")
    exact = np.clip(similarity.astype(np.float64), -1.0, 1.0)
    if exclusion is not None:
        kept = ~exclusion.drops(table, row, exact)
        row, exact = row[kept], exact[kept]
    return exact, row


def _neighbors(table: GalleryTable, row: NDArray[np.int64], similarity: NDArray[np.float64]) -> Neighbors:
    return Neighbors(
        row=row,
        similarity=similarity,
        lat=table.lat[row],
        lng=table.lng[row],
        id=list(table.id[row]),
        attribution=list(table.attribution[row]),
        license=list(table.license[row]),
        source_url=list(table.source_url[row]),
    )
