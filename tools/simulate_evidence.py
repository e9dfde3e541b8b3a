"""Evidence about photos that never were: real cases moved to other places of the world.

Owns how a case is taken apart and put together elsewhere; must not know models. Dimension letters: N real
cases, S simulated ones, E places of a case (neighbors, then one guess), G points where photos are taken.

What a case says lies in how its places stand to the truth and to each other: which ranks agree, how far off
the wrong ones are. So a simulated case takes a real one and a new truth, where photos are about as frequent.
Places near the truth move with it, turned by a random angle; those far off move in groups, each to a point
where photos are taken, about as far from the new truth as the group was from the old one.

References:
    Efron (1979), Bootstrap methods: another look at the jackknife: resampling cases, here with their places
    drawn anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from geotoken.evidence import Evidence
from geotoken.geo import EARTH_RADIUS_KM, to_xyz
from geotoken.kernels import chord2_holding

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEAR_KM: Final = 300.0
"""Places within this distance of the truth move with it."""
GROUP_KM: Final = 100.0
"""Places of steps up to this length move together."""
AROUND_KM: Final = 25.0
"""Photos within this distance say how frequent they are at a place."""
FREQUENCY_WINDOW: Final = 0.1
"""New truths are drawn from this share of the points, those of a frequency like that of the old one."""
DISTANCE_SPREAD: Final = 0.2
"""Standard deviation of the logarithm of distances from the truth to groups."""
MAX_KM: Final = 18_000.0
"""Imagined groups are this far from the truth at most."""
NUM_GROUPS: Final = 10
"""Imagined groups of a case; many stay empty."""
NUM_TRIES: Final = 48
"""Points tried for a group; the one of the best distance is taken."""


@dataclass(frozen=True, slots=True)
class Cases:
    """Cases with their truth as unit vectors."""

    truth: Floats
    """True places, shape (N, 3)."""
    xyz: Floats
    """Places that the evidence names, shape (N, E, 3); the last is the guess."""
    present: NDArray[np.bool_]
    """Whether there is such a place, shape (N, E)."""
    similarity: Floats
    """Similarity of each neighbor, shape (N, E); NaN where not known."""

    def rows(self, index: Ints) -> "Cases":
        """Some of the cases, by position."""
        return Cases(*(getattr(self, name)[index] for name in self.__slots__))

    @classmethod
    def load(cls, path: Path) -> "Cases":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{name: file[name] for name in cls.__slots__})

    def save(self, path: Path) -> None:
        """Write the cases to an .npz file."""
        np.savez_compressed(path, **{name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def join(cls, parts: Sequence["Cases"]) -> "Cases":
        """All cases of several parts, in order."""
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in cls.__slots__))


def pack(evidence: list[Evidence], truth: Floats, num_neighbors: int) -> Cases:
    """Lay out real cases as arrays.

    Args:
        evidence: Evidence of N cases, of one guess at most; ranks 1, 2, ....
        truth: Unit vectors, shape (N, 3).
        num_neighbors: Neighbors kept, E - 1.

    Returns:
        The cases.
    """
    xyz = np.zeros((len(evidence), num_neighbors + 1, 3))
    xyz[..., 0] = 1.0
    present = np.zeros(xyz.shape[:2], dtype=bool)
    similarity = np.full(present.shape, np.nan)
    for n, one in enumerate(evidence):
        count = min(len(one.neighbor_lat), num_neighbors)
        xyz[n, :count] = to_xyz(one.neighbor_lat[:count], one.neighbor_lng[:count])
        present[n, :count] = True
        if one.neighbor_similarity is not None:
            similarity[n, :count] = one.neighbor_similarity[:count]
        if len(one.guess_lat):
            xyz[n, -1], present[n, -1] = to_xyz(one.guess_lat[0], one.guess_lng[0]), True
    return Cases(truth, xyz, present, similarity)


def scatter(points: Floats, shares: Mapping[float, float], rng: np.random.Generator) -> Floats:
    """Move points as a density estimate spreads them.

    Args:
        points: Unit vectors, shape (G, 3).
        shares: Share of the points moved by the kernel of each scale in km.
        rng: Randomness.

    Returns:
        Unit vectors, shape (G, 3).
    """
    scale_km = rng.choice(list(shares), size=len(points), p=np.array(list(shares.values())))
    chord = np.sqrt(chord2_holding(rng.uniform(size=len(points)), scale_km)) / EARTH_RADIUS_KM
    return _away(points, 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1)), rng)


def simulate(cases: Cases, points: Floats, size: int, rng: np.random.Generator) -> Cases:
    """Draw cases.

    Args:
        cases: Real ones, N of them; their similarities are not kept.
        points: Where photos are taken, unit vectors, shape (G, 3).
        size: Cases drawn S.
        rng: Randomness.

    Returns:
        The cases, each made of a real one drawn at random.
    """
    group = np.stack([_groups(*one) for one in zip(cases.truth, cases.xyz, cases.present, strict=True)])
    center = _centers(cases, group)
    row = rng.integers(len(cases.truth), size=size)
    truth = _new_truths(cases.truth, points, row, rng)
    moved = np.repeat(truth[:, None], group.shape[1], axis=1)
    for number in range(1, int(group.max()) + 1):
        with_group = np.flatnonzero((group[row] == number).any(axis=1))
        if len(with_group):
            old = center[row[with_group], number]
            moved_center = _at_distance(
                truth[with_group], points, (cases.truth[row[with_group]] * old).sum(axis=1), rng
            )
            mine = group[row[with_group]] == number
            moved[with_group] = np.where(mine[..., None], moved_center[:, None], moved[with_group])
    old_center = np.take_along_axis(center[row], group[row][..., None], axis=1)  # (S, E, 3)
    angle = rng.uniform(0, 2 * np.pi, (size, int(group.max()) + 1))
    turn = np.take_along_axis(angle, group[row], axis=1)
    xyz = _carry(cases.xyz[row], old_center, moved, turn)
    return Cases(truth, xyz, cases.present[row], np.full(turn.shape, np.nan))


def imagine(points: Floats, num_neighbors: int, size: int, rng: np.random.Generator) -> Cases:
    """Draw cases from a noise model that was fitted on nothing: for a first training, before `simulate`.

    Some neighbors lie around the truth, at distances of an order that differs from case to case; the others
    lie in groups elsewhere. A guess, mostly there, is near the truth, in one of the groups, or alone.

    Args:
        points: Where photos are taken, unit vectors, shape (G, 3).
        num_neighbors: Neighbors of each case, E - 1.
        size: Cases drawn S.
        rng: Randomness.

    Returns:
        The cases.
    """
    num_places = num_neighbors + 1
    truth = points[rng.integers(len(points), size=size)]
    right = rng.uniform(size=(size, num_places)) < rng.beta(0.5, 0.9, size=(size, 1))
    group = 1 + _seats(size, num_places, rng)
    group[right] = 0
    far_km = np.exp(rng.uniform(np.log(NEAR_KM), np.log(MAX_KM), size=(size, NUM_GROUPS)))
    center = np.empty((size, 1 + NUM_GROUPS, 3))
    center[:, 0] = truth
    for number in range(NUM_GROUPS):
        center[:, 1 + number] = _at_distance(truth, points, np.cos(far_km[:, number] / EARTH_RADIUS_KM), rng)
    order = rng.uniform(np.log(0.02), np.log(500.0), size=(size, 1 + NUM_GROUPS))
    spread_km = np.exp(np.take_along_axis(order, group, axis=1) + rng.standard_normal(group.shape))
    xyz = _away(np.take_along_axis(center, group[..., None], axis=1), spread_km, rng)
    present = np.ones(group.shape, dtype=bool)
    present[:, -1] = rng.uniform(size=size) > 0.1
    return Cases(truth, xyz, present, np.full(present.shape, np.nan))


def _seats(size: int, num_places: int, rng: np.random.Generator) -> Ints:
    """Groups 0..NUM_GROUPS - 1 of all places, of very different sizes, shape (S, E)."""
    share = rng.gamma(0.4, size=(size, NUM_GROUPS)) + 1e-9
    edges = np.cumsum(share / share.sum(axis=1, keepdims=True), axis=1)
    seat = (rng.uniform(size=(size, num_places, 1)) > edges[:, None, :-1]).sum(axis=2)
    return np.asarray(seat)


def _away(center: Floats, distance_km: Floats, rng: np.random.Generator) -> Floats:
    """Places at distances from centers, in any direction, shape (..., 3)."""
    angle = np.minimum(distance_km / EARTH_RADIUS_KM, np.pi)
    turn = rng.uniform(0, 2 * np.pi, angle.shape)
    here = np.stack([np.cos(angle), np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn)], axis=-1)
    return np.asarray(np.einsum("...ij,...j->...i", _frame(center), here))


def _groups(truth: Floats, xyz: Floats, present: NDArray[np.bool_]) -> Ints:
    """Number of the group of each place: 0 moves with the truth; shape (E,)."""
    near = _distance_km(xyz @ truth) <= NEAR_KM
    apart = _distance_km(np.clip(xyz @ xyz.T, -1, 1))
    _, label = connected_components(apart <= GROUP_KM, directed=False)
    with_truth = np.isin(label, label[near & present])
    group = np.zeros(len(xyz), dtype=np.int64)
    far = ~with_truth & present
    group[far] = 1 + np.unique(label[far], return_inverse=True)[1]
    return group


def _centers(cases: Cases, group: Ints) -> Floats:
    """Middle of each group, shape (N, number of groups, 3); the truth itself for group 0."""
    center = np.repeat(cases.truth[:, None], int(group.max()) + 1, axis=1)
    for number in range(1, center.shape[1]):
        mine = (group == number) & cases.present
        total = (cases.xyz * mine[..., None]).sum(axis=1)
        there = mine.any(axis=1)
        center[there, number] = total[there] / np.linalg.norm(total[there], axis=1, keepdims=True)
    return center


def _new_truths(old: Floats, points: Floats, row: Ints, rng: np.random.Generator) -> Floats:
    """A point for each simulated case where photos are as frequent as at the old truth, shape (S, 3)."""
    tree = cKDTree(points)
    chord = 2 * np.sin(AROUND_KM / EARTH_RADIUS_KM / 2)
    count = tree.query_ball_point(points, chord, return_length=True).astype(np.float64)
    mine = tree.query_ball_point(old, chord, return_length=True) + 1.0
    count += rng.uniform(0, 1e-3, len(count))  # any order among equals
    order = np.argsort(count)
    standing = np.searchsorted(count[order], mine) / len(points)
    low = np.clip(standing - FREQUENCY_WINDOW / 2, 0, 1 - FREQUENCY_WINDOW)
    drawn = ((low[row] + FREQUENCY_WINDOW * rng.uniform(size=len(row))) * len(points)).astype(np.int64)
    return points[order[drawn]]


def _at_distance(truth: Floats, points: Floats, cosine: Floats, rng: np.random.Generator) -> Floats:
    """Points about as far from the truths as said by the cosine of the angle, shape (S, 3)."""
    wanted = np.log(_distance_km(cosine)) + DISTANCE_SPREAD * rng.standard_normal(len(truth))
    tried = points[rng.integers(len(points), size=(len(truth), NUM_TRIES))]
    found = np.log(_distance_km(np.einsum("sc,stc->st", truth, tried)) + 1e-3)
    return tried[np.arange(len(truth)), np.abs(found - wanted[:, None]).argmin(axis=1)]


def _carry(xyz: Floats, old: Floats, new: Floats, angle: Floats) -> Floats:
    """Move places from around one center to around another, turned by an angle, shape (S, E, 3)."""
    here = np.einsum("...ij,...i->...j", _frame(old), xyz)
    turned = here.copy()
    turned[..., 1] = np.cos(angle) * here[..., 1] - np.sin(angle) * here[..., 2]
    turned[..., 2] = np.sin(angle) * here[..., 1] + np.cos(angle) * here[..., 2]
    return np.einsum("...ij,...j->...i", _frame(new), turned)


def _frame(center: Floats) -> Floats:
    """Orthonormal axes at places: up, east, north as columns, shape (..., 3, 3)."""
    pole = np.where(np.abs(center[..., 2:]) < 0.999, np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]))
    east = np.cross(pole, center)
    east /= np.linalg.norm(east, axis=-1, keepdims=True)
    return np.stack([center, east, np.cross(center, east)], axis=-1)


def _distance_km(cosine: Floats) -> Floats:
    return EARTH_RADIUS_KM * np.arccos(np.clip(cosine, -1, 1))
