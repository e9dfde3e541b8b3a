"""A world prior from points by kernel density: a partition of S2 cells, fine where the density varies.

Owns the estimate; must not know where the points come from or what the prior is used for.

Each point is a mixture of radial kernels (geotoken.kernels), drawn as particles at equal steps of
mass in random directions. An adaptive tree over the particles gives the cells, further particles their
masses; then siblings are merged while their common density costs next to no likelihood.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.geo import EARTH_RADIUS_KM
from geotoken.kernels import chord2_holding
from geotoken.prior import WorldPrior

Floats = NDArray[np.float64]

FIRST_PARTICLES, PARTICLES_A_PASS, NUM_PASSES = 128, 64, 6
"""Particles a point that make the tree, and those that make the masses."""
MIN_PARTICLES = 16
"""Particles of the first kind that a cell must hold to be split."""
MAX_LEVEL, MIN_LEVEL = 15, 5
"""Levels of the finest cells, and of the finest that are never merged."""
EMPTY_PARTICLES = 0.02
"""Particles that every cell has beside its own."""
UNIFORM = 0.02
"""Share of the mass spread over the whole sphere by area."""


def density_prior(points: Floats, shares: Mapping[float, float], max_loss: float) -> WorldPrior:
    """Estimate the prior.

    Args:
        points: Unit vectors, shape (N, 3).
        shares: Share of each kernel, by its scale in km; they are normalised.
        max_loss: Nats of mean log-likelihood that one merging may cost.

    Returns:
        The prior.
    """
    leaves = particles(points, shares, FIRST_PARTICLES, seed=0)
    tree = WorldPrior.from_leaves(
        leaves, min_count=MIN_PARTICLES, max_level=MAX_LEVEL, smoothing=1.0, uniform=UNIFORM
    )
    count = np.full(len(tree.cell_ids), EMPTY_PARTICLES)
    for seed in range(1, NUM_PASSES + 1):
        leaves = np.sort(particles(points, shares, PARTICLES_A_PASS, seed))
        count += np.diff(np.searchsorted(leaves, tree.range_min), append=len(leaves))
    area = cells.approx_area_km2(tree.cell_ids)
    mass = (1 - UNIFORM) * count / count.sum() + UNIFORM * area / area.sum()
    return merge(WorldPrior(cell_ids=tree.cell_ids, mass=mass / mass.sum()), max_loss)


def particles(points: Floats, shares: Mapping[float, float], number: int, seed: int) -> cells.CellIds:
    """Leaf cells of particles around points.

    Args:
        points: Unit vectors, shape (N, 3).
        shares: Share of each kernel, by its scale in km.
        number: Particles of each point, one in each of so many equal steps of mass.
        seed: Of the draws.

    Returns:
        Leaf cells, shape (N * number,), uint64.
    """
    rng = np.random.default_rng(seed)
    scales, share = np.array(list(shares)), np.array(list(shares.values()))
    share = share / share.sum()
    before = np.concatenate([[0.0], np.cumsum(share)])
    east = np.cross(np.eye(3)[np.argmin(np.abs(points), axis=1)], points)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(points, east)
    leaves = []
    for step in range(number):
        quantile = (step + rng.random(len(points))) / number
        kernel = np.clip(np.searchsorted(before, quantile, side="right") - 1, 0, len(share) - 1)
        held = np.clip((quantile - before[kernel]) / share[kernel], 0.0, 1 - 1e-9)
        unit2 = chord2_holding(held, scales[kernel]) / EARTH_RADIUS_KM**2
        across, angle = np.sqrt(np.maximum(unit2 * (1 - unit2 / 4), 0.0)), rng.random(len(points)) * 2 * np.pi
        moved = points * (1 - unit2 / 2)[:, None]
        moved += east * (across * np.cos(angle))[:, None] + north * (across * np.sin(angle))[:, None]
        leaves.append(cells.from_xyz(moved))
    return np.concatenate(leaves)


def merge(prior: WorldPrior, max_loss: float) -> WorldPrior:
    """Replace four sibling cells by their parent, the finest first, where their densities hardly differ.

    Args:
        prior: A prior.
        max_loss: Nats of mean log-likelihood, under the prior itself, that one merging may cost.

    Returns:
        The coarser prior.
    """
    ids, mass = prior.cell_ids, prior.mass
    for level in range(int(prior.level.max()), MIN_LEVEL, -1):
        at = cells.level(ids) == level
        area = cells.approx_area_km2(ids[at])
        parents, first, count = np.unique(
            cells.parent(ids[at], level - 1), return_index=True, return_counts=True
        )
        whole, whole_area = np.add.reduceat(mass[at], first), np.add.reduceat(area, first)
        loss = np.add.reduceat(mass[at] * np.log(mass[at] / area), first) - whole * np.log(whole / whole_area)
        merged = (count == 4) & (loss < max_loss)
        kept = ~np.repeat(merged, count)
        ids = np.concatenate([ids[~at], ids[at][kept], parents[merged]])
        mass = np.concatenate([mass[~at], mass[at][kept], whole[merged]])
        order = np.argsort(ids)
        ids, mass = ids[order], mass[order]
    return WorldPrior(cell_ids=ids, mass=mass)
