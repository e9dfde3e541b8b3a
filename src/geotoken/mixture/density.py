"""The mixture of one photo as a measure: the mass of any set of sibling cells, and the density at any point.

Owns the quadrature; must not know tokens or how weights come about.

Three ways to the mass of a cell, each where it is exact enough: kernels multiplied with the prior live on the
prior's own cells, so their mass is a running sum; a sharp kernel wider than the cell is its density times the
cell's area; a sharp kernel narrower than the cell is a set of particles of equal mass.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.kernels import chord2_holding, chord2_km2, falloff, peak_density, spiral
from geotoken.mixture.weights import Components
from geotoken.prior import WorldPrior

Floats = NDArray[np.float64]

NUM_PARTICLES = 64
"""Particles a kernel."""
NEAR_EDGES = 2.0
"""A kernel narrower than a cell edge is a set of particles up to this many edges around, a density beyond."""
SMOOTH_EDGES = 8.0
"""A kernel this many edges of a parent wide, or this far from it, is taken as constant over the parent."""
CHUNK = 80_000
"""Pairs of cell and point handled at once: they stay in the processor's cache, and BLAS starts no threads."""


class PhotoDensity:
    """The mixture of one photo, ready to be integrated over cells."""

    def __init__(self, components: Components, prior: WorldPrior) -> None:
        num_sharp = len(components.sharp_scales_km)
        self.prior = prior
        self.points = components.points
        self.sharp_scales_km = components.sharp_scales_km
        self.sharp_weights = components.weights[:, :num_sharp]
        self._factors = components.tilts.blend(components.weights[:, num_sharp:], components.prior_weight)
        self._before = np.concatenate([[0.0], np.cumsum(self._factors * prior.blocks.mass)])
        self._peaks = self.sharp_weights * peak_density(np.asarray(self.sharp_scales_km))
        self._known: dict[tuple[int, int], tuple[cells.CellIds, Floats]] = {}

    def children_mass(self, parents: cells.CellIds, children: cells.CellIds) -> Floats:
        """Mass of each child, comparable among the children of one parent.

        What was asked before is remembered: every search goes through the same few likely cells.

        Args:
            parents: Cells, shape (R,), uint64, all of one level.
            children: The descendants of each at one level, shape (R, V), uint64, in Hilbert order.

        Returns:
            Masses, shape (R, V), not negative; sums to the mass of the parent up to quadrature error.
        """
        key = (int(cells.level(parents[0])), int(cells.level(children.flat[0])))
        if key not in self._known and np.all(parents[1:] > parents[:-1]):
            self._known[key] = parents, self._children_mass(parents, children)
            return self._known[key][1].copy()
        known, masses = self._known.get(key, (parents[:0], np.empty((0, children.shape[1]))))
        row = np.minimum(np.searchsorted(known, parents), max(len(known) - 1, 0))
        new = known[row] != parents if len(known) else np.ones(len(parents), np.bool_)
        if new.any():
            masses = np.concatenate([masses, self._children_mass(parents[new], children[new])])
            known, first = np.unique(np.concatenate([known, parents[new]]), return_index=True)
            masses = masses[first]
            self._known[key] = known, masses
            row = np.searchsorted(known, parents)
        return np.asarray(masses[row])

    def _children_mass(self, parents: cells.CellIds, children: cells.CellIds) -> Floats:
        """Mass of each child, shape (R, V), found anew."""
        edge_km = cells.average_edge_km(int(cells.level(children.flat[0])))
        parent_edge_km = cells.average_edge_km(int(cells.level(parents[0])))
        scales = np.asarray(self.sharp_scales_km)
        num_narrow = int(np.sum(scales < edge_km))
        num_uneven = int(np.sum(scales < SMOOTH_EDGES * parent_edge_km))
        area = cells.approx_area_km2(children)
        mass = self._prior_children_mass(parents, children, area)
        if len(self.points):
            parent_chord2 = chord2_km2(cells.center_xyz(parents), self.points)
            uneven = parent_chord2.min(axis=1) < (SMOOTH_EDGES * parent_edge_km) ** 2
            mass[~uneven] += (
                self._sharp_density(parent_chord2[~uneven], 0, len(scales))[:, None] * area[~uneven]
            )
            smooth = self._sharp_density(parent_chord2[uneven], num_uneven, len(scales))
            mass[uneven] += smooth[:, None] * area[uneven]
            if num_uneven and uneven.any():
                mass[uneven] += self._uneven_mass(
                    children[uneven], area[uneven], num_narrow, num_uneven, NEAR_EDGES * edge_km
                )
        return mass

    def _uneven_mass(
        self, children: cells.CellIds, area: Floats, num_narrow: int, num_uneven: int, near_km: float
    ) -> Floats:
        """Mass of the kernels that vary among the children of a parent, shape (R, V)."""
        centers = cells.center_xyz(children.ravel())
        density = np.empty(len(centers))
        rows_a_chunk = max(1, CHUNK // len(self.points))
        for start in range(0, len(centers), rows_a_chunk):
            rows = slice(start, start + rows_a_chunk)
            chord2 = chord2_km2(centers[rows], self.points)
            density[rows] = self._sharp_density(chord2, num_narrow, num_uneven)
            if num_narrow:
                density[rows] += self._far_density(chord2, num_narrow, near_km)
        mass = density.reshape(children.shape) * area
        if num_narrow:
            mass += self._near_mass(children, num_narrow, near_km)
        return np.asarray(mass)

    def at(self, xyz: Floats) -> Floats:
        """Density of the mixture at points: the closed form that the cell masses approximate.

        Args:
            xyz: Unit vectors, shape (N, 3).

        Returns:
            Density per km2, shape (N,).
        """
        broad = self._broad_density(self.prior.find(cells.from_xyz(xyz)))
        chord2 = chord2_km2(xyz, self.points)
        return np.asarray(broad + self._sharp_density(chord2, 0, len(self.sharp_scales_km)))

    def _broad_density(self, rows: NDArray[np.int64]) -> Floats:
        """Density of everything that lives on the cells of the prior, by row of the partition, shape (N,)."""
        return np.asarray(self.prior.density[rows] * self._factors[self.prior.block[rows]])

    def _broad_before(self, rows: NDArray[np.int64]) -> Floats:
        """Mass that lives on the cells before each row of the partition, shape (N,); rows 0..L."""
        prior = self.prior
        block = prior.block[np.minimum(rows, len(prior.block) - 1)]
        inside = prior.cumulative[rows] - prior.cumulative[prior.blocks.first[block]]
        return np.asarray(self._before[block] + self._factors[block] * inside)

    def _sharp_density(self, chord2: Floats, first: int, last: int) -> Floats:
        """Density of the sharp kernels of a range of scales at N points, shape (N,)."""
        total = np.zeros(len(chord2))
        for i in range(first, last):
            total += _weighted_sum(falloff(chord2, self.sharp_scales_km[i]), self._peaks[:, i])
        return total

    def _far_density(self, chord2: Floats, num_scales: int, near_km: float) -> Floats:
        """Density of the sharpest kernels at N points, without the kernels nearer than `near_km`.

        Far from its center a kernel of scale s is s^2 / pi (u + s^2)^-2, so the kernels of one point are
        summed as one, with the mean of their s^2.
        """
        square = np.square(self.sharp_scales_km[:num_scales])
        tails = self.sharp_weights[:, :num_scales] * square
        tail = tails.sum(axis=1)
        mean_square = tails @ square / np.maximum(tail, np.finfo(np.float64).tiny)
        falls = chord2 + mean_square
        np.reciprocal(falls, out=falls)
        np.square(falls, out=falls)
        falls *= chord2 > near_km**2
        return _weighted_sum(falls, tail / np.pi)

    def _prior_children_mass(self, parents: cells.CellIds, children: cells.CellIds, area: Floats) -> Floats:
        """Mass of everything that lives on the cells of the prior."""
        prior, child_level = self.prior, int(cells.level(children.flat[0]))
        rows = prior.find(parents)
        # The parent lies within one cell of the prior; the parent of the faces, which is none, does not.
        inside = (prior.level[rows] <= cells.level(parents)) & (cells.level(parents) < child_level)
        mass = np.empty(children.shape)
        mass[inside] = self._broad_density(rows[inside])[:, None] * area[inside]
        cut = children[~inside]
        first = prior.find(cut)
        end = np.searchsorted(prior.range_min, cells.range_max(cut[:, -1]), side="right")
        # A cell that the prior divides ends where its next sibling begins, which begins a row then.
        before = self._broad_before(np.concatenate([first, end[:, None]], axis=1))
        divided = prior.level[first] >= child_level
        mass[~inside] = np.where(divided, np.diff(before), self._broad_density(first) * area[~inside])
        return mass

    def _near_mass(self, children: cells.CellIds, num_scales: int, near_km: float) -> Floats:
        """Mass of the particles of the sharpest kernels, as far as `near_km` from their centers."""
        cloud = self._cloud
        counted = (cloud.scale < num_scales) & (cloud.chord2 <= near_km**2)
        cumulative = np.concatenate([[0.0], np.cumsum(cloud.weight * counted)])
        first = np.searchsorted(cloud.leaf, cells.range_min(children), side="left")
        last = np.searchsorted(cloud.leaf, cells.range_max(children), side="right")
        return np.asarray(cumulative[last] - cumulative[first])

    @cached_property
    def _cloud(self) -> "_Cloud":
        """The sharp kernels as particles at equal steps of mass."""
        quantile = (np.arange(NUM_PARTICLES) + 0.5) / NUM_PARTICLES
        chord2 = np.stack([chord2_holding(quantile, scale) for scale in self.sharp_scales_km])
        clouds = [spiral(self.points, each) for each in chord2]
        leaf = cells.from_xyz(np.stack(clouds).reshape(-1, 3))
        shape = (len(chord2), len(self.points), NUM_PARTICLES)
        order = np.argsort(leaf)
        return _Cloud(
            leaf=leaf[order],
            weight=np.broadcast_to(self.sharp_weights.T[:, :, None] / NUM_PARTICLES, shape).ravel()[order],
            chord2=np.broadcast_to(chord2[:, None], shape).ravel()[order],
            scale=np.broadcast_to(np.arange(len(chord2))[:, None, None], shape).ravel()[order],
        )


@dataclass(frozen=True, slots=True)
class _Cloud:
    """Particles of one photo, sorted by leaf cell, shape (S * E * M,) each."""

    leaf: cells.CellIds
    weight: Floats
    chord2: Floats  # from the kernel's center, km2
    scale: NDArray[np.int64]  # position among the sharp scales


def _weighted_sum(values: Floats, weights: Floats) -> Floats:
    """Sum over E of values (N, E) times weights (E,); einsum, as BLAS would start threads for it."""
    total: Floats = np.einsum("ne,e->n", values, weights)
    return total
