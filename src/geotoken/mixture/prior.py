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
from geotoken.mixture.kernels import chord2_km2, falloff

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_LEVEL = 7
"""Level (cells of about 70 km) of the blocks on which a tilt is constant."""


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
        """Estimate the prior from points by an adaptive tree of cells.

        A cell with at least `min_count` points is split; its mass goes to the children in proportion to
        their points plus `smoothing` pseudo-points spread by area (a Dirichlet mean at every split).

        Args:
            lat: Latitudes in degrees, shape (N,).
            lng: Longitudes in degrees, shape (N,).
            min_count: Points that a cell must hold to be split.
            max_level: Level at which splitting ends, 0..30.
            smoothing: Pseudo-points of a split.
            uniform: Share of the mass spread over the whole sphere by area, in (0, 1).

        Returns:
            The prior.
        """
        points = np.sort(cells.from_lat_lng(lat, lng))

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
        np.savez_compressed(path, cell_id_steps=steps, mass=self.mass.astype(np.float32))

    @cached_property
    def range_min(self) -> cells.CellIds:
        """First leaf cell of each cell, shape (L,), uint64."""
        return cells.range_min(self.cell_ids)

    @cached_property
    def area_km2(self) -> Floats:
        """Area of each cell in km2, shape (L,)."""
        return cells.area_km2(self.cell_ids)

    @cached_property
    def level(self) -> Ints:
        """Level of each cell, shape (L,)."""
        return cells.level(self.cell_ids)

    @cached_property
    def _blocks(self) -> tuple[Ints, Floats, Floats]:
        """First cell of each block (Q,), unit vectors of block centers (Q, 3), block masses (Q,)."""
        fine = self.level > BLOCK_LEVEL
        block_ids = self.cell_ids.copy()
        block_ids[fine] = cells.parent(self.cell_ids[fine], BLOCK_LEVEL)
        unique, first = np.unique(block_ids, return_index=True)
        return first, cells.center_xyz(unique), np.add.reduceat(self.mass, first)

    @property
    def num_blocks(self) -> int:
        """Number of blocks Q."""
        return len(self._blocks[0])

    def find(self, cell_ids: cells.CellIds) -> Ints:
        """Row of the partition that holds the first leaf of each given cell.

        Args:
            cell_ids: Cells, shape (N,), uint64.

        Returns:
            Rows, shape (N,), 0..L-1.
        """
        return np.searchsorted(self.range_min, cells.range_min(cell_ids), side="right") - 1

    def tilts(self, points: Floats, scales_km: Sequence[float]) -> Floats:
        """How much a kernel of each scale at each point, multiplied with the prior, raises each block.

        The product of the prior with a kernel, renormalised, says "near this point, where photos are taken".

        Args:
            points: Unit vectors, shape (E, 3).
            scales_km: The S scales in km.

        Returns:
            Factor on the prior mass of each block, shape (S, E, Q); each row has mean 1 under the prior.
        """
        _, centers, block_mass = self._blocks
        chord2 = chord2_km2(points, centers)
        factors = np.empty((len(scales_km), *chord2.shape))
        for i, scale_km in enumerate(scales_km):
            factors[i] = falloff(chord2, scale_km)
            factors[i] /= np.einsum("eq,q->e", factors[i], block_mass)[:, None]
        return factors

    def spread(self, block_factors: Floats) -> Floats:
        """Give the cells of each block the factor of their block.

        Args:
            block_factors: Factor of each block, shape (..., Q).

        Returns:
            Factor of each cell, shape (..., L).
        """
        first = self._blocks[0]
        return np.repeat(block_factors, np.diff(first, append=len(self.cell_ids)), axis=-1)

    def block_of(self, rows: Ints) -> Ints:
        """Block of each row of the partition.

        Args:
            rows: Rows, shape (N,), 0..L-1.

        Returns:
            Blocks, shape (N,), 0..Q-1.
        """
        return np.searchsorted(self._blocks[0], rows, side="right") - 1


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
