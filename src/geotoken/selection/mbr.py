"""Minimum-Bayes-risk selection: the point of the highest expected utility under the posterior.

Owns the proposals, the bounds and the exact expectation; must not know how the posterior was made.

For the answer a and the truth X, with the posterior as points x_i of probability p_i,

    U(a) = E[u(d(a, X))] = sum_i p_i u(d(a, x_i)),     answer = argmax_a U(a).

Utilities fall with distance. So a block of points with center c and radius rho is worth, to an answer at
distance d from c, between u(d + rho) and u(d - rho): most blocks are settled at once, most proposals are
beaten before they are evaluated, and only blocks that a threshold cuts are looked into point by point.

References:
    J. O. Berger, "Statistical Decision Theory and Bayesian Analysis" (1985), section 4.4;
    S. Kumar and W. Byrne, "Minimum Bayes-Risk Decoding for Statistical Machine Translation" (2004).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.decoding import Posterior
from geotoken.decoding.distribution import PosteriorPoints, cosine_to_km
from geotoken.geo import from_xyz, to_xyz
from geotoken.regions import Region
from geotoken.selection.utility import Utility

Floats = NDArray[np.float64]

PEAK_LEVELS: Final = (14, 12, 10, 8, 6, 5, 4, 3, 2)
"""Levels at which peaks of the posterior are proposed: cells of 0.5 km to 2000 km."""
PEAKS_PER_LEVEL: Final = 6

_BLOCK: Final = 32  # points a block
_BATCH: Final = 8  # answers evaluated together
_PEAK_SHARE: Final = 0.1  # a cell with less than this share of its level's likeliest is no peak
_SETTLED: Final = 0.05  # a block whose worth is known to this share of u(0) counts by its center


class ExpectedUtility:
    """Expected utility of answers under one posterior."""

    def __init__(self, posterior: Posterior, utility: Utility) -> None:
        self._utility = utility
        self._tolerance = _SETTLED * float(utility(np.zeros(1))[0])
        points = posterior.points
        padding = -len(points.probability) % _BLOCK
        # Points follow the Hilbert curve, so that a block is a small patch; padding weighs nothing.
        self._probability = np.pad(points.probability, (0, padding)).reshape(-1, _BLOCK)  # (N, 32)
        self._xyz = np.pad(points.xyz, ((0, padding), (0, 0)), mode="edge").reshape(-1, _BLOCK, 3)
        self._block_probability = self._probability.sum(axis=1)
        middle = np.einsum("nk,nkd->nd", self._probability, self._xyz)
        norm = np.linalg.norm(middle, axis=1, keepdims=True)
        self._center = np.where(norm > 0, middle / np.where(norm > 0, norm, 1), self._xyz[:, 0])  # (N, 3)
        self._radius_km = cosine_to_km(np.einsum("nkd,nd->nk", self._xyz, self._center)).max(axis=1)

    def upper_bound(self, xyz: Floats) -> Floats:
        """What the expected utility cannot exceed, cheaply.

        Args:
            xyz: Answers as unit vectors, shape (A, 3).

        Returns:
            Upper bounds, shape (A,).
        """
        distance = cosine_to_km(xyz @ self._center.T)
        bound: Floats = self._utility(np.maximum(distance - self._radius_km, 0.0)) @ self._block_probability
        return bound

    def __call__(self, xyz: Floats) -> Floats:
        """The expected utility.

        Args:
            xyz: Answers as unit vectors, shape (A, 3).

        Returns:
            Expected utilities, shape (A,): exact for steps of more than 5 % of u(0), as thresholds have;
            for a smooth utility, right to second order in the size of a block.
        """
        distance = cosine_to_km(xyz @ self._center.T)  # (A, N)
        near = self._utility(np.maximum(distance - self._radius_km, 0.0))
        cut = near - self._utility(distance + self._radius_km) > self._tolerance
        expected: Floats = np.where(cut, 0.0, self._utility(distance)) @ self._block_probability
        answer, block = np.nonzero(cut)
        inside = self._utility(cosine_to_km(np.einsum("ckd,cd->ck", self._xyz[block], xyz[answer])))
        worth = np.einsum("ck,ck->c", inside, self._probability[block])
        return expected + np.bincount(answer, weights=worth, minlength=len(xyz))


@dataclass(frozen=True, slots=True)
class Maximum:
    """The best answer found."""

    row: int
    """Its row among the proposals that were handed in, or -1 if it is a peak of the posterior."""
    lat: float
    """Latitude in degrees."""
    lng: float
    """Longitude in degrees."""
    expected_utility: float
    """Its expected utility."""


def peaks(points: PosteriorPoints) -> Floats:
    """Means of the likeliest cells at several levels, as proposals at the scale of every utility.

    Args:
        points: The posterior as M points.

    Returns:
        Unit vectors, shape (A, 3).
    """
    weights = np.vstack([points.probability, points.probability * points.xyz.T])
    sums = np.zeros((4, len(points.probability) + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    found = []
    for level in PEAK_LEVELS:
        # The leading bits of an id: its face and 2 bits a level. Coarser cells stand for themselves.
        path = points.cell_id >> np.uint64(61 - 2 * level)
        first = np.flatnonzero(np.concatenate([[True], path[1:] != path[:-1], [True]]))
        held = np.diff(sums[0, first])
        likely = np.flatnonzero(held > _PEAK_SHARE * held.max())
        top = likely[np.argsort(-held[likely], kind="stable")[:PEAKS_PER_LEVEL]]
        found.append((sums[1:, first[top + 1]] - sums[1:, first[top]]).T)
    means = np.concatenate(found)
    unit: Floats = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit


def maximize(
    posterior: Posterior, utility: Utility, lat: Floats, lng: Floats, region: Region | None = None
) -> Maximum:
    """Find the point of the highest expected utility.

    Args:
        posterior: The posterior of one photo.
        utility: What an answer is worth at a distance from the truth.
        lat: Latitudes in degrees of answers to consider beside the peaks of the posterior, shape (A,).
        lng: Longitudes in degrees, shape (A,).
        region: Where the answer must lie, as the posterior and the answers handed in do; anywhere if None.

    Returns:
        The best of all; of equally good ones the first, those handed in before peaks.
    """
    expected = ExpectedUtility(posterior, utility)
    proposed = peaks(posterior.points)
    if region is not None:
        outside = ~region.contains(*from_xyz(proposed))
        proposed[outside] = _nearest(posterior.points, proposed[outside])
    xyz = np.concatenate([to_xyz(lat, lng), proposed])
    upper = expected.upper_bound(xyz)
    utilities = np.full(len(xyz), -np.inf)
    order = np.argsort(-upper, kind="stable")
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        if upper[batch[0]] < utilities.max():
            break  # no answer that is left can be better
        utilities[batch] = expected(xyz[batch])
    best = int(np.argmax(utilities))
    if best < len(lat):
        return Maximum(best, float(lat[best]), float(lng[best]), float(utilities[best]))
    peak_lat, peak_lng = from_xyz(xyz[best])
    return Maximum(-1, float(peak_lat), float(peak_lng), float(utilities[best]))


def _nearest(points: PosteriorPoints, xyz: Floats) -> Floats:
    """The points of a posterior nearest to unit vectors, both of shape (A, 3)."""
    found: Floats = points.xyz[np.argmax(xyz @ points.xyz.T, axis=1)]
    return found
