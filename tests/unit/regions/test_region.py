import dataclasses
import json
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoken import cells
from geotoken.errors import InputError
from geotoken.regions import INSIDE, OUTSIDE, PARTIAL, Region

LIMA = Region.near(-12.05, -77.03, 80)
BOX = Region.bbox(-80, -20, -70, 0)
FORMS = "country=PE, bbox=WEST,SOUTH,EAST,NORTH, near=LAT,LNG,KM or the path of a .geojson file"


def test_names():
    assert LIMA.name == "within 80 km of (-12.05, -77.03)"
    assert BOX.name == "box -80,-20,-70,0"
    assert repr(LIMA) == "Region('within 80 km of (-12.05, -77.03)')"
    assert (LIMA | BOX).name == f"{LIMA.name} or {BOX.name}"
    many = Region.union([Region.near(lat, 0, 1) for lat in range(6)])
    assert many.name == "within 1 km of (0, 0) or within 1 km of (1, 0) or 4 more regions"


def test_a_region_is_a_value():
    assert Region.near(-12.05, -77.03, 80) == LIMA
    assert Region.bbox(-80, -20, -70, 0) == BOX
    assert hash(Region.bbox(-80, -20, -70, 0)) == hash(BOX)
    assert LIMA != Region.near(-12.05, -77.03, 81)
    with pytest.raises(dataclasses.FrozenInstanceError):
        LIMA.name = "Lima"
    again = pickle.loads(pickle.dumps(LIMA | BOX))
    assert again == LIMA | BOX
    ids = cells.from_lat_lng([-12, 40], [-77, 0], 12)
    np.testing.assert_array_equal(again.relation(ids), (LIMA | BOX).relation(ids))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((0, 10, 10, 10), "south must be less"),
        ((0, 10, 10, 5), "south must be less"),
        ((5, 0, 5, 10), "no area"),
        ((180, 0, -180, 10), "no area"),
        ((math.nan, 0, 1, 1), "west edge of the box nan is out of range; give -180 to 180"),
        ((0, 0, 1, math.inf), "north edge"),
        ((-181, 0, 1, 1), "west edge"),
        ((0, -90.1, 1, 1), "south edge"),
        ((0, 0, 190, 1), "east edge of the box 190 is out of range; give -180 to 180"),
        (("a", 0, 1, 1), "not a number"),
        ((None, 0, 1, 1), "not a number"),
    ],
)
def test_boxes_that_are_refused(edges, message):
    with pytest.raises(InputError, match=message):
        Region.bbox(*edges)


@pytest.mark.parametrize(
    ("circle", "message"),
    [
        ((91, 0, 1), "latitude 91"),
        ((0, 400, 1), "longitude 400"),
        ((0, 0, 0), "radius 0 is out of range; give more than 0 and at most 20015 km"),
        ((0, 0, -1), "radius -1"),
        ((0, 0, math.nan), "radius nan"),
        ((0, 0, 20100), "radius 20100"),
        ((math.nan, 0, 1), "latitude nan"),
        (("here", 0, 1), "not a number"),
        ((0, 0, True), "not a number"),
    ],
)
def test_circles_that_are_refused(circle, message):
    with pytest.raises(InputError, match=message):
        Region.near(*circle)


def test_parse_reads_each_form(tmp_path):
    assert Region.parse("near=-12.05,-77.03,80") == LIMA
    assert Region.parse(" BBOX = -80, -20,-70, 0 ") == BOX
    assert Region.parse("country=PE") == Region.country("PE")
    path = tmp_path / "near=here.geojson"
    path.write_text(json.dumps(BOX.to_geojson()))
    assert Region.parse(str(path)).contains([-12, 12], [-77, 77]).tolist() == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PE",
        "country",
        "region=PE",
        "bbox",
        "bbox=",
        "bbox=1,2,3",
        "near=1,2",
        "near=1,2,3,4",
        "near=1;2;3",
        "near=1,2,80km",
        "map.kml",
        "polygon.shp",
        "=",
        "=PE",
        "bbox=a,b,c,d",
    ],
)
def test_parse_names_the_forms(text):
    with pytest.raises(InputError) as error:
        Region.parse(text)
    assert FORMS in str(error.value)
    assert "\n" not in str(error.value)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=30) | st.from_regex(r"(bbox|near|country)=[-0-9.,einaf ]{0,30}", fullmatch=True))
def test_parse_gives_a_region_or_an_input_error(text):
    try:
        region = Region.parse(text)
    except InputError:
        return
    assert region.to_geojson()["type"] == "MultiPolygon"


def test_a_union_holds_what_a_member_holds(check_relation):
    rng = np.random.default_rng(0)
    lat, lng = rng.uniform(-90, 90, 2000), rng.uniform(-180, 180, 2000)
    members = [Region.near(0, 179, 2500), Region.bbox(-150, -10, -120, 70), Region.bbox(-140, -30, -100, 0)]
    union = Region.union(members)
    expected = np.any([member.contains(lat, lng) for member in members], axis=0)
    np.testing.assert_array_equal(union.contains(lat, lng), expected)
    np.testing.assert_array_equal((members[0] | members[1] | members[2]).contains(lat, lng), expected)
    check_relation(union)
    ids = cells.from_lat_lng(lat, lng, 9)
    np.testing.assert_array_equal(
        union.relation(ids), np.max([member.relation(ids) for member in members], axis=0)
    )


def test_a_union_of_nothing_is_refused():
    with pytest.raises(InputError, match="union of no regions"):
        Region.union([])
    with pytest.raises(TypeError):
        _ = LIMA | "BOX"


def test_a_union_holds_a_member_once():
    assert LIMA | LIMA == LIMA
    assert Region.union([LIMA]) == LIMA


def test_shapes_of_the_arguments_are_kept():
    lat, lng = np.zeros((2, 3)), np.zeros((2, 3))
    assert LIMA.contains(lat, lng).shape == (2, 3)
    assert LIMA.contains(-12.05, [-77.03, 77.0, 282.97]).tolist() == [True, False, True]
    assert LIMA.relation(cells.from_lat_lng(lat, lng)).shape == (2, 3)
    assert LIMA.relation(cells.from_lat_lng(-12.05, -77.03)) == INSIDE
    assert bool(LIMA.contains(-12.05, -77.03)) is True
    assert LIMA.relation(np.array([], dtype=np.uint64)).shape == (0,)
    assert LIMA.contains([], []).shape == (0,)


def test_faces_are_placed():
    faces = np.arange(1, 12, 2, dtype=np.uint64) << np.uint64(60)
    assert (Region.bbox(-180, -90, 180, 90).relation(faces) == INSIDE).all()
    assert sorted(LIMA.relation(faces).tolist()) == [OUTSIDE] * 5 + [PARTIAL]


def test_bad_cells_and_points_are_input_errors():
    with pytest.raises(InputError, match="row 1"):
        LIMA.relation(np.array([1 << 60, 0], dtype=np.uint64))
    with pytest.raises(InputError, match="row 0"):
        LIMA.contains([99.0], [0.0])


@pytest.mark.parametrize("region", [LIMA, BOX, LIMA | BOX, Region.bbox(170, -10, -170, 10)])
def test_drawings_are_valid_geojson_with_outer_rings_counter_clockwise(region):
    drawing = json.loads(json.dumps(region.to_geojson()))
    assert drawing["type"] == "MultiPolygon"
    for outer, *_ in drawing["coordinates"]:
        lng, lat = np.array(outer).T
        assert np.abs(lng).max() <= 180
        assert outer[0] == outer[-1]
        assert np.sum(lng[:-1] * lat[1:] - lng[1:] * lat[:-1]) > 0


def test_shapely_is_imported_with_the_first_region_of_polygons():
    script = (
        "import sys; from geotoken.regions import Region; Region.near(0, 0, 1).contains(0, 0)\n"
        "print('shapely' in sys.modules)\n"
        "Region.bbox(0, 0, 1, 1); print('shapely' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
