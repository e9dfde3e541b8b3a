"""Cells as classes: one adaptive partition (PlaNet), or several nested ones whose levels agree (ISN).

Owns the partitions and both classifiers; must not know retrieval. Dimension letters: N photos, D numbers of a
feature, C cells of a partition.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from baselines.fitting import Answers, Budget, Floats, Ints, Labelled, Singles, apply, perceptron, train
from geotoken import cells
from geotoken.geo import from_xyz, to_xyz

_FINEST = 20


@dataclass(frozen=True, slots=True)
class Partition:
    """Cells of different sizes, each with enough photos and not too many."""

    cell_id: NDArray[np.uint64]
    """Cells, rising along the Hilbert curve, shape (C,)."""
    xyz: Floats
    """Mean place of the photos in each as a unit vector, shape (C, 3)."""

    @classmethod
    def adaptive(cls, lat: Floats, lng: Floats, least: int, most: int) -> "Partition":
        """Divide the cube's faces until no cell holds too many photos, then drop cells that hold too few.

        Args:
            lat: Latitudes of the photos in degrees, shape (N,).
            lng: Longitudes of the photos in degrees, shape (N,).
            least: Photos that a cell must hold to be a class.
            most: Photos that a cell may hold.

        Returns:
            The partition.

        References:
            Weyand, Kostrikov, Philbin, "PlaNet - Photo geolocation with convolutional neural networks"
            (ECCV 2016), section 3.
        """
        xyz = to_xyz(lat, lng)
        left = np.arange(len(lat))
        ids, means = [], []
        for level in range(_FINEST + 1):
            found, member, count = np.unique(
                cells.from_lat_lng(lat[left], lng[left], level), return_inverse=True, return_counts=True
            )
            done = (count <= most) | (level == _FINEST)
            sums = np.stack([np.bincount(member, weights=axis) for axis in xyz[left].T], axis=1)
            kept = done & (count >= least)
            ids.append(found[kept])
            means.append(sums[kept])
            left = left[~done[member]]
        cell_id, mean = np.concatenate(ids), np.concatenate(means)
        order = np.argsort(cell_id)
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
        return cls(cell_id[order], mean[order])

    def classify(self, lat: Floats, lng: Floats) -> Ints:
        """Class of each place, shape (N,); -1 where the cell was dropped."""
        leaf = cells.from_lat_lng(lat, lng)
        row = np.searchsorted(cells.range_max(self.cell_id), leaf)
        row = np.minimum(row, len(self.cell_id) - 1)
        inside = (cells.range_min(self.cell_id[row]) <= leaf) & (leaf <= cells.range_max(self.cell_id[row]))
        return np.where(inside, row, -1)

    def parents(self, coarser: "Partition") -> Ints:
        """Class of a coarser partition that each cell lies in, shape (C,); -1 where that was dropped."""
        return coarser.classify(*from_xyz(cells.center_xyz(self.cell_id)))


class HierarchicalCells:
    """Several partitions, one head each on a common trunk; the answer has the best product down the levels.

    References:
        Mueller-Budack, Pustu-Iren, Ewerth, "Geolocation estimation of photos using a hierarchical model and
        scene classification" (ECCV 2018), sections 3.1 and 3.2 (the f* networks, without scenes).
    """

    def __init__(self, limits: Sequence[tuple[int, int]], budget: Budget) -> None:
        """Say how to divide and train.

        Args:
            limits: Least and most photos of a cell of each partition, coarsest first.
            budget: How to train.
        """
        self._limits, self._budget = limits, budget

    def fit(self, labelled: Labelled, validation: Labelled) -> None:
        """Learn from photos; validation decides when to stop."""
        lat, lng = labelled.lat, labelled.lng
        self.partitions = [Partition.adaptive(lat, lng, *limit) for limit in self._limits]
        self._sizes = [len(p.cell_id) for p in self.partitions]
        torch.manual_seed(self._budget.seed)
        self._network = perceptron(labelled.feature.shape[1], sum(self._sizes), self._budget)
        (x, y), (vx, vy) = (
            (
                torch.from_numpy(part.feature),
                torch.from_numpy(np.stack([p.classify(part.lat, part.lng) for p in self.partitions], axis=1)),
            )
            for part in (labelled, validation)
        )

        def loss(rows: Tensor) -> Tensor:
            return self._loss(self._network(x[rows]), y[rows])

        train(self._network, loss, len(x), lambda: float(self._loss(self._network(vx), vy)), self._budget)

    def answer(self, feature: Singles) -> Answers:
        """Answer for photos, shape (N, D)."""
        levels = torch.from_numpy(apply(self._network, feature)).split(self._sizes, dim=1)
        finest = self.partitions[-1]
        total = levels[-1].log_softmax(dim=1).numpy()
        for partition, logits in zip(self.partitions[:-1], levels[:-1], strict=True):
            parent = finest.parents(partition)
            above = logits.log_softmax(dim=1).numpy()
            # A cell whose parent was dropped is as unlikely as the unlikeliest.
            total = total + np.where(parent >= 0, above[:, parent], above.min(axis=1, keepdims=True))
        return from_xyz(finest.xyz[np.argmax(total, axis=1)])

    def _loss(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Sum over partitions of the mean cross-entropy of photos that have a class."""
        levels = logits.split(self._sizes, dim=1)
        return torch.stack(
            [cross_entropy(one, classes[:, i], ignore_index=-1) for i, one in enumerate(levels)]
        ).sum()


class FlatCells(HierarchicalCells):
    """One partition; the answer is the mean place of the photos in the likeliest cell.

    References:
        Weyand, Kostrikov, Philbin, "PlaNet" (ECCV 2016).
    """

    def __init__(self, limit: tuple[int, int], budget: Budget) -> None:
        """Say how to divide and train.

        Args:
            limit: Least and most photos of a cell.
            budget: How to train.
        """
        super().__init__([limit], budget)
