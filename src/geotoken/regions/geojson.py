"""Polygons from GeoJSON given by a user: a file or a mapping that is already read.

Owns the checks and the messages; must not know cells.

References:
    RFC 7946: positions are (longitude, latitude), edges are straight lines in these coordinates (3.1.1).
"""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geotoken.errors import InputError
from geotoken.regions.polygons import unite, wrap
from geotoken.regions.shape import Floats

_MAX_BYTES = 64 << 20
_ALLOWED = "allowed are Polygon, MultiPolygon, and a Feature, FeatureCollection or GeometryCollection of them"


def read_polygons(source: str | PathLike[str] | Mapping[str, Any]) -> shapely.MultiPolygon:
    """Read the polygons of GeoJSON.

    Args:
        source: Path of a file of at most 64 MB, or what it would hold.

    Returns:
        Valid polygons on the map, cut at the antimeridian.

    Raises:
        InputError: If there is no such file, it is not GeoJSON, it has points or lines, a position is
            impossible, or no area is left.
    """
    what = "the GeoJSON" if isinstance(source, Mapping) else f"{Path(source).name}"
    document = source if isinstance(source, Mapping) else _read(Path(source))
    polygons = []
    waiting: list[Any] = [document]
    while waiting:  # not recursive: a file may be nested deeper than Python's stack
        node = waiting.pop()
        kind = node.get("type") if isinstance(node, Mapping) else None
        if kind == "FeatureCollection":
            waiting.extend(_members(node, "features", what))
        elif kind == "Feature":
            if node.get("geometry") is not None:  # RFC 7946 allows a feature without a place
                waiting.append(node["geometry"])
        elif kind == "GeometryCollection":
            waiting.extend(_members(node, "geometries", what))
        elif kind == "Polygon":
            polygons.append(_polygon(_members(node, "coordinates", what), what))
        elif kind == "MultiPolygon":
            polygons.extend(_polygon(rings, what) for rings in _members(node, "coordinates", what))
        elif kind in ("Point", "MultiPoint", "LineString", "MultiLineString"):
            raise InputError(f"{what} has a {kind}, which has no area; {_ALLOWED}")
        else:
            raise InputError(f"{what} is not GeoJSON: an object has the type {kind!r}; {_ALLOWED}")
    united = unite(polygons)
    if united.is_empty:
        raise InputError(f"{what} has no polygon with an area; {_ALLOWED}")
    return united


def _read(path: Path) -> Any:
    """The JSON value in a file.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(
                f"{path.name} has {size / 1e6:.0f} MB; at most {_MAX_BYTES / 1e6:.0f} are read: simplify it"
            )
        text = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; give the path of a .geojson file") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give the path of a .geojson file"
        ) from None
    if not text.strip():
        raise InputError(f"{path.name} is empty; it should hold GeoJSON, {_ALLOWED}")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"{path.name} is not JSON ({why}); it should hold GeoJSON, {_ALLOWED}") from None


def _members(node: Mapping[str, Any], key: str, what: str) -> list[Any]:
    """The list that an object holds under a key.

    Raises:
        InputError: If there is none.
    """
    members = node.get(key)
    if not isinstance(members, list | tuple):
        raise InputError(f"{what} is not GeoJSON: a {node['type']} must have a list {key!r}")
    return list(members)


def _polygon(rings: Any, what: str) -> shapely.MultiPolygon:
    """A polygon of a list of rings, cut to the map.

    Raises:
        InputError: If a ring is not one.
    """
    if not isinstance(rings, list | tuple):
        raise InputError(f"{what} is not GeoJSON: a polygon must be a list of rings")
    return wrap(*(_ring(ring, what) for ring in rings)) if rings else shapely.MultiPolygon()


def _ring(ring: Any, what: str) -> Floats:
    """Positions of a ring, shape (P, 2), longitude first.

    Raises:
        InputError: If they are not numbers, out of range or too few.
    """
    try:
        points = np.array([tuple(position[:2]) for position in ring])
    except (TypeError, ValueError, KeyError):
        points = np.array(None)
    if points.ndim != 2 or points.shape[1] != 2 or points.dtype.kind not in "iuf":
        raise InputError(f"{what} is not GeoJSON: a ring must be a list of [longitude, latitude] numbers")
    points = points.astype(np.float64)
    bad = ~((np.abs(points[:, 0]) <= 360.0) & (np.abs(points[:, 1]) <= 90.0))
    if bad.any():
        lng, lat = points[np.argmax(bad)].tolist()
        is_swapped = abs(lng) <= 90.0 and abs(lat) <= 360.0
        hint = (
            "were they swapped?" if is_swapped else "are they meters of a projected system? Convert to WGS 84"
        )
        raise InputError(
            f"{what} has the position [{lng:g}, {lat:g}]; GeoJSON is [longitude, latitude] in degrees, the "
            f"latitude in [-90, 90]: {hint}"
        )
    if len(points) < 4 or (points[0] != points[-1]).any():
        raise InputError(
            f"{what} has a ring that is not closed; it needs four positions, the last like the first"
        )
    return points
