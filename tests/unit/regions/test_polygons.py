from fractions import Fraction

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoken import cells
from geotoken.regions import INSIDE, OUTSIDE, Region
from geotoken.regions.polygons import WORLD, Polygons, to_multipolygon, wrap

small = st.integers(-30, 30)
rings = st.lists(st.tuples(small, small), min_size=3, max_size=9, unique=True)


def side(ring, x, y):
    """1 within a ring by the even-odd rule, 0 on it, -1 outside; exact, by counting crossings."""
    x, y, odd = Fraction(x), Fraction(y), False
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        turn = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        if turn == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return 0
        if (y1 > y) != (y2 > y) and (turn > 0) == (y2 > y1):
            odd = not odd
    return 1 if odd else -1


def region_of(*rings):
    coordinates = [[list(p) for p in [*ring, ring[0]]] for ring in rings]
    return Region.geojson({"type": "Polygon", "coordinates": coordinates})


@settings(deadline=None, max_examples=60)
@given(rings, st.lists(st.tuples(small, small), min_size=1, max_size=20))
def test_contains_is_the_even_odd_rule(ring, points):
    polygons = wrap(np.array(ring, dtype=float))
    if polygons.is_empty:
        return
    shape = Polygons.of(polygons)
    lng, lat = np.array(points, dtype=float).T
    inside = shape.contains(lat, lng)
    for is_inside, x, y in zip(inside.tolist(), lng.tolist(), lat.tolist(), strict=True):
        expected = side(ring, x, y)
        assert expected == 0 or is_inside == (expected == 1)


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.tuples(small, small)] * 3))
def test_the_edge_of_a_triangle_belongs_to_it(corners):
    (x1, y1), (x2, y2), (x3, y3) = corners
    if (x2 - x1) * (y3 - y1) == (y2 - y1) * (x3 - x1):
        return
    xs, ys = (grid.reshape(-1) for grid in np.meshgrid(np.arange(-30, 31), np.arange(-30, 31)))
    inside = region_of(corners).contains(ys, xs)
    near = [i for i, (x, y) in enumerate(zip(xs.tolist(), ys.tolist(), strict=True)) if (x + y) % 7 == 0]
    assert all(inside[i] == (side(corners, int(xs[i]), int(ys[i])) >= 0) for i in near)
    assert region_of(corners).contains([y1, y2, y3], [x1, x2, x3]).all()


@settings(deadline=None, max_examples=15)
@given(rings, st.integers(-180, 180), st.integers(-60, 60))
def test_relation_is_true_of_points_in_the_cells(check_relation, ring, lng, lat):
    moved = [(x + lng, y + lat) for x, y in ring]
    if wrap(np.array(moved, dtype=float)).is_empty:
        return
    check_relation(region_of(moved), num_points=60)


WORLDWIDE = {
    "antimeridian": Region.bbox(170, -20, -170, 10),
    "up to the antimeridian": Region.bbox(170, -20, 180, 10),
    "from the antimeridian": Region.bbox(-180, -20, -170, 10),
    "one face": Region.bbox(0, 45, 90, 90),
    "north cap": Region.bbox(-180, 60, 180, 90),
    "half of the south cap": Region.bbox(0, -90, 180, -60),
    "everything": Region.bbox(-180, -90, 180, 90),
    "band": Region.bbox(-180, -1, 180, 1),
    "a meter": Region.bbox(10, 50, 10.00001, 50.00001),
    "hole across the antimeridian": region_of(
        [(160, -30), (200, -30), (200, 30), (160, 30)], [(175, -5), (190, -5), (180, 20)]
    ),
}


@pytest.mark.parametrize("name", WORLDWIDE)
def test_relation_holds_at_poles_and_antimeridian(name, check_relation):
    check_relation(WORLDWIDE[name])


def test_both_ends_of_the_map_are_one_meridian():
    for name in ("up to the antimeridian", "from the antimeridian", "antimeridian"):
        assert WORLDWIDE[name].contains([0, 0], [180, -180]).tolist() == [True, True]
    assert not WORLDWIDE["one face"].contains([50, 50], [180, -180]).any()


def test_a_pole_is_one_point():
    assert WORLDWIDE["north cap"].contains([90, 90, -90], [0, -123, 0]).tolist() == [True, True, False]
    assert WORLDWIDE["half of the south cap"].contains([-90, -90, -89], [90, -90, -90]).tolist() == [
        True,
        True,
        False,
    ]


def test_edges_are_straight_in_longitude_and_latitude():
    # A great circle from (50, 0) to (50, 60) passes 54 degrees north.
    region = region_of([(0, 40), (60, 40), (60, 50), (0, 50)])
    assert region.contains([49.9, 50.1], [30, 30]).tolist() == [True, False]
    assert region.relation(cells.from_lat_lng([49.9, 50.1], [30, 30], 14)).tolist() == [INSIDE, OUTSIDE]


def test_small_cells_off_the_edge_are_certain():
    region = region_of([(0, 0), (40, 10), (20, 50)])
    rng = np.random.default_rng(0)
    lng, lat = rng.uniform(-10, 50, 3000), rng.uniform(-10, 60, 3000)
    edge = shapely.LinearRing([(0, 0), (40, 10), (20, 50)])
    far = shapely.distance(edge, shapely.points(lng, lat)) > 1.0
    relations = region.relation(cells.from_lat_lng(lat, lng, 8))
    expected = np.where(region.contains(lat, lng), INSIDE, OUTSIDE)
    np.testing.assert_array_equal(relations[far], expected[far])


def test_wrapping_keeps_the_area_and_ends_at_the_antimeridian():
    wrapped = wrap(np.array([(170, 0), (200, 0), (185, 40)], dtype=float))
    assert wrapped.area == pytest.approx(600)
    assert wrapped.bounds == (-180, 0, 180, 40)
    assert wrap(np.array([(190, 0), (200, 0), (195, 10)], dtype=float)).bounds == (-170, 0, -160, 10)


def test_lines_and_points_are_left_out():
    mixed = shapely.GeometryCollection(
        [
            shapely.Point(0, 0),
            shapely.LineString([(0, 0), (1, 1)]),
            shapely.box(0, 0, 1, 1),
            shapely.MultiPolygon([WORLD]),
        ]
    )
    assert to_multipolygon(mixed).area == 1 + WORLD.area
