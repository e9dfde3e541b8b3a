"""Means and medians over photos, and intervals by a bootstrap that draws photographers, not photos.

Owns the bootstrap; must not know which metrics there are.

Photos of one photographer are alike, so 3,000 photos by 200 people say less than 3,000 by as many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NUM_RESAMPLES: Final = 1000
"""Resamples drawn unless asked otherwise."""
_TAIL_PERCENT: Final = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Values of N photos by metric; NaN where a photo has none and does not count."""

    means: Mapping[str, Floats] = field(default_factory=dict)
    """Metrics that are means of values of photos, shape (N,) each."""
    medians: Mapping[str, Floats] = field(default_factory=dict)
    """Metrics that are medians, shape (N,) each."""


def clusters(owners: Sequence[str]) -> Ints:
    """The photographer of each photo as a number; a photo of an unknown one is by a person of its own.

    Args:
        owners: Names, length N; empty where unknown.

    Returns:
        Numbers from 0 without gaps, shape (N,).
    """
    keys = [f"owner {owner}" if owner else f"photo {i}" for i, owner in enumerate(owners)]
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def estimate(measured: Measured) -> dict[str, float]:
    """The metrics of all photos, each counted once.

    Args:
        measured: Their values.

    Returns:
        Value by metric; NaN for one that no photo has a value of.
    """
    known = {
        name: values[~np.isnan(values)] for name, values in {**measured.means, **measured.medians}.items()
    }
    of = {name: np.mean if name in measured.means else np.median for name in known}
    return {name: float(of[name](values)) if len(values) else np.nan for name, values in known.items()}


def resample(
    measured: Measured, cluster: Ints, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> dict[str, Floats]:
    """The metrics of many sets of photographers, drawn with replacement from all of them.

    Args:
        measured: Values of the photos.
        cluster: Photographer of each photo, as of `clusters`, shape (N,).
        num_resamples: Sets drawn, at least 2.
        seed: Of the draws: equal seeds and photographers draw equal sets, whatever is measured.

    Returns:
        Values by metric, shape (num_resamples,).

    Raises:
        InputError: If there are fewer than 2 resamples.

    References:
        Field and Welsh, "Bootstrapping clustered data" (2007), section 2: the randomised cluster bootstrap.
    """
    if num_resamples < 2:
        raise InputError(f"num_resamples (--resamples) is {num_resamples}; give a whole number of at least 2")
    rng = np.random.default_rng(seed)
    num_clusters = int(cluster.max()) + 1
    totals, numbers = _by_cluster(measured.means, cluster, num_clusters)
    ranked = {name: _ranked(values, cluster) for name, values in measured.medians.items()}
    means = np.full((num_resamples, len(measured.means)), np.nan)
    medians = {name: np.empty(num_resamples) for name in ranked}
    for k in range(num_resamples):
        times = np.bincount(rng.integers(num_clusters, size=num_clusters), minlength=num_clusters)
        number = times @ numbers
        np.divide(times @ totals, number, out=means[k], where=number > 0)
        for name, (rising, owner) in ranked.items():
            medians[name][k] = _median(rising, times[owner])
    return {**dict(zip(measured.means, means.T, strict=True)), **medians}


def interval(values: Floats) -> list[float] | None:
    """The middle 95 % of resampled values.

    Args:
        values: One a resample, shape (num_resamples,); NaN where a resample had no photo that counts.

    Returns:
        Lower and upper end; None if no resample had one.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, [_TAIL_PERCENT, 100 - _TAIL_PERCENT])
    return [float(low), float(high)]


def _by_cluster(columns: Mapping[str, Floats], cluster: Ints, num_clusters: int) -> tuple[Floats, Floats]:
    """Sum and number of the known values of each photographer, shape (num_clusters, metrics) each."""
    shape = (num_clusters, len(columns))
    totals, numbers = np.zeros(shape), np.zeros(shape)
    for i, values in enumerate(columns.values()):
        known = ~np.isnan(values)
        totals[:, i] = np.bincount(cluster[known], weights=values[known], minlength=num_clusters)
        numbers[:, i] = np.bincount(cluster[known], minlength=num_clusters)
    return totals, numbers


def _ranked(values: Floats, cluster: Ints) -> tuple[Floats, Ints]:
    """The known values, rising, and the photographer of each, shape (K,)."""
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    return values[order], cluster[order]


def _median(rising: Floats, times: Ints) -> float:
    """Median of values that are there a number of times each, shape (N,)."""
    held = np.cumsum(times)
    if not len(held) or held[-1] == 0:
        return float("nan")
    middle = np.searchsorted(held, [(held[-1] - 1) // 2, held[-1] // 2], side="right")
    return float(rising[middle].mean())
