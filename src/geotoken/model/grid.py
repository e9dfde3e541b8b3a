"""Where the cells of token prefixes lie on the grid of their face: lower corner, side and orientation.

Owns the walk down the tree in numpy and its tables; must not know networks. Dimension letters: R rows,
T tokens, V tokens of a position after the first, n = 2 ** group_size.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.cells.curve import descend
from geotoken.tokens import TokenScheme

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ELSEWHERE: Final = 1e9
"""Distance told of an item that is not on the face of a prefix; in sides of the prefix's cell."""

WIDTHS_KM: Final = (0.06, 0.17, 0.5, 3.0, 20.0, 120.0, 700.0)
"""Widths of the kernels of the head `kernel` before training, S of them."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How the children of a cell that a token chooses among are laid out on it, by the cell's orientation."""

    corner: Floats
    """Lower corner of each child in sides of its parent, shape (4, V, 2)."""
    turn: Ints
    """Orientation of each child, shape (4, V)."""
    place: Ints
    """Position i n + j of each child in a grid of n rows, shape (4, V)."""


@cache
def grid(group_size: int) -> Grid:
    """The grid of `group_size` levels at once."""
    i, j, turn = descend(group_size)
    size = 2**group_size
    return Grid(np.stack([i, j], axis=-1) / size, turn, i * size + j)


@dataclass(frozen=True, slots=True)
class Corners:
    """The cells of R prefixes of one length, at least the face."""

    face: Ints
    """Face 0..5, shape (R,)."""
    corner: Floats
    """Lower corner on the face, in [0, 1), shape (R, 2)."""
    orientation: Ints
    """Orientation 0..3, shape (R,)."""

    @classmethod
    def of_faces(cls, face: Ints) -> "Corners":
        """Whole faces, shape (R,)."""
        return cls(face, np.zeros((len(face), 2)), first_orientation(face))

    def take(self, rows: Ints) -> "Corners":
        """Some rows, shape (R',)."""
        return Corners(self.face[rows], self.corner[rows], self.orientation[rows])

    def child(self, tokens: Ints, group_size: int, position: int) -> "Corners":
        """The cells of the prefixes with one token more, shape (R,), which is that of a position from 1."""
        table = grid(group_size)
        side = side_before(group_size, position)
        corner = self.corner + side * table.corner[self.orientation, tokens]
        return Corners(self.face, corner, table.turn[self.orientation, tokens])


def first_orientation(face: Ints) -> Ints:
    """Orientation of faces, any shape."""
    return np.asarray(face % 3 % 2, dtype=np.int64)


def side_before(group_size: int, position: int) -> float:
    """Side of the cells whose children the token at a position from 1 chooses among; a face has side 1."""
    return float(0.5 ** (group_size * (position - 1)))


def leaf_centers(scheme: TokenScheme, tokens: Ints) -> tuple[Ints, Floats]:
    """Where leaves lie.

    Args:
        scheme: The token scheme.
        tokens: Whole sequences, shape (..., T).

    Returns:
        Face, shape (...), and center on it in [0, 1], shape (..., 2).
    """
    flat = tokens.reshape(-1, tokens.shape[-1])
    cells = Corners.of_faces(flat[:, 0])
    for position in range(1, scheme.length):
        cells = cells.child(flat[:, position], scheme.group_size, position)
    center = cells.corner + side_before(scheme.group_size, scheme.length) / 2
    return tokens[..., 0], center.reshape(*tokens.shape[:-1], 2)
