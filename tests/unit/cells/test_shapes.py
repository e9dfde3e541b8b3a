import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotoken import cells
from geotoken.errors import InputError
from geotoken.geo import EARTH_RADIUS_KM, haversine_km, to_xyz

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "cells.json").read_text())
IDS = cells.from_hex([cell["cell_hex"] for cell in GOLDEN["cells"]])
EARTH_KM2 = 4 * math.pi * EARTH_RADIUS_KM**2


@pytest.fixture(scope="module")
def s2():
    return pytest.importorskip("s2geometry")


def random_points(num_points, seed):
    rng = np.random.default_rng(seed)
    return np.degrees(np.arcsin(rng.uniform(-1, 1, num_points))), rng.uniform(-180, 180, num_points)


def oracle_leaves(s2, lat, lng):
    points = zip(lat.tolist(), lng.tolist(), strict=True)
    return np.array([s2.S2CellId(s2.S2LatLng.FromDegrees(*point)).id() for point in points], dtype=np.uint64)


def test_golden_cells_of_points():
    lat = [point["lat"] for point in GOLDEN["points"]]
    lng = [point["lng"] for point in GOLDEN["points"]]
    for level in range(31):
        expected = [point["cell_hex"][level] for point in GOLDEN["points"]]
        assert cells.to_hex(cells.from_lat_lng(lat, lng, level)).tolist() == expected
    assert cells.to_hex(cells.from_xyz(to_xyz(lat, lng), 24)).tolist() == [
        point["cell_hex"][24] for point in GOLDEN["points"]
    ]


def test_golden_centers_corners_and_areas():
    np.testing.assert_allclose(
        np.stack(cells.to_lat_lng(IDS), axis=-1),
        [cell["center"] for cell in GOLDEN["cells"]],
        atol=1e-9,
        rtol=0,
    )
    lat, lng = cells.corners(IDS)
    expected = np.array([cell["corners"] for cell in GOLDEN["cells"]])
    np.testing.assert_allclose(lat, expected[..., 0], atol=1e-9, rtol=0)
    # A corner on the antimeridian may have either sign.
    apart = haversine_km(lat, lng, expected[..., 0], expected[..., 1])
    assert apart.max() < 1e-9 * 111
    # The reference itself loses digits in the smallest cells.
    area = [cell["area_km2"] for cell in GOLDEN["cells"]]
    np.testing.assert_allclose(cells.area_km2(IDS), area, rtol=1e-6)
    np.testing.assert_allclose(cells.area_km2(IDS)[:18], area[:18], rtol=1e-12)


@pytest.mark.parametrize("num_points", [50_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_ids_of_random_points_equal_the_reference(s2, num_points):
    lat, lng = random_points(num_points, seed=1)
    leaves = oracle_leaves(s2, lat, lng)
    for level in range(31):
        np.testing.assert_array_equal(cells.from_lat_lng(lat, lng, level), cells.parent(leaves, level))


def test_ids_on_poles_antimeridian_and_face_edges_equal_the_reference(s2):
    corner = math.degrees(math.atan(math.sqrt(0.5)))
    near_45 = [np.nextafter(45, 0), np.nextafter(45, 90)]
    lat = [*range(-90, 91, 5), corner, -corner, *near_45, -0.0, 5e-324, -1e-300]
    lng = [*np.arange(-180, 181, 7.5), *near_45, np.nextafter(180, 0), -np.nextafter(180, 0), 1e-300]
    lat, lng = (grid.ravel() for grid in np.meshgrid(np.array(lat), np.array(lng)))
    np.testing.assert_array_equal(cells.from_lat_lng(lat, lng), oracle_leaves(s2, lat, lng))


def test_vectors_on_cube_edges_and_corners_equal_the_reference(s2):
    xyz = np.array([v for v in itertools.product([-1, -0.5, -0.0, 0.0, 1 / 3, 0.5, 1], repeat=3) if any(v)])
    expected = [s2.S2CellId(s2.S2Point_FromRaw(*v)).id() for v in xyz.tolist()]
    np.testing.assert_array_equal(cells.from_xyz(xyz), np.array(expected, dtype=np.uint64))


@pytest.mark.parametrize("level", range(31))
def test_centers_and_corners_of_every_level_equal_the_reference(s2, level):
    cell_ids = cells.from_lat_lng(*random_points(40, seed=level), level)
    center_lat, center_lng = cells.to_lat_lng(cell_ids)
    corner_lat, corner_lng = cells.corners(cell_ids)
    for row, cell_id in enumerate(cell_ids.tolist()):
        center = s2.S2CellId(cell_id).ToLatLng()
        assert center_lat[row] == pytest.approx(center.lat().degrees(), abs=1e-9, rel=0)
        assert center_lng[row] == pytest.approx(center.lng().degrees(), abs=1e-9, rel=0)
        for k in range(4):
            corner = s2.S2LatLng(s2.S2Cell(s2.S2CellId(cell_id)).GetVertex(k))
            apart = haversine_km(
                corner_lat[row, k], corner_lng[row, k], corner.lat().degrees(), corner.lng().degrees()
            )
            assert apart < 1e-9 * 111
    # Corners lie where four cells meet: the hardest points to encode.
    leaves = oracle_leaves(s2, corner_lat.ravel(), corner_lng.ravel())
    np.testing.assert_array_equal(cells.from_lat_lng(corner_lat, corner_lng).ravel(), leaves)


@given(st.floats(-90, 90), st.floats(-180, 180), st.integers(0, 30))
def test_center_of_a_cell_lies_in_it(lat, lng, level):
    cell_id = cells.from_lat_lng(lat, lng, level)
    assert cells.from_lat_lng(*cells.to_lat_lng(cell_id), level) == cell_id
    assert cells.from_xyz(cells.center_xyz(cell_id), level) == cell_id


def test_mixed_levels_give_what_each_gives_alone():
    cell_ids = IDS[::-1]
    alone = np.array([cells.to_lat_lng(cell_id) for cell_id in cell_ids])
    np.testing.assert_array_equal(np.stack(cells.to_lat_lng(cell_ids), axis=-1), alone)
    xyz = cells.center_xyz(cell_ids)
    np.testing.assert_allclose(np.linalg.norm(xyz, axis=-1), 1, rtol=1e-15)
    np.testing.assert_allclose(xyz, to_xyz(*cells.to_lat_lng(cell_ids)), atol=1e-15)


def test_chunks_do_not_show():
    lat, lng = random_points(20_000, seed=2)
    cell_ids = cells.from_lat_lng(lat, lng, 17)
    np.testing.assert_array_equal(
        cells.from_lat_lng(lat.reshape(100, 200), lng.reshape(100, 200), 17).ravel(), cell_ids
    )
    np.testing.assert_array_equal(cells.from_lat_lng(lat[::-1], lng[::-1], 17), cell_ids[::-1])
    np.testing.assert_array_equal(
        cells.to_lat_lng(cell_ids[8190:8195])[1], cells.to_lat_lng(cell_ids)[1][8190:8195]
    )


def test_arguments_are_left_alone():
    lat, lng = random_points(10, seed=3)
    copies = lat.copy(), lng.copy()
    cell_ids = cells.from_lat_lng(lat, lng, 9)
    np.testing.assert_array_equal((lat, lng), copies)
    before = cell_ids.copy()
    for function in (
        cells.to_lat_lng,
        cells.center_xyz,
        cells.area_km2,
        cells.approx_area_km2,
        cells.corners,
    ):
        function(cell_ids)
    np.testing.assert_array_equal(cell_ids, before)
    xyz = to_xyz(lat, lng)
    cells.from_xyz(xyz)
    np.testing.assert_array_equal(xyz, to_xyz(lat, lng))


def test_scalars_broadcasting_and_empty_arrays():
    assert cells.from_lat_lng(1.0, 2.0, 5).shape == ()
    assert cells.from_lat_lng([1.0, 3.0], 2.0, 5).shape == (2,)
    assert cells.from_lat_lng([], [], 5).shape == (0,)
    assert cells.from_xyz(np.empty((0, 3))).shape == (0,)
    empty = np.empty((0, 2), dtype=np.uint64)
    assert cells.to_lat_lng(empty)[0].shape == cells.area_km2(empty).shape == (0, 2)
    assert cells.center_xyz(empty).shape == (0, 2, 3)
    assert cells.corners(empty)[0].shape == (0, 2, 4)
    assert cells.area_km2(IDS[0]).ndim == cells.to_lat_lng(IDS[0])[0].ndim == 0
    assert cells.corners(IDS[0])[0].shape == (4,)


def test_areas_of_children_add_up_at_every_level():
    faces = cells.from_hex(["1", "3", "5", "7", "9", "b"])
    np.testing.assert_allclose(cells.area_km2(faces).sum(), EARTH_KM2, rtol=1e-14)
    for level in range(30):
        cell_ids = cells.from_lat_lng(*random_points(50, seed=level), level)
        total = cells.area_km2(cells.children(cell_ids)).sum(axis=-1)
        np.testing.assert_allclose(total, cells.area_km2(cell_ids), rtol=3e-15)


def test_approximate_area_is_as_good_as_documented():
    documented = {0: 0.91, 1: 0.222, 2: 0.056, 3: 0.015, 4: 0.0038, 5: 0.00095, 6: 0.00024, 20: 1e-9}
    for level, error in documented.items():
        cell_ids = cells.from_lat_lng(*random_points(5000, seed=level), level)
        assert np.abs(cells.approx_area_km2(cell_ids) / cells.area_km2(cell_ids) - 1).max() < error


def test_average_edge_matches_cells():
    faces = cells.from_hex(["1", "3", "5", "7", "9", "b"])
    xyz = to_xyz(*cells.corners(cells.children(faces, 6).ravel()))
    edges = np.linalg.norm(xyz - np.roll(xyz, 1, axis=1), axis=-1)
    assert cells.average_edge_km(6) == pytest.approx(edges.mean() * EARTH_RADIUS_KM, rel=1e-3)
    assert cells.average_edge_km(7) == cells.average_edge_km(6) / 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 90.0001, -91])
def test_bad_latitudes_name_their_row(bad):
    with pytest.raises(InputError, match=r"row 2: latitude .*\[-90, 90\]"):
        cells.from_lat_lng([0, 1, bad], [0, 1, 2])


@pytest.mark.parametrize("bad", [-1, 31, 20.0, "20", None])
def test_bad_levels(bad):
    for function in (lambda level: cells.from_lat_lng(0, 0, level), cells.average_edge_km):
        with pytest.raises(InputError, match="0 to 30"):
            function(bad)


def test_bad_vectors():
    with pytest.raises(InputError, match="row 1: vector"):
        cells.from_xyz([[0, 0, 1], [0, 0, 0]])
    with pytest.raises(InputError, match="row 0: vector"):
        cells.from_xyz([0, math.nan, 1])
    with pytest.raises(InputError, match="shape"):
        cells.from_xyz([0, 1])


@pytest.mark.parametrize("num_points", [1, 2, 1000])
def test_from_xyz_leaves_its_argument_as_it_was(num_points):
    rng = np.random.default_rng(num_points)
    vectors = rng.normal(size=(num_points, 3))
    before = vectors.copy()
    cells.from_xyz(vectors)
    np.testing.assert_array_equal(vectors, before)
