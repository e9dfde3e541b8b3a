"""Names of places, offline: the settlement, division and country of a point.

Owns the bundled gazetteer and the choice of the name; must not know photos or models.

The gazetteer is made by tools/build_places.py from GeoNames (https://www.geonames.org, CC BY 4.0).
"""

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geotoken.errors import ArtifactError
from geotoken.geo import EARTH_RADIUS_KM, check_lat_lng, haversine_km, to_xyz

Floats = NDArray[np.float64]

_FORMAT = 1
_KM_PER_ROOT_PERSON = 0.01  # a town of a million reaches 10 km from its center: 3200 people a km2


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a point is called."""

    city: str
    """Settlement that the point belongs to, or the nearest; in English where that is usual."""
    admin1: str
    """First-level division of the country, such as a state; empty where there is none."""
    country: str
    """English name of the country or territory."""
    country_code: str
    """ISO 3166-1 code of two letters; XK for Kosovo."""
    distance_km: float
    """Great-circle distance from the point to the center of the settlement, in km; large at sea."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gazetteer:
    """S settlements in D divisions; the settlements of a division are adjacent."""

    lat: Floats  # (S,)
    lng: Floats  # (S,)
    xyz: Floats  # (3, S), unit vectors
    radius_km: Floats  # (S,), how far a settlement of its population reaches
    names: list[bytes]  # (S,)
    division_starts: NDArray[np.int64]  # (D + 1,), first row of each division, then S
    division_names: list[str]  # (D,)
    division_countries: NDArray[np.int64]  # (D,), positions in the two lists of countries
    country_codes: list[str]
    country_names: list[str]
    about: dict[str, Any]


def nearest(lat: ArrayLike, lng: ArrayLike) -> list[Place]:
    """Name points by the settlements around them.

    The settlement nearest to a point gives its country and division. The city is then the settlement of
    that division whose built-up area is nearest, taken as a disk that grows with the population: the middle
    of Brooklyn is called New York City, not the quarter next door.

    Args:
        lat: Latitude in degrees, shape (N,) or a number, in [-90, 90].
        lng: Longitude in degrees, shape (N,) or a number, in [-360, 360].

    Returns:
        N places in order, one for two numbers. There is always one, however far: see `distance_km`.

    Raises:
        InputError: If a coordinate is not finite or out of range; its row is named.
        ArtifactError: If the bundled gazetteer is missing or of another format.
    """
    lat_array, lng_array = (np.atleast_1d(values).reshape(-1) for values in check_lat_lng(lat, lng))
    gazetteer = _load()
    rows = [_nearest_row(gazetteer.xyz, point) for point in to_xyz(lat_array, lng_array)]
    divisions = np.searchsorted(gazetteer.division_starts, rows, side="right") - 1
    points = zip(lat_array.tolist(), lng_array.tolist(), divisions.tolist(), strict=True)
    return [_name(gazetteer, *point) for point in points]


def settlements() -> tuple[Floats, Floats]:
    """All settlements of the table.

    Returns:
        Latitudes and longitudes in degrees, each of shape (S,).
    """
    gazetteer = _load()
    return gazetteer.lat, gazetteer.lng


def largest_near(
    lat: float, lng: float, radii_km: Sequence[float], count: int
) -> list[tuple[str, float, float, float]]:
    """The largest settlements around a point, for the labels of a map at several scales.

    Args:
        lat: Latitude of the point in degrees.
        lng: Longitude of the point in degrees.
        radii_km: Great-circle distances in km, >= 0, falling.
        count: How many at most within each distance.

    Returns:
        Name, latitude and longitude in degrees, and the first of the distances within which it is among the
        largest, of each settlement: by falling distance, then by falling population.

    Raises:
        ArtifactError: If the bundled gazetteer is missing or of another format.
    """
    gazetteer = _load()
    cosine = to_xyz(lat, lng) @ gazetteer.xyz  # (S,)
    found: dict[int, float] = {}
    for radius_km in radii_km:
        near = np.flatnonzero(cosine >= np.cos(radius_km / EARTH_RADIUS_KM))
        for row in near[np.argsort(-gazetteer.radius_km[near], kind="stable")[:count]].tolist():
            found.setdefault(row, radius_km)
    return [
        (gazetteer.names[row].decode(), float(gazetteer.lat[row]), float(gazetteer.lng[row]), radius_km)
        for row, radius_km in found.items()
    ]


def about() -> dict[str, Any]:
    """Origin of the bundled gazetteer.

    Returns:
        Its `source`, `date` (year and month), `license` and `format`.

    Raises:
        ArtifactError: If the bundled gazetteer is missing or of another format.
    """
    return dict(_load().about)


def _nearest_row(xyz: Floats, point: Floats) -> int:
    """Row of the unit vector nearest to a point, shape (3,); faster for one point than a matrix product."""
    cosine = xyz[0] * point[0]
    cosine += xyz[1] * point[1]
    cosine += xyz[2] * point[2]
    return int(np.argmax(cosine))


def _name(gazetteer: _Gazetteer, lat: float, lng: float, division: int) -> Place:
    """Place of a point that lies in a division, given by its row."""
    start, stop = gazetteer.division_starts[division : division + 2]
    distances_km = haversine_km(lat, lng, gazetteer.lat[start:stop], gazetteer.lng[start:stop])
    best = int(np.argmin(distances_km - gazetteer.radius_km[start:stop]))
    country = gazetteer.division_countries[division]
    return Place(
        city=gazetteer.names[start + best].decode(),
        admin1=gazetteer.division_names[division],
        country=gazetteer.country_names[country],
        country_code=gazetteer.country_codes[country],
        distance_km=float(distances_km[best]),
    )


@cache
def _load() -> _Gazetteer:
    """Read the gazetteer once.

    Raises:
        ArtifactError: If its file is missing, damaged or of another format.
    """
    path = files("geotoken") / "data" / "places.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            data = {name: arrays[name] for name in arrays.files}
        about = json.loads(data["about"].tobytes())
    except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise ArtifactError(f"the place names cannot be read ({error}); install geotoken again") from error
    if about["format"] != _FORMAT:
        raise ArtifactError(
            f"the place names have format {about['format']}, not {_FORMAT}; install geotoken again"
        )
    lat, lng = (np.cumsum(data[name], dtype=np.int64) / 1000 for name in ("lat", "lng"))
    return _Gazetteer(
        lat=lat,
        lng=lng,
        xyz=np.ascontiguousarray(to_xyz(lat, lng).T),
        radius_km=data["root_population"] * _KM_PER_ROOT_PERSON,
        names=data["names"].tobytes().split(b"\n"),
        division_starts=np.concatenate([[0], np.cumsum(data["division_sizes"], dtype=np.int64)]),
        division_names=data["division_names"].tobytes().decode().split("\n"),
        division_countries=data["division_countries"].astype(np.int64),
        country_codes=data["country_codes"].tobytes().decode().split("\n"),
        country_names=data["country_names"].tobytes().decode().split("\n"),
        about=about,
    )
