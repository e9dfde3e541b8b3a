"""Where cells lie on Earth: points to cells, and centers, corners, areas and edges of cells.

Owns the geometry of cells, in chunks that stay in the cache of one core; must not know tokens or models.
"""

import numpy as np
from numpy.typing import ArrayLike

from geotoken.cells.curve import (
    MAX_LEVEL,
    CellIds,
    Floats,
    center_directions,
    encode_directions,
    face_uv_to_xyz,
    locate,
    st_to_uv,
    uv_length,
)
from geotoken.cells.ids import check_cell_ids, check_level
from geotoken.errors import InputError
from geotoken.geo import EARTH_RADIUS_KM, check_lat_lng

_CHUNK = 1 << 13  # rows; a chunk's working arrays take about 1 MB, one core's L2 cache


def from_lat_lng(lat: ArrayLike, lng: ArrayLike, level: int = MAX_LEVEL) -> CellIds:
    """Cells that contain points.

    Args:
        lat: Latitude in degrees, shape (...), in [-90, 90].
        lng: Longitude in degrees, shape (...), in [-360, 360].
        level: Level of the cells, 0..30.

    Returns:
        Cell ids, shape (...), uint64.

    Raises:
        InputError: If a coordinate is not finite or out of range (its row is named), or the level is.
    """
    check_level(level)
    lat_array, lng_array = check_lat_lng(lat, lng)
    flat_lat, flat_lng = lat_array.reshape(-1), lng_array.reshape(-1)
    cell_ids = np.empty(flat_lat.size, dtype=np.uint64)
    for start in range(0, flat_lat.size, _CHUNK):
        rows = slice(start, start + _CHUNK)
        phi, theta = flat_lat[rows] * (np.pi / 180), flat_lng[rows] * (np.pi / 180)
        cos_phi = np.cos(phi)
        x = np.cos(theta)
        x *= cos_phi
        y = np.sin(theta, out=theta)
        y *= cos_phi
        z = np.sin(phi, out=phi)
        cell_ids[rows] = encode_directions(x, y, z, level)
    shaped: CellIds = cell_ids.reshape(lat_array.shape)[()]
    return shaped


def from_xyz(xyz: ArrayLike, level: int = MAX_LEVEL) -> CellIds:
    """Cells that contain the directions of vectors; spares the angles where a unit vector is at hand.

    Args:
        xyz: Vectors of any length but 0, shape (..., 3), finite.
        level: Level of the cells, 0..30.

    Returns:
        Cell ids, shape (...), uint64.

    Raises:
        InputError: If a vector is zero or not finite (its row is named), or the level is out of range.
    """
    check_level(level)
    vectors = np.asarray(xyz, dtype=np.float64)
    if vectors.ndim == 0 or vectors.shape[-1] != 3:
        raise InputError(f"vectors must have shape (..., 3), not {vectors.shape}")
    flat = vectors.reshape(-1, 3)
    usable = np.isfinite(flat).all(axis=1) & flat.any(axis=1)
    if not usable.all():
        row = int(np.argmin(usable))
        raise InputError(f"row {row}: vector {flat[row].tolist()} is zero or not finite; give a direction")
    cell_ids = np.empty(len(flat), dtype=np.uint64)
    for start in range(0, len(flat), _CHUNK):
        x, y, z = flat[start : start + _CHUNK].T.copy()  # encode_directions overwrites them
        cell_ids[start : start + _CHUNK] = encode_directions(x, y, z, level)
    shaped: CellIds = cell_ids.reshape(vectors.shape[:-1])[()]
    return shaped


def to_lat_lng(cell_ids: ArrayLike) -> tuple[Floats, Floats]:
    """Centers of cells.

    Args:
        cell_ids: Cell ids of any levels, shape (...), uint64.

    Returns:
        Latitude in [-90, 90] and longitude in [-180, 180] in degrees, each of shape (...).

    Raises:
        InputError: If an id is not valid; its row is named.
    """
    ids = check_cell_ids(cell_ids)
    flat = ids.reshape(-1)
    lat, lng = np.empty((2, flat.size))
    for start in range(0, flat.size, _CHUNK):
        rows = slice(start, start + _CHUNK)
        x, y, z = center_directions(flat[rows])
        np.arctan2(y, x, out=lng[rows])
        x *= x
        y *= y
        x += y
        np.arctan2(z, np.sqrt(x, out=x), out=lat[rows])
        lat[rows] *= 180 / np.pi
        lng[rows] *= 180 / np.pi
    return lat.reshape(ids.shape)[()], lng.reshape(ids.shape)[()]


def center_xyz(cell_ids: ArrayLike) -> Floats:
    """Centers of cells as unit vectors.

    Args:
        cell_ids: Cell ids of any levels, shape (...), uint64.

    Returns:
        Unit vectors, shape (..., 3), float64.

    Raises:
        InputError: If an id is not valid; its row is named.
    """
    ids = check_cell_ids(cell_ids)
    flat = ids.reshape(-1)
    xyz = np.empty((flat.size, 3))
    for start in range(0, flat.size, _CHUNK):
        x, y, z = center_directions(flat[start : start + _CHUNK])
        scale = 1 / np.sqrt(x * x + y * y + z * z)
        for axis, values in enumerate((x, y, z)):
            np.multiply(values, scale, out=xyz[start : start + _CHUNK, axis])
    return xyz.reshape((*ids.shape, 3))


def corners(cell_ids: ArrayLike) -> tuple[Floats, Floats]:
    """Corners of cells, counter-clockwise seen from outside, from the lower left one of the face.

    Args:
        cell_ids: Cell ids, shape (...), uint64.

    Returns:
        Latitude and longitude in degrees, each of shape (..., 4); edges are great-circle arcs.

    Raises:
        InputError: If an id is not valid; its row is named.
    """
    ids = check_cell_ids(cell_ids)
    faces, first, second, side = locate(ids.reshape(-1))
    # locate exchanges the axes of the negative faces, which would turn the order around.
    order = np.where((faces >= 3)[:, None], [0, 2, 3, 1], [0, 1, 3, 2])
    a = st_to_uv(first[:, None] + (order & 1) * side[:, None])
    b = st_to_uv(second[:, None] + (order >> 1) * side[:, None])
    x, y, z = face_uv_to_xyz(faces[:, None], a, b)
    shape = (*ids.shape, 4)
    lat = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return lat.reshape(shape), np.degrees(np.arctan2(y, x)).reshape(shape)


def area_km2(cell_ids: ArrayLike) -> Floats:
    """Exact areas of cells on the sphere, sound from faces down to leaves.

    Args:
        cell_ids: Cell ids, shape (...), uint64.

    Returns:
        Areas in km2, shape (...), float64; the relative error is about 1e-15 at every level.

    Raises:
        InputError: If an id is not valid; its row is named.

    References:
        A. Van Oosterom and J. Strackee, "The Solid Angle of a Plane Triangle" (1983). Each cell is two
        triangles with corners (1, u, v), whose triple product is just the product of the sides in u and v,
        so that nothing cancels in small cells.
    """
    ids = check_cell_ids(cell_ids)
    _, first, second, side = locate(ids.reshape(-1))
    u0, u1 = st_to_uv(first), st_to_uv(first + side)
    v0, v1 = st_to_uv(second), st_to_uv(second + side)
    sides = uv_length(first, side) * uv_length(second, side)
    lower_right = _solid_angle_denominator((u0, v0), (u1, v0), (u1, v1))
    upper_left = _solid_angle_denominator((u0, v0), (u0, v1), (u1, v1))
    area = 2 * (np.arctan2(sides, lower_right) + np.arctan2(sides, upper_left))
    shaped: Floats = (area * EARTH_RADIUS_KM**2).reshape(ids.shape)[()]
    return shaped


def approx_area_km2(cell_ids: ArrayLike) -> Floats:
    """Areas of cells from the area element at their centers; cheaper than `area_km2`.

    Args:
        cell_ids: Cell ids, shape (...), uint64.

    Returns:
        Areas in km2, shape (...), float64. The largest relative error falls fourfold a level: 22 % at
        level 1, 5.6 % at 2, 1.5 % at 3, 0.37 % at 4, 0.093 % at 5; at level 0 it is 91 %.

    Raises:
        InputError: If an id is not valid; its row is named.
    """
    ids = check_cell_ids(cell_ids)
    _, first, second, side = locate(ids.reshape(-1))
    u, v = st_to_uv(first + side / 2), st_to_uv(second + side / 2)
    area = uv_length(first, side) * uv_length(second, side) * (1 + u * u + v * v) ** -1.5
    shaped: Floats = (area * EARTH_RADIUS_KM**2).reshape(ids.shape)[()]
    return shaped


def average_edge_km(level: int) -> float:
    """Mean length of the edges of all cells of a level.

    Args:
        level: Level, 0..30.

    Returns:
        Length in km: about 7842 at level 0, 0.0089 at level 20.

    Raises:
        InputError: If the level is out of range.

    References:
        s2metrics.cc, kAvgEdge of the quadratic projection.
    """
    check_level(level)
    return float(1.459213746386106062 * 0.5**level * EARTH_RADIUS_KM)


def _solid_angle_denominator(*points: tuple[Floats, Floats]) -> Floats:
    """Denominator of the tangent of half the solid angle of the triangle (1, u, v) of three points."""
    norms = [np.sqrt(1 + u * u + v * v) for u, v in points]
    total = norms[0] * norms[1] * norms[2]
    for k in range(3):
        (u1, v1), (u2, v2) = points[k - 1], points[k - 2]
        total = total + (1 + u1 * u2 + v1 * v2) * norms[k]
    return np.asarray(total)
