"""The world prior: where photos are taken at all, as a density constant on each cell of a partition.

Owns the table and its tilting toward points; must not know evidence or tokens.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.errors import ArtifactError
from geotoken.files import ARRAY_DAMAGE
from geotoken.kernels import chord2_km2, falloff

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_LEVEL = 7
"""Level (cells of about 70 km) of the blocks on which a tilt is constant, far from its points."""
FINE_BLOCK_LEVEL = 9
"""Level (cells of about 18 km) of the blocks on which a tilt is constant, near its points."""
NEAR_KM = 180.0
"""Chord from a point within which blocks are fine."""

_LAST_LEAF = np.uint64((cells.NUM_FACES << 61) - 1)
_MAX_BYTES = 1 << 28  # of the arrays, unpacked: 16 million cells


@dataclass(frozen=True)
class WorldPrior:
    """A partition of the sphere into L cells, in Hilbert order, with the mass of each."""

    cell_ids: cells.CellIds
    """Cells of the partition, sorted, shape (L,), uint64."""
    mass: Floats
    """Probability of each cell, shape (L,), float64, sums to 1."""

    @classmethod
    def from_points(
        cls,
        lat: Floats,
        lng: Floats,
        *,
        min_count: int = 8,
        max_level: int = 12,
        smoothing: float = 2.0,
        uniform: float = 0.02,
    ) -> "WorldPrior":
        """Estimate the prior from points by an adaptive tree of cells, as `from_leaves`.

        Args:
            lat: Latitudes in degrees, shape (N,).
            lng: Longitudes in degrees, shape (N,).
            min_count: As for `from_leaves`.
            max_level: As for `from_leaves`.
            smoothing: As for `from_leaves`.
            uniform: As for `from_leaves`.

        Returns:
            The prior.
        """
        return cls.from_leaves(
            cells.from_lat_lng(lat, lng),
            min_count=min_count,
            max_level=max_level,
            smoothing=smoothing,
            uniform=uniform,
        )

    @classmethod
    def from_leaves(
        cls, leaves: cells.CellIds, *, min_count: int, max_level: int, smoothing: float, uniform: float
    ) -> "WorldPrior":
        """Estimate the prior from the leaf cells of points by an adaptive tree of cells.

        A cell with at least `min_count` points is split; its mass goes to the children in proportion to
        their points plus `smoothing` pseudo-points spread by area (a Dirichlet mean at every split).

        Args:
            leaves: Leaf cell of each point, shape (N,), uint64.
            min_count: Points that a cell must hold to be split.
            max_level: Level at which splitting ends, 0..30.
            smoothing: Pseudo-points of a split.
            uniform: Share of the mass spread over the whole sphere by area, in (0, 1).

        Returns:
            The prior.
        """
        points = np.sort(leaves)

        def count(ids: cells.CellIds) -> Ints:
            first = np.searchsorted(points, cells.range_min(ids), side="left")
            return np.searchsorted(points, cells.range_max(ids), side="right") - first

        ids = cells.from_hex([f"{face * 2 + 1:x}" for face in range(cells.NUM_FACES)])
        counts = count(ids)
        mass = np.asarray((counts + smoothing / len(ids)) / (len(points) + smoothing), dtype=np.float64)
        done: list[tuple[cells.CellIds, Floats]] = []
        for level in range(max_level + 1):
            split = (counts >= min_count) & (level < max_level)
            done.append((ids[~split], mass[~split]))
            if not split.any():
                break
            children = cells.children(ids[split])
            area = cells.approx_area_km2(children)
            child_counts = count(children.ravel()).reshape(children.shape)
            share = child_counts + smoothing * area / area.sum(axis=1, keepdims=True)
            mass = (mass[split][:, None] * share / share.sum(axis=1, keepdims=True)).ravel()
            ids, counts = children.ravel(), child_counts.ravel()
        all_ids = np.concatenate([i for i, _ in done])
        order = np.argsort(all_ids)
        all_ids = all_ids[order]
        all_mass = np.concatenate([m for _, m in done])[order]
        area = cells.area_km2(all_ids)
        all_mass = (1 - uniform) * all_mass + uniform * area / area.sum()
        return cls(cell_ids=all_ids, mass=all_mass / all_mass.sum())

    @classmethod
    def load(cls, path: Path) -> "WorldPrior":
        """Read a table written by `save`.

        Args:
            path: The .npz file.

        Returns:
            The prior.

        Raises:
            ArtifactError: If the file is missing or is no such table.
        """
        try:
            ids, mass = _read_table(path)
        except ARRAY_DAMAGE as error:
            raise ArtifactError(
                f"{path} is not a table of the world prior ({error}); install the model again"
            ) from error
        return cls(cell_ids=ids, mass=mass / mass.sum())

    def save(self, path: Path) -> None:
        """Write the table as a compressed .npz file: steps between cell ids, masses as float32.

        Args:
            path: The file to write.
        """
        steps = np.diff(self.cell_ids, prepend=np.uint64(0))
        with path.open("wb") as file:
            np.savez_compressed(file, cell_id_steps=steps, mass=self.mass.astype(np.float32))

    @cached_property
    def range_min(self) -> cells.CellIds:
        """First leaf cell of each cell, shape (L,), uint64."""
        return cells.range_min(self.cell_ids)

    @property
    def area_km2(self) -> Floats:
        """Area of each cell in km2, shape (L,); found anew each time."""
        return cells.area_km2(self.cell_ids)

    @cached_property
    def level(self) -> NDArray[np.int8]:
        """Level of each cell, shape (L,)."""
        return cells.level(self.cell_ids).astype(np.int8)

    @cached_property
    def density(self) -> Floats:
        """Mass per km2 of each cell, shape (L,)."""
        return np.asarray(self.mass / self.area_km2)

    @cached_property
    def cumulative(self) -> Floats:
        """Mass before each cell, shape (L + 1,); the last entry is 1."""
        return np.concatenate([[0.0], np.cumsum(self.mass)])

    @cached_property
    def blocks(self) -> "Blocks":
        """The fine blocks."""
        return self._blocks_of(FINE_BLOCK_LEVEL)

    @cached_property
    def block(self) -> NDArray[np.int32]:
        """Fine block of each cell, shape (L,)."""
        sizes = np.diff(self.blocks.first, append=len(self.cell_ids))
        return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)

    @cached_property
    def _coarse_blocks(self) -> tuple["Blocks", Ints]:
        """The coarse blocks, and how many fine ones each holds, shape (C,)."""
        coarse = self._blocks_of(BLOCK_LEVEL)
        begin = np.searchsorted(self.blocks.first, coarse.first)
        return coarse, np.diff(begin, append=len(self.blocks.first))

    def _blocks_of(self, level: int) -> "Blocks":
        fine = self.level > level
        block_ids = self.cell_ids.copy()
        block_ids[fine] = cells.parent(self.cell_ids[fine], level)
        unique, first = np.unique(block_ids, return_index=True)
        return Blocks(first, cells.center_xyz(unique), np.add.reduceat(self.mass, first))

    def find(self, cell_ids: cells.CellIds) -> Ints:
        """Row of the partition that holds the first leaf of each given cell.

        Args:
            cell_ids: Cells, shape (N,), uint64.

        Returns:
            Rows, shape (N,), 0..L-1.
        """
        return np.searchsorted(self.range_min, cells.range_min(cell_ids), side="right") - 1

    def children_shares(self, children: cells.CellIds) -> Floats:
        """Which share of the mass of a cell each of its children has.

        Args:
            children: All descendants of each of R cells at one level, in Hilbert order, or the six faces;
                shape (R, V), uint64.

        Returns:
            Shares, shape (R, V), more than 0; each row sums to 1.
        """
        first = self.find(children)
        end = np.searchsorted(self.range_min, cells.range_max(children[:, -1]), side="right")
        before = self.cumulative[np.concatenate([first, end[:, None]], axis=1)]
        # A cell that the partition divides ends where its next sibling begins, which begins a row then.
        divided = self.level[first] >= cells.level(children[:1, :1])
        undivided = self.density[first] * cells.approx_area_km2(children)
        mass = np.where(divided, np.diff(before), undivided) + np.finfo(np.float64).tiny
        return np.asarray(mass / mass.sum(axis=1, keepdims=True))

    def tilt(self, points: Floats, scales_km: Sequence[float]) -> "Tilts":
        """How much a kernel of each scale at each point, multiplied with the prior, raises each block.

        The product of the prior with a kernel, renormalised, says "near this point, where photos are taken".

        Args:
            points: Unit vectors, shape (E, 3).
            scales_km: The S scales in km.

        Returns:
            The factors on the prior mass of each block.
        """
        coarse, num_fine = self._coarse_blocks
        chord2 = chord2_km2(points, coarse.centers).astype(np.float32)
        is_near = (chord2 <= NEAR_KM**2).any(axis=0)
        near = np.flatnonzero(np.repeat(is_near, num_fine))
        near_chord2 = chord2_km2(points, self.blocks.centers[near]).astype(np.float32)
        far_mass = np.where(is_near, 0.0, coarse.mass).astype(np.float32)
        near_mass = self.blocks.mass[near].astype(np.float32)
        far = np.empty((len(scales_km), *chord2.shape), dtype=np.float32)
        close = np.empty((len(scales_km), *near_chord2.shape), dtype=np.float32)
        shares = np.empty((len(points), len(scales_km)))
        for i, scale_km in enumerate(scales_km):
            far[i], close[i] = falloff(chord2, scale_km), falloff(near_chord2, scale_km)
            shares[:, i] = np.einsum("eq,q->e", far[i], far_mass)
            shares[:, i] += np.einsum("eq,q->e", close[i], near_mass)
        return Tilts(far, close, np.log(shares), num_fine, near)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Runs of cells that are tilted alike, in Hilbert order; a cell larger than a block is one."""

    first: Ints
    """First cell of each, shape (Q,)."""
    centers: Floats
    """Unit vectors of the centers, shape (Q, 3)."""
    mass: Floats
    """Prior mass of each, shape (Q,)."""


@dataclass(frozen=True, slots=True)
class Tilts:
    """What E points at S scales make of the prior."""

    far_kernels: NDArray[np.float32]
    """Kernels, 1 at their centers, on each of C coarse blocks, shape (S, E, C)."""
    near_kernels: NDArray[np.float32]
    """The same on each of the fine blocks near a point, shape (S, E, F)."""
    log_share: Floats
    """Log of the mean of each kernel (1 at its center) under the prior, shape (E, S)."""
    num_fine: Ints
    """Number of fine blocks in each coarse one, shape (C,)."""
    near: Ints
    """Which fine blocks are near a point, shape (F,)."""

    def blend(self, weights: Floats, prior_weight: float) -> Floats:
        """Factor on the mass of each fine block for a mixture of the prior and its tilted forms.

        Args:
            weights: Weight of each point and scale, shape (E, S).
            prior_weight: Weight of the prior itself.

        Returns:
            Factors, shape (Q,); under the prior their mean is the sum of all weights.
        """
        scaled = (weights / np.exp(self.log_share)).astype(np.float32)
        factors = np.repeat(np.einsum("es,seq->q", scaled, self.far_kernels), self.num_fine)
        factors[self.near] = np.einsum("es,seq->q", scaled, self.near_kernels)
        return factors.astype(np.float64) + prior_weight

    def at(self, block: int) -> Floats:
        """Factors on one fine block.

        Args:
            block: The block, 0..Q-1.

        Returns:
            Factor of each point and scale, shape (E, S).
        """
        column = np.searchsorted(self.near, block)
        if column < len(self.near) and self.near[column] == block:
            kernels = self.near_kernels[:, :, column]
        else:
            coarse = np.searchsorted(np.cumsum(self.num_fine), block, side="right")
            kernels = self.far_kernels[:, :, coarse]
        return np.asarray(kernels.T / np.exp(self.log_share))


def _read_table(path: Path) -> tuple[cells.CellIds, Floats]:
    """Cells and their masses, each of shape (L,), as `WorldPrior.save` wrote them.

    Raises:
        ValueError: They are no such table; other errors of reading are those of `ARRAY_DAMAGE`.
    """
    with zipfile.ZipFile(path) as archive:
        num_bytes = sum(member.file_size for member in archive.infolist())
    if num_bytes > _MAX_BYTES:
        raise ValueError(f"it unpacks to {num_bytes:,} bytes")
    with np.load(path, allow_pickle=False) as file:
        steps, mass = file["cell_id_steps"], file["mass"]
    if steps.dtype.kind != "u" or mass.dtype.kind != "f" or steps.shape != mass.shape or steps.ndim != 1:
        raise ValueError(f"it has {steps.dtype} {steps.shape} and {mass.dtype} {mass.shape}")
    ids = np.cumsum(steps, dtype=np.uint64)
    first, last = cells.range_min(ids), cells.range_max(ids)
    is_adjacent = first[1:] == last[:-1] + np.uint64(2)  # ids of leaves are odd
    if not (ids.size and first[0] == 1 and last[-1] == _LAST_LEAF and is_adjacent.all()):
        raise ValueError("its cells do not cover the sphere once")
    mass = mass.astype(np.float64)
    if not (mass >= 0).all() or not 0 < mass.sum() < np.inf:
        raise ValueError("its masses are no probabilities")
    return ids, mass
