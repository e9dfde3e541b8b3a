"""Cells of all kinds, and points spread over cells: what every shape is checked against."""

from collections.abc import Callable

import numpy as np
import pytest

from geotoken import cells
from geotoken.regions import INSIDE, OUTSIDE, Region

# Poles, antimeridian, corners and edges of the cube's faces, the origin.
SPECIAL = [(90, 0), (-90, 0), (0, 180), (45, -180), (-70, 180), (35.26438968, 45), (-35.26438968, -135)]
SPECIAL += [(0, 45), (0, -45), (45, 0), (-45, 90), (0, 0), (89.9999, 179.9999), (-16.8, -179.9999)]


def cells_around(lat: np.ndarray, lng: np.ndarray, seed: int = 0) -> np.ndarray:
    """Cells of random levels 0..30 that hold the points, and all cells of level 0 and 1, shape (N,)."""
    rng = np.random.default_rng(seed)
    leaves = np.atleast_1d(cells.from_lat_lng(lat, lng))
    faces = np.arange(1, 12, 2, dtype=np.uint64) << np.uint64(60)
    ids = [faces, cells.children(faces).reshape(-1)]
    levels = rng.integers(0, 31, len(leaves))
    ids += [cells.parent(leaves[levels == level], level) for level in range(31)]
    return np.concatenate(ids)


def points_in(cell_ids: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random leaves, the first and last leaf, center and corners of cells; shape (N, count + 7) each."""
    rng = np.random.default_rng(seed)
    first, last = cells.range_min(cell_ids)[:, None], cells.range_max(cell_ids)[:, None]
    offset = (rng.random((len(cell_ids), count)) * ((last - first) // 2 + 1)).astype(np.uint64)
    leaves = np.minimum(first + 2 * offset, last)
    lat, lng = cells.to_lat_lng(np.concatenate([leaves, first, last, cell_ids[:, None]], axis=1))
    corner_lat, corner_lng = cells.corners(cell_ids)
    return np.concatenate([lat, corner_lat], axis=1), np.concatenate([lng, corner_lng], axis=1)


@pytest.fixture(scope="session")
def check_relation() -> Callable[[Region], np.ndarray]:
    """Checks that what a region says of cells is true of points in them; gives ids, relations, purity."""

    def check(
        region: Region, seed: int = 0, num_points: int = 400
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        rings = [np.array(r) for p in region.to_geojson()["coordinates"] for r in p]
        edge = np.concatenate(rings)[rng.integers(0, sum(map(len, rings)), num_points)]
        spread = 10.0 ** rng.uniform(-8, 1, (num_points, 2))
        edge = np.clip(edge + rng.normal(size=(num_points, 2)) * spread, (-200, -90), (200, 90))
        far_lat = np.degrees(np.arcsin(rng.uniform(-1, 1, num_points)))
        special = np.array(SPECIAL)
        lat = np.concatenate([edge[:, 1], far_lat, np.repeat(special[:, 0], 8)])
        lng = np.concatenate([edge[:, 0], rng.uniform(-180, 180, num_points), np.repeat(special[:, 1], 8)])
        ids = cells_around(lat, lng, seed)
        relations = region.relation(ids)
        assert relations.dtype == np.int8
        inside = region.contains(*points_in(ids, 20, seed))
        for row in np.flatnonzero((relations == INSIDE) & ~inside.all(axis=1)):
            pytest.fail(f"cell {cells.to_hex(ids[row])} is said to be inside {region} and is not")
        for row in np.flatnonzero((relations == OUTSIDE) & inside.any(axis=1)):
            pytest.fail(f"cell {cells.to_hex(ids[row])} is said to be outside {region} and is not")
        # What is true of a cell is said of its children too.
        parents = ids[cells.level(ids) < 30]
        of_children = region.relation(cells.children(parents))
        of_parents = region.relation(parents)
        assert (of_children[of_parents == INSIDE] == INSIDE).all()
        assert (of_children[of_parents == OUTSIDE] == OUTSIDE).all()
        return ids, relations, np.where(inside.all(axis=1), 1, np.where(inside.any(axis=1), 0, -1))

    return check
