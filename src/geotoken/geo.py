"""Points on Earth: checked latitude and longitude, unit vectors, great-circle distance, GeoJSON order.

Owns the sphere and its radius; must not know cells, tokens or photos.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geotoken.errors import InputError

Floats = NDArray[np.float64]

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth in km (IUGG); every distance and area of the project is on this sphere."""

HALF_EARTH_KM = float(np.pi * EARTH_RADIUS_KM)
"""Half the way around the Earth in km, the greatest distance of two points."""


def haversine_km(lat1: ArrayLike, lng1: ArrayLike, lat2: ArrayLike, lng2: ArrayLike) -> Floats:
    """Great-circle distance between two points.

    Args:
        lat1: Latitude of the first point in degrees, shape (...), broadcast with the others; not checked.
        lng1: Longitude of the first point in degrees, shape (...).
        lat2: Latitude of the second point in degrees, shape (...).
        lng2: Longitude of the second point in degrees, shape (...).

    Returns:
        Distance in km, shape (...) of the broadcast, in [0, pi * EARTH_RADIUS_KM].

    References:
        R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984), p. 159.
    """
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    half_lat = np.sin((phi2 - phi1) / 2)
    half_lng = np.sin((np.radians(lng2) - np.radians(lng1)) / 2)
    chord = half_lat * half_lat + np.cos(phi1) * np.cos(phi2) * half_lng * half_lng
    distance_km: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))
    return distance_km


def to_xyz(lat: ArrayLike, lng: ArrayLike) -> Floats:
    """Unit vectors of points: x towards (0, 0), y towards (0, 90 E), z towards the North Pole.

    Args:
        lat: Latitude in degrees, shape (...); not checked.
        lng: Longitude in degrees, shape (...).

    Returns:
        Unit vectors, shape (..., 3), float64.
    """
    phi, theta = np.radians(lat), np.radians(lng)
    cos_phi = np.cos(phi)
    x, y, z = np.broadcast_arrays(np.cos(theta) * cos_phi, np.sin(theta) * cos_phi, np.sin(phi))
    return np.stack([x, y, z], axis=-1)


def from_xyz(xyz: ArrayLike) -> tuple[Floats, Floats]:
    """Latitude and longitude of vectors of any length but 0; the inverse of `to_xyz`.

    Args:
        xyz: Vectors, shape (..., 3).

    Returns:
        Latitude in [-90, 90] and longitude in [-180, 180] in degrees, each of shape (...).
    """
    vectors = np.asarray(xyz, dtype=np.float64)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def check_lat_lng(lat: ArrayLike, lng: ArrayLike) -> tuple[Floats, Floats]:
    """Turn coordinates given by a caller into arrays that can be computed with.

    Args:
        lat: Latitude in degrees, shape (...), in [-90, 90].
        lng: Longitude in degrees, shape (...), in [-360, 360]; a value beyond 180 either way is wrapped.

    Returns:
        Latitude in [-90, 90] and longitude in [-180, 180] in degrees, float64, both of the broadcast shape.

    Raises:
        InputError: If a value is no number, not finite or out of range (the first such row is named), or
            if the shapes do not fit each other.
    """
    lat_array, lng_array = _to_floats(lat, "latitude"), _to_floats(lng, "longitude")
    if lat_array.shape != lng_array.shape:
        try:
            lat_array, lng_array = np.broadcast_arrays(lat_array, lng_array)
        except ValueError:
            raise InputError(
                f"latitudes have shape {lat_array.shape}, longitudes {lng_array.shape}; "
                "give one latitude and one longitude a point"
            ) from None
    if lat_array.size == 0:
        return lat_array, lng_array
    # NaN makes min() NaN and the comparison false, so one pass finds every kind of bad value.
    if not (lat_array.min() >= -90.0 and lat_array.max() <= 90.0):
        raise InputError(_name_bad_row(lat_array, "latitude", 90.0))
    if not (lng_array.min() >= -180.0 and lng_array.max() <= 180.0):
        if not (lng_array.min() >= -360.0 and lng_array.max() <= 360.0):
            raise InputError(_name_bad_row(lng_array, "longitude", 360.0))
        turns = np.where(np.abs(lng_array) > 180.0, np.copysign(360.0, lng_array), 0.0)
        lng_array = lng_array - turns
    return lat_array, lng_array


def to_geojson(lat: float, lng: float) -> dict[str, Any]:
    """A GeoJSON Point; outside `regions`, the only place where longitude comes first.

    Args:
        lat: Latitude in degrees.
        lng: Longitude in degrees.

    Returns:
        `{"type": "Point", "coordinates": [lng, lat]}`.

    References:
        RFC 7946, section 3.1.1.
    """
    return {"type": "Point", "coordinates": [float(lng), float(lat)]}


def _to_floats(values: ArrayLike, name: str) -> Floats:
    """Values as float64, shape (...).

    Raises:
        InputError: If they are not numbers.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} must be a number or an array of numbers in degrees") from None


def _name_bad_row(values: Floats, name: str, limit: float) -> str:
    """Message about the first value that is not a finite number up to the limit."""
    row = int(np.argmin(np.abs(values.ravel()) <= limit))
    where = f"row {row}: " if values.ndim else ""
    return (
        f"{where}{name} {values.ravel()[row]} is not a finite number in [-{limit:g}, {limit:g}] degrees; "
        "points are given as latitude, then longitude"
    )
