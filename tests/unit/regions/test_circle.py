import json

import numpy as np
import pytest

from geotoken import cells
from geotoken.geo import EARTH_RADIUS_KM, haversine_km, to_xyz
from geotoken.regions import INSIDE, OUTSIDE, Region
from geotoken.regions.circle import HALF_EARTH_KM, Circle

CIRCLES = {
    "city": (-12.05, -77.03, 80),
    "garden": (48.8584, 2.2945, 0.05),
    "antimeridian": (-17, 179.5, 300),
    "around the pole": (89, 10, 500),
    "touching the pole": (-80, 0, 10 / 180 * HALF_EARTH_KM),
    "continent": (50, 20, 3000),
    "hemisphere": (0, 0, HALF_EARTH_KM / 2),
    "all but a hole": (60, 10, 15000),
    "all but a small hole": (30, 30, HALF_EARTH_KM - 5),
    "whole Earth": (10, 20, HALF_EARTH_KM),
    "whole Earth again": (0, 0, HALF_EARTH_KM),
}


@pytest.mark.parametrize("name", CIRCLES)
def test_relation_is_true_of_points_in_the_cells(name, check_relation):
    check_relation(Region.near(*CIRCLES[name]))


@pytest.mark.parametrize("name", CIRCLES)
def test_contains_is_the_angle_between_vectors(name):
    lat, lng, radius_km = CIRCLES[name]
    rng = np.random.default_rng(1)
    points = rng.normal(size=(2000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    center = to_xyz(lat, lng)
    # The angle by its tangent, which is sharp everywhere; the code has the haversine.
    angle = np.arctan2(np.linalg.norm(np.cross(points, center), axis=1), points @ center)
    clear = np.abs(angle * EARTH_RADIUS_KM - radius_km) > 0.01
    inside = Region.near(lat, lng, radius_km).contains(
        np.degrees(np.arcsin(points[:, 2])), np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    )
    np.testing.assert_array_equal(inside[clear], (angle * EARTH_RADIUS_KM <= radius_km)[clear])


def test_the_edge_belongs_to_the_circle():
    radius_km = float(haversine_km(10.0, 20.0, 11.0, 21.0))
    assert Circle(lat=10.0, lng=20.0, radius_km=radius_km).contains(np.array([11.0]), np.array([21.0])) == [
        True
    ]
    smaller = Circle(lat=10.0, lng=20.0, radius_km=np.nextafter(radius_km, 0))
    assert smaller.contains(np.array([11.0]), np.array([21.0])) == [False]


@pytest.mark.parametrize("radius_km", [500, 15000])
def test_cells_well_off_the_edge_are_certain(radius_km):
    rng = np.random.default_rng(2)
    lat, lng = np.degrees(np.arcsin(rng.uniform(-1, 1, 4000))), rng.uniform(-180, 180, 4000)
    distance_km = haversine_km(40, -100, lat, lng)
    off_edge = np.abs(distance_km - radius_km) > 4 * cells.average_edge_km(8)
    relations = Region.near(40, -100, radius_km).relation(cells.from_lat_lng(lat, lng, 8)[off_edge])
    np.testing.assert_array_equal(relations, np.where(distance_km < radius_km, INSIDE, OUTSIDE)[off_edge])


@pytest.mark.parametrize("name", CIRCLES)
def test_the_drawing_has_the_area_and_the_points_of_the_circle(name):
    region = Region.near(*CIRCLES[name])
    drawing = json.loads(json.dumps(region.to_geojson()))
    redrawn = Region.geojson(drawing)
    rng = np.random.default_rng(3)
    lat, lng = np.degrees(np.arcsin(rng.uniform(-1, 1, 4000))), rng.uniform(-180, 180, 4000)
    clat, clng, radius_km = CIRCLES[name]
    # Chords of 2 degrees lie within the circle by 2e-4 of the radius, and more where the map is stretched.
    clear = (np.abs(haversine_km(clat, clng, lat, lng) - radius_km) > 0.02 * min(radius_km, 3000)) & (
        abs(lat) < 89
    )
    np.testing.assert_array_equal(redrawn.contains(lat, lng)[clear], region.contains(lat, lng)[clear])
    num_points = sum(len(ring) for polygon in drawing["coordinates"] for ring in polygon)
    assert num_points > 64 or "whole" in name
