import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotoken import geo
from geotoken.errors import InputError

lats = st.floats(-90, 90)
lngs = st.floats(-180, 180)


@pytest.mark.parametrize(
    ("start", "end", "expected_rad"),
    [
        ((0, 0), (0, 90), math.pi / 2),
        ((90, 0), (-90, 77), math.pi),
        ((0, -180), (0, 180), 0),
        ((0, 179), (0, -179), math.radians(2)),
        ((60, 0), (60, 180), math.radians(60)),
        ((0, 0), (1e-9, 0), math.radians(1e-9)),
    ],
)
def test_haversine_of_known_arcs(start, end, expected_rad):
    distance_km = geo.haversine_km(*start, *end)
    assert distance_km == pytest.approx(expected_rad * 6371.0088, rel=1e-12, abs=1e-9)


@given(lats, lngs, lats, lngs)
def test_haversine_agrees_with_unit_vectors_and_is_symmetric(lat1, lng1, lat2, lng2):
    a, b = geo.to_xyz(lat1, lng1), geo.to_xyz(lat2, lng2)
    angle = math.atan2(np.linalg.norm(np.cross(a, b)), a @ b)
    distance_km = geo.haversine_km(lat1, lng1, lat2, lng2)
    # Near antipodes the haversine loses half its digits: 1e-8 of the radius is 6 cm.
    assert distance_km == pytest.approx(angle * geo.EARTH_RADIUS_KM, rel=1e-9, abs=1e-3)
    assert geo.haversine_km(lat2, lng2, lat1, lng1) == pytest.approx(distance_km, rel=1e-12, abs=1e-9)


def test_haversine_broadcasts():
    assert geo.haversine_km(np.zeros((3, 1)), 0, [10, 20], 5).shape == (3, 2)


@given(lats, lngs)
def test_unit_vectors_round_trip(lat, lng):
    xyz = geo.to_xyz(lat, lng)
    assert np.linalg.norm(xyz) == pytest.approx(1, rel=1e-15)
    back = geo.from_xyz(3 * xyz)
    assert geo.haversine_km(lat, lng, *back) < 1e-9


def test_axes_of_unit_vectors():
    xyz = geo.to_xyz([0, 0, 90, 0], [0, 90, 0, 180])
    np.testing.assert_allclose(xyz, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0]], atol=1e-15)
    assert geo.to_xyz(np.zeros((2, 3)), 0).shape == (2, 3, 3)


def test_coordinates_are_wrapped_and_broadcast():
    lat, lng = geo.check_lat_lng([0, 1], 190)
    np.testing.assert_array_equal(lat, [0, 1])
    np.testing.assert_array_equal(lng, [-170, -170])
    np.testing.assert_array_equal(
        geo.check_lat_lng(0, [-360, -190, -180, 180, 200, 360])[1], [0, 170, -180, 180, -160, 0]
    )
    assert geo.check_lat_lng(np.float32(1), 2)[0].dtype == np.float64


@pytest.mark.parametrize(
    ("lat", "lng", "message"),
    [
        ([0, math.nan], [0, 0], "row 1: latitude nan"),
        ([0, 0], [math.inf, 0], "row 0: longitude inf"),
        ([0, 0, -90.5], [0, 0, 0], r"row 2: latitude -90.5 .*\[-90, 90\]"),
        ([[0, 0], [0, 0]], [[0, 0], [361, 0]], r"row 2: longitude 361.0 .*\[-360, 360\]"),
        (91, 0, "^latitude 91.0"),
        (0, math.nan, "^longitude nan"),
        ("north", 0, "latitude must be a number"),
        (0, None, "longitude nan"),
        (0, [[1], [1, 2]], "longitude must be a number"),
        ([1, 2], [1, 2, 3], "shape"),
    ],
)
def test_bad_coordinates_are_named(lat, lng, message):
    with pytest.raises(InputError, match=message):
        geo.check_lat_lng(lat, lng)


def test_empty_coordinates():
    assert geo.check_lat_lng([], [])[0].shape == (0,)


def test_geojson_puts_longitude_first():
    assert geo.to_geojson(np.float64(1), 2) == {"type": "Point", "coordinates": [2.0, 1.0]}
