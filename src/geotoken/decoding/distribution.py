"""The posterior of one photo: a partition of the Earth into cells, each with its probability.

Owns `Posterior` and every question it answers; must not know the model or the decoder that made it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geotoken import cells
from geotoken.errors import InputError
from geotoken.geo import EARTH_RADIUS_KM, to_xyz
from geotoken.tokens import TokenScheme

CellIds = NDArray[np.uint64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_POINT_PROBABILITY: Final = 1e-3
"""A cell with more than this is spread over points inside it before distances are measured."""

_SPREAD_LEVELS: Final = 2


class CellProbability(NamedTuple):
    """A cell and the probability that the photo was taken in it."""

    level: int
    """Level of the cell, 0..30."""
    cell_id: np.uint64
    """S2 cell id."""
    probability: float
    """Probability of the cell, in [0, 1]."""


class CredibleRegion(NamedTuple):
    """Cells by falling density that together hold a given probability."""

    cell_id: CellIds
    """S2 cell ids, shape (M,)."""
    level: Ints
    """Level of each cell, shape (M,)."""
    probability: Floats
    """Whole probability of each cell, shape (M,)."""
    last_fraction: float
    """Share of the last cell that makes the probability exact, in (0, 1]."""


class PosteriorPoints(NamedTuple):
    """A posterior as M points, each with the probability of a small cell around it."""

    cell_id: CellIds
    """The cell around each point, rising, shape (M,)."""
    xyz: Floats
    """Center of each cell as a unit vector, shape (M, 3)."""
    probability: Floats
    """Probability of each cell, > 0, shape (M,)."""


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """Where a photo was taken: P cells that cover the Earth once, in the order of the Hilbert curve.

    A cell is a leaf of the token tree, or coarser where its probability was too small to divide it. Inside
    a cell the probability is taken as uniform: shared equally by the four children of each level.
    """

    scheme: TokenScheme
    """The token scheme whose tree was expanded."""
    cell_id: CellIds
    """S2 cell ids, rising, shape (P,)."""
    level: Ints
    """Level of each cell, shape (P,)."""
    probability: Floats
    """Probability of each cell, shape (P,); they sum to 1."""

    def cells(self, level: int) -> tuple[CellIds, Floats]:
        """The marginal distribution at one level, likeliest cell first.

        A part of the partition that is coarser than `level` is not listed: the probabilities returned sum
        to 1 minus what lies in such cells, each of which had too little to be divided.

        Args:
            level: Level of the cells, 0..scheme.level.

        Returns:
            Cell ids, shape (M,), uint64, and their probabilities, shape (M,), falling.

        Raises:
            InputError: The level is out of range.
        """
        cut = self.cut(level)
        listed = np.flatnonzero(cut.level == level)
        order = listed[np.argsort(-cut.probability[listed], kind="stable")]
        return cut.cell_id[order], cut.probability[order]

    def cut(self, level: int) -> "Posterior":
        """The same distribution seen no finer than a level: finer cells are merged into their ancestors.

        Args:
            level: Finest level to keep, 0..scheme.level.

        Returns:
            A posterior of fewer cells.

        Raises:
            InputError: The level is out of range.
        """
        self._check_level(level)
        finer = self.level > level
        if not finer.any():
            return self
        cell_id = self.cell_id.copy()
        cell_id[finer] = cells.parent(cell_id[finer], level)
        first = np.flatnonzero(np.concatenate([[True], cell_id[1:] != cell_id[:-1]]))
        return Posterior(
            scheme=self.scheme,
            cell_id=cell_id[first],
            level=np.minimum(self.level[first], level),
            probability=np.add.reduceat(self.probability, first),
        )

    def probability_of(self, cell_ids: ArrayLike) -> Floats:
        """The probability that the photo was taken in given cells, of any levels.

        Args:
            cell_ids: S2 cell ids, shape (N,), uint64.

        Returns:
            Probabilities, shape (N,). A cell finer than the partition gets an equal share of its ancestor.
        """
        ids = np.atleast_1d(np.asarray(cell_ids, dtype=np.uint64))
        first = np.searchsorted(self._last_leaf, cells.range_min(ids))
        last = np.searchsorted(self._last_leaf, cells.range_max(ids))
        # Sums of slices, not differences of running sums, which would drown small probabilities.
        bounds = np.stack([first, last + 1], axis=1).reshape(-1)
        sums: Floats = np.add.reduceat(np.append(self.probability, 0.0), bounds)[::2]
        share: Floats = 0.25 ** np.maximum(cells.level(ids) - self.level[first], 0)
        return sums * share

    def resolution_at(self, cell_ids: ArrayLike) -> Ints:
        """Level of the part of the partition at the start of each cell.

        Args:
            cell_ids: S2 cell ids, shape (N,), uint64.

        Returns:
            Levels, shape (N,); finer than the cell's own if and only if the cell was divided.
        """
        ids = np.atleast_1d(np.asarray(cell_ids, dtype=np.uint64))
        found: Ints = self.level[np.searchsorted(self._last_leaf, cells.range_min(ids))]
        return found

    def ancestors(self, lat: float, lng: float) -> list[CellProbability]:
        """The cells around a point at each token, from the face down to the leaf, with their probabilities.

        Args:
            lat: Latitude in degrees.
            lng: Longitude in degrees.

        Returns:
            One entry a token, coarsest first; below the resolution of the posterior a cell gets an equal
            share of the last one known.
        """
        levels = [self.scheme.level_at(num_tokens) for num_tokens in range(1, self.scheme.length + 1)]
        leaf = cells.from_lat_lng(lat, lng)
        ids = np.array([cells.parent(leaf, level) for level in levels], dtype=np.uint64)
        return [
            CellProbability(level, cell_id, float(probability))
            for level, cell_id, probability in zip(levels, ids, self.probability_of(ids), strict=True)
        ]

    def stop_at(self, probability: float) -> CellProbability | None:
        """The deepest cell that is still sure enough, found by descent into the likeliest child.

        Args:
            probability: Least probability of the answer, in (0, 1]. Above 0.5 the cell is the deepest of
                all that are sure enough; below, a deeper one may hide in a child that was not the likeliest.

        Returns:
            The cell, of any level 0..scheme.level, or None if no face of the cube is sure enough.

        Raises:
            InputError: The probability is out of range.
        """
        _check_probability("probability", probability)
        answer = None
        children = self.scheme.to_cells(np.arange(cells.NUM_FACES)[:, None])
        for level in range(self.scheme.level + 1):
            sure = self.probability_of(children)
            best = int(np.argmax(sure))
            if sure[best] < probability:
                break
            answer = CellProbability(level, children[best], float(sure[best]))
            children = cells.children(children[best])
        return answer

    def credible_region(self, probability: float, level: int | None = None) -> CredibleRegion:
        """The smallest region that holds a given probability.

        Args:
            probability: What the region holds, in (0, 1].
            level: Finest level of its cells, 0..scheme.level; None for that of the partition.

        Returns:
            Cells by falling density (probability over area). Where the partition is coarser than `level`,
            a cell of it stands for its equally dense descendants.

        Raises:
            InputError: The probability or the level is out of range.
        """
        _check_probability("probability", probability)
        cut = self if level is None else self.cut(level)
        order = np.argsort(-cut._density_per_km2, kind="stable")
        held = np.cumsum(cut.probability[order])
        size = min(int(np.searchsorted(held, probability * held[-1])) + 1, len(order))
        region = order[:size]
        inside = cut.probability[region]
        fraction = (probability - inside[:-1].sum()) / inside[-1]
        return CredibleRegion(cut.cell_id[region], cut.level[region], inside, float(np.clip(fraction, 0, 1)))

    def credible_level_of(self, lat: float, lng: float, level: int = 12) -> tuple[float, float]:
        """The credible mass at which the cell of a point enters the credible region.

        The region of probability p contains the share clip((p - low) / (high - low), 0, 1) of the cell:
        averaged over photos whose true points are given, that is the coverage of the regions.

        Args:
            lat: Latitude in degrees.
            lng: Longitude in degrees.
            level: Finest level of the region's cells, 0..scheme.level.

        Returns:
            low, the probability of all denser cells, and high, which adds the point's own cell and those
            of the very same density; equal only if the point's cell is impossible.

        Raises:
            InputError: The level or the point is out of range.
        """
        cut = self.cut(level)
        density = cut._density_per_km2
        own = density[cut._row_of(lat, lng)]
        low = float(cut.probability[density > own].sum())
        return low, low + float(cut.probability[density == own].sum())

    def density_per_km2(self, lat: float, lng: float) -> float:
        """The probability density at a point.

        Args:
            lat: Latitude in degrees.
            lng: Longitude in degrees.

        Returns:
            Probability per km2, that of the point's cell over its area.
        """
        row = self._row_of(lat, lng)
        return float(self.probability[row] / cells.area_km2(self.cell_id[row]))

    def probability_within_km(self, lat: float, lng: float, radius_km: float) -> float:
        """The probability that the photo was taken within a distance of a point.

        Args:
            lat: Latitude in degrees.
            lng: Longitude in degrees.
            radius_km: Great-circle distance in km, >= 0; a place at exactly this distance counts.

        Returns:
            Probability in [0, 1], resolved to `MAX_POINT_PROBABILITY`.
        """
        near = chord_to_km(self._chords_from(lat, lng)) <= radius_km
        return min(float(self.points.probability[near].sum()), 1.0)

    def radius_km(self, lat: float, lng: float, fraction: float) -> float:
        """The smallest radius around a point that holds a given share of the posterior.

        Args:
            lat: Latitude in degrees.
            lng: Longitude in degrees.
            fraction: Share of the posterior, in (0, 1].

        Returns:
            Great-circle distance in km, resolved to `MAX_POINT_PROBABILITY` of the posterior.

        Raises:
            InputError: The fraction is out of range.
        """
        _check_probability("fraction", fraction)
        chord, probability = self._chords_from(lat, lng), self.points.probability
        # Rings of equal width find the ring where the fraction is reached; only its points are sorted.
        ring = (chord * 2048).astype(np.int64)
        held = np.concatenate([[0.0], np.cumsum(np.bincount(ring, weights=probability))])
        last = min(int(np.searchsorted(held, fraction)), int(ring.max()) + 1) - 1
        inside = np.flatnonzero(ring == last)
        inside = inside[np.argsort(chord[inside])]
        reached = np.searchsorted(held[last] + np.cumsum(probability[inside]), fraction)
        return float(chord_to_km(chord[inside[min(int(reached), len(inside) - 1)]]))

    @cached_property
    def points(self) -> PosteriorPoints:
        """The posterior as points, for anything that measures distances.

        The centers of the possible cells; a cell of more than `MAX_POINT_PROBABILITY` is spread evenly over
        the centers of as many descendants as it takes.
        """
        possible = self.probability > 0
        ids, probability = self.cell_id[possible], self.probability[possible]
        while True:
            heavy = (probability > MAX_POINT_PROBABILITY) & (
                cells.level(ids) + _SPREAD_LEVELS <= cells.MAX_LEVEL
            )
            if not heavy.any():
                return PosteriorPoints(ids, cells.center_xyz(ids), probability)
            spread = cells.children(ids[heavy], _SPREAD_LEVELS)  # (N, 16)
            share = np.repeat(probability[heavy] / spread.shape[1], spread.shape[1])
            ids = np.concatenate([ids[~heavy], spread.reshape(-1)])
            probability = np.concatenate([probability[~heavy], share])
            order = np.argsort(ids, kind="stable")
            ids, probability = ids[order], probability[order]

    @cached_property
    def _last_leaf(self) -> CellIds:
        return cells.range_max(self.cell_id)

    @cached_property
    def _density_per_km2(self) -> Floats:
        return self.probability / cells.area_km2(self.cell_id)

    def _row_of(self, lat: float, lng: float) -> int:
        return int(np.searchsorted(self._last_leaf, cells.from_lat_lng(lat, lng)))

    def _chords_from(self, lat: float, lng: float) -> Floats:
        """Straight lines from a point to `points`, shape (M,), right to about 0.1 m."""
        cosine = np.einsum("nd,d->n", self.points.xyz, to_xyz(lat, lng))  # BLAS would start threads
        chords: Floats = np.sqrt(np.maximum(2 - 2 * cosine, 0.0))
        return chords

    def _check_level(self, level: int) -> None:
        if not 0 <= level <= self.scheme.level:
            raise InputError(
                f"level is {level}; give a level from 0 to {self.scheme.level}, that of the leaves"
            )


def cosine_to_km(cosine: ArrayLike) -> Floats:
    """Length along the sphere between unit vectors of a given product.

    Args:
        cosine: Products of two unit vectors, any shape.

    Returns:
        Great-circle distances in km, same shape.
    """
    return chord_to_km(np.sqrt(np.maximum(2 - 2 * np.asarray(cosine), 0.0)))


def chord_to_km(chord: ArrayLike) -> Floats:
    """Great-circle distance of points whose unit vectors are a straight line apart.

    Args:
        chord: Length of the line, shape (...), in [0, 2].

    Returns:
        Distance in km, shape (...).
    """
    distance_km: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(np.asarray(chord) / 2, 1.0))
    return distance_km


def _check_probability(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise InputError(f"{name} is {value}; give a number greater than 0 and at most 1, such as 0.5")
