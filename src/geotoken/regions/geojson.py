"""Polygons from GeoJSON given by a user: a file or a mapping that is already read.

Owns the checks and the messages; must not know cells.

References:
    RFC 7946: positions are (longitude, latitude), edges are straight lines in these coordinates (3.1.1).
"""

import json
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import shapely.errors

from geotoken.errors import InputError
from geotoken.files import check_regular
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
    try:
        united = unite([wrap(*rings) for rings in _polygons(document, what)])
    except shapely.errors.GEOSException as error:
        raise InputError(f"{what} has polygons that cannot be repaired ({error}); draw them anew") from None
    if united.is_empty:
        raise InputError(f"{what} has no polygon with an area; {_ALLOWED}")
    return united


def _polygons(document: Any, what: str) -> Iterator[list[Floats]]:
    """The rings of each polygon in a GeoJSON value, the outer one first, each of shape (P, 2).

    Raises:
        InputError: If the value is not GeoJSON, or has points or lines.
    """
    waiting = [document]
    while waiting:  # not recursive: a file may be nested deeper than Python's stack
        node = waiting.pop()
        kind = node.get("type") if isinstance(node, Mapping) else None
        if kind == "FeatureCollection":
            waiting += _members(node, "features", what)
        elif kind == "Feature":
            geometry = node.get("geometry")
            waiting += [] if geometry is None else [geometry]  # RFC 7946 allows a feature without a place
        elif kind == "GeometryCollection":
            waiting += _members(node, "geometries", what)
        elif kind in ("Polygon", "MultiPolygon"):
            members = _members(node, "coordinates", what)
            for rings in members if kind == "MultiPolygon" else [members]:
                if not isinstance(rings, list | tuple):
                    raise InputError(f"{what} is not GeoJSON: a polygon must be a list of rings")
                if rings:
                    yield [_ring(ring, what) for ring in rings]
        elif kind in ("Point", "MultiPoint", "LineString", "MultiLineString"):
            raise InputError(f"{what} has a {kind}, which has no area; {_ALLOWED}")
        else:
            raise InputError(f"{what} is not GeoJSON: an object has the type {str(kind)[:40]!r}; {_ALLOWED}")


def _read(path: Path) -> Any:
    """The JSON value in a file.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        check_regular(path)
        size = path.stat().st_size
        text = path.read_bytes() if size <= _MAX_BYTES else b""
    except FileNotFoundError:
        raise InputError(f"there is no file {str(path)!r}; give the path of a .geojson file") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path.name!r} cannot be read ({why}); give the path of a .geojson file") from None
    if size > _MAX_BYTES:
        raise InputError(
            f"{path.name} has {size / 1e6:.0f} MB; at most {_MAX_BYTES / 1e6:.0f} are read: simplify it"
        )
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
