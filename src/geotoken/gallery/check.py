"""How well the index of a gallery finds what an exact search finds.

Owns the sample and the measure; must not know how an index works.
"""

import time
from dataclasses import dataclass

import numpy as np

from geotoken.errors import InputError
from geotoken.gallery.index import Gallery
from geotoken.gallery.kinds import TUNED_NEIGHBORS, scan

_TOLERANCE = 1e-5  # of two photos that are equally near, either counts as found
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What a check found."""

    recall_at_15: float
    """Mean share of the 15 nearest photos that the index finds, in [0, 1]; fewer than 15 where the gallery is
    small."""
    num_queries: int
    """Photos of the gallery that served as queries; a query is not its own neighbor."""
    search_ms: float
    """Median time of a search by the index, in milliseconds."""


def measure_recall(gallery: Gallery, *, num_queries: int = 200) -> Recall:
    """Compare the index with an exact search, on photos of the gallery.

    Args:
        gallery: The gallery.
        num_queries: Photos drawn as queries, at least 1; all if there are fewer.

    Returns:
        Recall and time.

    Raises:
        InputError: `num_queries` is less than 1.
    """
    if num_queries < 1:
        raise InputError(f"num_queries is {num_queries}; give at least 1")
    random = np.random.default_rng(_SEED)
    own = np.sort(random.choice(gallery.size, min(num_queries, gallery.size), replace=False))
    picked, first = [], 0
    for vectors, table in gallery.pieces():
        start, stop = np.searchsorted(own, [first, first + len(table)])
        picked.append(vectors[own[start:stop] - first])
        first += len(table)
    queries = np.concatenate(picked)
    blocks = (vectors for vectors, _ in gallery.pieces())
    nearest = scan(blocks, queries, TUNED_NEIGHBORS + 1)
    shares, times = [], []
    for query, row, (similarity, rows) in zip(queries, own, nearest, strict=True):
        start_s = time.perf_counter()
        found = gallery.search(query[None], TUNED_NEIGHBORS + 1)[0]
        times.append(time.perf_counter() - start_s)
        true = similarity[rows != row][:TUNED_NEIGHBORS]
        if len(true):
            mine = found.similarity[found.row != row][: len(true)]
            shares.append(float(np.mean(mine >= true[-1] - _TOLERANCE)) * len(mine) / len(true))
    return Recall(
        recall_at_15=float(np.mean(shares)) if shares else 1.0,
        num_queries=len(queries),
        search_ms=1e3 * float(np.median(times)),
    )
