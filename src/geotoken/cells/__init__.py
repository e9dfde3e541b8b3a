"""S2 cells: 64-bit ids of a hierarchy of spherical squares, computed on whole arrays.

Owns ids, levels, parents, children, centers, corners and areas; must not know tokens or models.

The ids are those of Google's S2 library with its quadratic projection. A scalar argument gives a numpy
scalar, an array gives an array of its shape.
"""

from geotoken.cells.curve import MAX_LEVEL, NUM_FACES, CellIds
from geotoken.cells.ids import (
    child_position,
    children,
    face,
    from_hex,
    is_valid,
    level,
    parent,
    range_max,
    range_min,
    to_hex,
)
from geotoken.cells.shapes import (
    approx_area_km2,
    area_km2,
    average_edge_km,
    center_xyz,
    corners,
    from_lat_lng,
    from_xyz,
    to_lat_lng,
)

__all__ = [
    "MAX_LEVEL",
    "NUM_FACES",
    "CellIds",
    "approx_area_km2",
    "area_km2",
    "average_edge_km",
    "center_xyz",
    "child_position",
    "children",
    "corners",
    "face",
    "from_hex",
    "from_lat_lng",
    "from_xyz",
    "is_valid",
    "level",
    "parent",
    "range_max",
    "range_min",
    "to_hex",
    "to_lat_lng",
]
