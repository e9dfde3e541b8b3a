"""What every shape of a region can do, and the words for how a cell lies to it.

Owns the protocol and the three constants; must not know any shape.
"""

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shapely import MultiPolygon

CellIds = NDArray[np.uint64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Relations = NDArray[np.int8]

OUTSIDE = -1
"""Certainly no point of the cell lies in the region."""
PARTIAL = 0
"""Some points of the cell may lie in the region, and some may not."""
INSIDE = 1
"""Certainly every point of the cell lies in the region."""


class Shape(Protocol):
    """One connected or scattered part of a region, with its edge."""

    def contains(self, lat: Floats, lng: Floats) -> Bools:
        """Whether points lie in the shape.

        Args:
            lat: Latitude in degrees, shape (N,), in [-90, 90].
            lng: Longitude in degrees, shape (N,), in [-180, 180].

        Returns:
            Truth values, shape (N,).
        """

    def relation(self, cell_ids: CellIds) -> Relations:
        """How cells lie to the shape.

        Args:
            cell_ids: Valid cell ids of any levels, shape (N,).

        Returns:
            `OUTSIDE`, `PARTIAL` or `INSIDE`, shape (N,), int8; the first and the last are certain.
        """

    def outline(self) -> "MultiPolygon":
        """The shape in the plane of longitude and latitude, cut at the antimeridian, for drawing."""
