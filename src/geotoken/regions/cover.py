"""A tree of cells over a shape, so that most cells are placed by a search in a sorted list.

Owns the tree and its compact form; must not know what kind of shape it covers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.regions.shape import INSIDE, OUTSIDE, PARTIAL, CellIds, Relations

_ROOTS = cells.children(np.arange(1, 2 * cells.NUM_FACES, 2, dtype=np.uint64) << np.uint64(60)).reshape(-1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cover:
    """Disjoint cells in rising order; all that they leave out is outside."""

    first: CellIds
    """First leaf of each cell, shape (K,)."""
    last: CellIds
    """Last leaf of each cell, shape (K,)."""
    relations: Relations
    """`INSIDE` or `PARTIAL`, shape (K,)."""
    num_inside: NDArray[np.uint64]
    """Leaves (halved ids) in the `INSIDE` cells before each, shape (K + 1,)."""
    tree: Relations
    """Relations of the 24 cells of level 1, then of the children of each `PARTIAL` one, ...; shape (T,)."""

    @classmethod
    def build(cls, relation: Callable[[CellIds], Relations], enough: int) -> "Cover":
        """Divide the cells on the edge of a shape until there are enough of them.

        Args:
            relation: Places cells of level 1 and finer, shape (N,).
            enough: Number of cells on the edge from which on none is divided.

        Returns:
            The cover.
        """
        tree: list[Relations] = []
        frontier = _ROOTS
        while True:
            relations = relation(frontier)
            tree.append(relations)
            partial = frontier[relations == PARTIAL]
            if not 0 < len(partial) < enough or cells.level(partial[0]) == cells.MAX_LEVEL:
                return cls.from_tree(np.concatenate(tree))
            frontier = cells.children(partial).reshape(-1)

    @classmethod
    def from_tree(cls, tree: Relations) -> "Cover":
        """Restore a cover from its tree.

        Args:
            tree: Relations, shape (T,), int8, in the order of `tree`.

        Returns:
            The cover.
        """
        kept: list[CellIds] = []
        relations: list[Relations] = []
        frontier, start = _ROOTS, 0
        while True:
            now = tree[start : start + len(frontier)]
            start += len(frontier)
            is_last = start >= len(tree)
            keep = now != OUTSIDE if is_last else now == INSIDE
            kept.append(frontier[keep])
            relations.append(now[keep])
            if is_last:
                break
            frontier = cells.children(frontier[now == PARTIAL]).reshape(-1)
        ids, values = np.concatenate(kept), np.concatenate(relations)
        order = np.argsort(ids)
        ids, values = ids[order], values[order]
        first, last = cells.range_min(ids), cells.range_max(ids)
        sizes = np.where(values == INSIDE, (last - first) // 2 + 1, 0).astype(np.uint64)
        num_inside = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(sizes)])
        return cls(first=first, last=last, relations=values, num_inside=num_inside, tree=tree)

    def relation(self, cell_ids: CellIds) -> tuple[Relations, NDArray[np.int64]]:
        """Place cells as far as the cover can.

        Args:
            cell_ids: Valid cell ids of any levels, shape (N,).

        Returns:
            Relations, shape (N,), int8; and the rows that a closer look may still improve, shape (M,): those
            of cells within a cell on the edge.
        """
        first, last = cells.range_min(cell_ids), cells.range_max(cell_ids)
        start = np.searchsorted(self.last, first)
        stop = np.searchsorted(self.first, last, side="right")
        hit = start < stop
        row = np.where(hit, start, 0)
        relations = np.where(hit, PARTIAL, OUTSIDE).astype(np.int8)
        if len(self.first) == 0:
            return relations, np.flatnonzero(hit)
        lies_in = hit & (self.first[row] <= first) & (last <= self.last[row])
        is_full = hit & (
            self.num_inside[np.maximum(stop, start)] - self.num_inside[start] == (last - first) // 2 + 1
        )
        relations[is_full | (lies_in & (self.relations[row] == INSIDE))] = INSIDE
        same = (self.first[row] == first) & (self.last[row] == last)
        return relations, np.flatnonzero(lies_in & ~same & (relations == PARTIAL))
