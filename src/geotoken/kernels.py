"""Radial kernels on the sphere in closed form: density, total mass and quantiles.

Owns one kernel family; must not know where the points come from.

A kernel of scale s has density c (1 + u / s^2)^-2 at squared chord u from its center, so it is flat within
s and falls as the fourth power of distance beyond: a bivariate Student t with two degrees of freedom, put on
the sphere. The area of a spherical cap of squared chord u is exactly pi u, which gives mass and quantiles in
closed form: the cap holds (1 - 1 / (1 + u / s^2)) of the untruncated total.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geotoken.geo import EARTH_RADIUS_KM

Floats = NDArray[np.float64]
Number = TypeVar("Number", np.float32, np.float64)

MAX_CHORD2 = 4 * EARTH_RADIUS_KM**2
"""Squared chord of the antipode, km2."""
_CHUNK = 80_000  # products this small are not worth threads to BLAS, which cost more than they bring here
GOLDEN_ANGLE_RAD = np.pi * (3 - np.sqrt(5))


def chord2_km2(a: Floats, b: Floats) -> Floats:
    """Squared chord between every pair of two sets of unit vectors.

    Args:
        a: Unit vectors, shape (N, 3).
        b: Unit vectors, shape (M, 3).

    Returns:
        Squared chord in km2, in [0, 4 R^2], shape (N, M); exact to about 1e-8 km2.
    """
    products = np.empty((len(a), len(b)))
    columns_a_chunk = max(1, _CHUNK // max(1, len(a)))
    for start in range(0, len(b), columns_a_chunk):
        columns = slice(start, start + columns_a_chunk)
        np.matmul(a, b[columns].T, out=products[:, columns])
    np.subtract(1.0, products, out=products)
    np.maximum(products, 0.0, out=products)
    products *= 2 * EARTH_RADIUS_KM**2
    return products


def peak_density(scale_km: Floats) -> Floats:
    """Density at the center of a kernel of unit mass.

    Args:
        scale_km: Scales in km, > 0, any shape.

    Returns:
        Density per km2, same shape.
    """
    square = np.square(scale_km)
    return np.asarray((1 / square + 1 / MAX_CHORD2) / np.pi)


def falloff(chord2: NDArray[Number], scale_km: float) -> NDArray[Number]:
    """Density relative to the center.

    Args:
        chord2: Squared chords in km2, any shape, of single or double precision.
        scale_km: Scale in km, > 0.

    Returns:
        (1 + u / s^2)^-2, in (0, 1], same shape and precision.
    """
    values = chord2 * (1 / scale_km**2)
    values += 1.0
    np.reciprocal(values, out=values)
    np.square(values, out=values)
    return values


def chord2_holding(held: Floats, scale_km: float | Floats) -> Floats:
    """Squared chord of the cap around a kernel's center that holds a share of its mass.

    Args:
        held: Shares, in [0, 1], shape (...).
        scale_km: Scale in km, > 0; or one for each share, shape (...).

    Returns:
        Squared chords in km2, same shape.
    """
    square = scale_km**2
    within = held * (MAX_CHORD2 / (MAX_CHORD2 + square))
    return np.asarray(square * within / (1 - within))


def spiral(centers: Floats, chord2: Floats) -> Floats:
    """Points around each center at given distances, turning by the golden angle from one to the next.

    Args:
        centers: Unit vectors, shape (E, 3).
        chord2: Squared chord of each point in km2, shape (M,).

    Returns:
        Unit vectors, shape (E, M, 3).
    """
    unit2 = chord2 / EARTH_RADIUS_KM**2
    along = 1 - unit2 / 2
    across = np.sqrt(unit2 * (1 - unit2 / 4))
    angle = GOLDEN_ANGLE_RAD * np.arange(len(chord2))
    axis = np.eye(3)[np.argmin(np.abs(centers), axis=1)]
    east = np.cross(axis, centers)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(centers, east)
    points: Floats = centers[:, None] * along[:, None]
    points += east[:, None] * (across * np.cos(angle))[:, None]
    points += north[:, None] * (across * np.sin(angle))[:, None]
    return points
