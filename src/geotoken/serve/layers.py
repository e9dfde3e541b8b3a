"""A posterior as GeoJSON: the cells of every level with their probabilities, and credible regions.

Owns the form and its bounds; must not know requests.

References:
    RFC 7946: longitude first, outer rings counter-clockwise (3.1.6), cut at the antimeridian (3.1.9).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from geotoken import cells
from geotoken.decoding import CellProbability, Posterior
from geotoken.pictures.tree import thin
from geotoken.regions.polygons import to_multipolygon, unite, wrap

MAX_CELLS: Final = 400
"""Cells listed of one level, the likeliest ones."""
MASS: Final = 0.999
"""Probability after which no further cells of a level are listed."""
CREDIBLE: Final = (0.5, 0.9)
"""Probabilities of the credible regions."""

_REGION_CELLS: Final = 2_000  # of the partition that a credible region is drawn from
_STRAIGHT_LEVEL: Final = 5  # from this level on the edges of a cell, some 3 degrees long, are drawn straight
_POLE_DEG: Final = 90 - 1e-9

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def layers(posterior: Posterior, path: Sequence[CellProbability]) -> dict[str, Any]:
    """A posterior as it can be drawn.

    Args:
        posterior: The posterior of a photo.
        path: The cells around its answer, one a token, coarsest first.

    Returns:
        `levels`, coarsest first, one a token: `level`, `num_cells` (of the Earth seen no finer than that),
        `probability` (of the cells listed, all together), `cells` (a FeatureCollection). The first feature is
        the cell around the answer; the others are the likeliest cells, likeliest first, coarser than the
        level where the posterior was not divided so far. Each has `level`, `cell` (S2's hexadecimal name),
        `probability`, and `answer` if it is the cell around the answer. `credible_regions`: `probability` and
        `geometry` (a MultiPolygon). JSON-ready.
    """
    coarse = thin(posterior, _REGION_CELLS)
    return {
        "levels": [_level(posterior, cell) for cell in path],
        "credible_regions": [_credible_region(coarse, probability) for probability in CREDIBLE],
    }


def cell_polygons(cell_ids: NDArray[np.uint64]) -> list[shapely.Geometry]:
    """Cells as polygons on the map.

    Args:
        cell_ids: Cell ids of any levels, shape (M,), uint64.

    Returns:
        M polygons of (longitude, latitude) in degrees; MultiPolygons where the antimeridian cuts them.
    """
    polygons: list[shapely.Geometry] = [None] * len(cell_ids)
    for rows, _, rings, across in _by_level(cell_ids):
        whole = shapely.polygons(rings)
        for i, row in enumerate(rows.tolist()):
            polygons[row] = wrap(_unwrapped(*rings[i, :-1].T)) if across[i] else whole[i]
    return polygons


def _geometries(cell_ids: NDArray[np.uint64]) -> list[dict[str, Any]]:
    """Cells as GeoJSON geometries with as many decimals as they are worth."""
    geometries: list[dict[str, Any]] = [{}] * len(cell_ids)
    for rows, level, rings, across in _by_level(cell_ids):
        rounded = np.round(rings, _digits(level)).tolist()
        for i, row in enumerate(rows.tolist()):
            if across[i]:
                geometries[row] = _geometry(wrap(_unwrapped(*rings[i, :-1].T)), _digits(level))
            else:
                geometries[row] = {"type": "Polygon", "coordinates": [rounded[i]]}
    return geometries


def _by_level(cell_ids: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], int, Floats, Bools]]:
    """Cells of one level after the other.

    Yields:
        Rows of the cells, shape (M',); their level; their rings, shape (M', P, 2); and whether each is across
        the antimeridian or at a pole, shape (M',).
    """
    levels = np.atleast_1d(cells.level(cell_ids))
    for level in np.unique(levels).tolist():
        rows = np.flatnonzero(levels == level)
        rings = _rings(cell_ids[rows], 2 ** max(_STRAIGHT_LEVEL - level, 0))
        jump, lat = np.abs(np.diff(rings[:, :, 0], axis=1)), np.abs(rings[:, :, 1])
        yield rows, level, rings, (jump.max(axis=1) > 180) | (lat.max(axis=1) > _POLE_DEG)


def _level(posterior: Posterior, answer: CellProbability) -> dict[str, Any]:
    """The cells of one level, that of the answer first."""
    cut = posterior.cut(answer.level)
    order = np.argsort(-cut.probability, kind="stable")
    size = min(int(np.searchsorted(np.cumsum(cut.probability[order]), MASS)) + 1, MAX_CELLS, len(order))
    likeliest = order[:size]
    others = likeliest[cut.cell_id[likeliest] != answer.cell_id]
    listed = np.append(answer.cell_id, cut.cell_id[others])
    probability = np.append(answer.probability, cut.probability[others]).tolist()
    levels, names = cells.level(listed).tolist(), cells.to_hex(listed).tolist()
    features: list[dict[str, Any]] = []
    for i, geometry in enumerate(_geometries(listed)):
        shown = float(f"{probability[i]:.4g}")
        properties = {"level": levels[i], "cell": names[i], "probability": shown}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    features[0]["properties"]["answer"] = True
    return {
        "level": answer.level,
        "num_cells": len(order),
        "probability": min(float(cut.probability[likeliest].sum()), 1.0),
        "cells": {"type": "FeatureCollection", "features": features},
    }


def _credible_region(posterior: Posterior, probability: float) -> dict[str, Any]:
    """The smallest region that holds a probability, as one shape."""
    region = posterior.credible_region(probability)
    digits = _digits(int(region.level.max()))
    whole = shapely.set_precision(unite(cell_polygons(region.cell_id)), 10.0**-digits)  # rounded, and valid
    return {"probability": probability, "geometry": _geometry(to_multipolygon(whole), digits)}


def _rings(cell_ids: NDArray[np.uint64], steps: int) -> Floats:
    """Points along the edges of cells, counter-clockwise, so many an edge.

    Returns:
        Longitudes and latitudes of closed rings, shape (M, 4 * steps + 1, 2).
    """
    lat, lng = (np.radians(values) for values in cells.corners(cell_ids))  # (M, 4)
    xyz = np.stack([np.cos(lat) * np.cos(lng), np.cos(lat) * np.sin(lng), np.sin(lat)], axis=-1)  # (M, 4, 3)
    share = (np.arange(steps) / steps)[:, None]  # (steps, 1)
    along = xyz[:, :, None] * (1 - share) + np.roll(xyz, -1, axis=1)[:, :, None] * share  # (M, 4, steps, 3)
    x, y, z = np.moveaxis(along.reshape(len(cell_ids), 4 * steps, 3), -1, 0)
    rings: Floats = np.degrees(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=-1))
    return np.concatenate([rings, rings[:, :1]], axis=1)


def _unwrapped(lng: Floats, lat: Floats) -> Floats:
    """A ring across the antimeridian or at a pole, shape (P,) each, with longitudes that do not jump.

    A point at a pole has no longitude: it becomes a piece of the edge of the map. A ring around a pole is
    closed along that edge.

    Returns:
        Longitudes and latitudes, shape (Q, 2).
    """
    at_pole = np.flatnonzero(np.abs(lat) >= _POLE_DEG)
    if len(at_pole):  # only a corner can be: begin after it, and give it the longitudes of both its edges
        first = int(at_pole[0])
        pole = float(np.copysign(90.0, lat[first]))
        rest_lng, rest_lat = np.roll(lng, -first)[1:], np.roll(lat, -first)[1:]
        rest_lng = np.unwrap(rest_lng, period=360)
        lng = np.concatenate([[rest_lng[0]], rest_lng, [rest_lng[-1]]])
        lat = np.concatenate([[pole], rest_lat, [pole]])
    else:
        lng = np.unwrap(np.append(lng, lng[0]), period=360)
        lat = np.append(lat, lat[0])
        if abs(lng[-1] - lng[0]) > 180:
            pole = float(np.copysign(90.0, lat.mean()))
            lng = np.concatenate([lng, [lng[-1], lng[0]]])
            lat = np.concatenate([lat, [pole, pole]])
    lng = lng - 360 * np.round((lng.min() + lng.max()) / 720)
    return np.stack([lng, lat], axis=1)


def _digits(level: int) -> int:
    """Decimals of a coordinate that show a cell to a thousandth of its edge, of some 90 / 2^level degrees."""
    return int(np.ceil(1 + level * np.log10(2)))


def _geometry(polygon: shapely.Geometry, digits: int) -> dict[str, Any]:
    """A GeoJSON MultiPolygon with rounded coordinates."""
    parts = [
        [
            np.round(shapely.get_coordinates(ring), digits).tolist()
            for ring in (part.exterior, *part.interiors)
        ]
        for part in shapely.get_parts(polygon)
    ]
    return {"type": "MultiPolygon", "coordinates": parts}
