import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoken.errors import InputError
from geotoken.regions import Region
from geotoken.regions.geojson import read_polygons

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[4, 4], [4, 6], [6, 6], [6, 4], [4, 4]]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry):
    return {"type": "Feature", "properties": {}, "geometry": geometry}


FORMS = {
    "Polygon": polygon(SQUARE, HOLE),
    "MultiPolygon": {
        "type": "MultiPolygon",
        "coordinates": [[SQUARE, HOLE], [[[20, 0], [21, 0], [21, 1], [20, 0]]]],
    },
    "Feature": feature(polygon(SQUARE, HOLE)),
    "FeatureCollection": {
        "type": "FeatureCollection",
        "features": [feature(None), feature(polygon(SQUARE, HOLE))],
    },
    "GeometryCollection": {"type": "GeometryCollection", "geometries": [polygon(SQUARE, HOLE)]},
    "altitudes": polygon([[*p, 100.5] for p in SQUARE], HOLE),
    "clockwise": polygon(SQUARE[::-1], HOLE[::-1]),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_read_from_mapping_and_file(name, tmp_path):
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps(FORMS[name]), encoding="utf-8")
    for region in (Region.geojson(FORMS[name]), Region.geojson(path), Region.geojson(str(path))):
        assert region.contains([5, 1, 4, 5, 11], [5, 9, 5, 3, 5]).tolist() == [False, True, True, True, False]
    assert Region.geojson(path).name == "area.geojson"


def test_overlapping_polygons_are_united_not_subtracted():
    both = {"type": "MultiPolygon", "coordinates": [[SQUARE], [[[5, 5], [15, 5], [15, 15], [5, 15], [5, 5]]]]}
    assert Region.geojson(both).contains([7, 12, 2], [7, 12, 2]).all()


def test_a_bow_tie_is_its_two_triangles():
    tie = Region.geojson(polygon([[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]))
    assert tie.contains([5, 5, 9, 1], [1, 9, 5, 5]).tolist() == [True, True, False, False]


def test_a_hole_takes_away_only_what_is_there():
    hole = [[8, 8], [8, 14], [14, 14], [14, 8], [8, 8]]
    region = Region.geojson(polygon(SQUARE, hole, HOLE, HOLE))
    assert region.contains([9, 12, 5, 2], [9, 12, 5, 2]).tolist() == [False, False, False, True]


def test_longitudes_beyond_180_and_a_cut_at_180_are_the_same():
    beyond = Region.geojson(polygon([[170, 0], [190, 0], [190, 10], [170, 10], [170, 0]]))
    before = Region.geojson(polygon([[-190, 0], [-170, 0], [-170, 10], [-190, 10], [-190, 0]]))
    cut = Region.geojson(
        {
            "type": "MultiPolygon",
            "coordinates": [
                [[[170, 0], [180, 0], [180, 10], [170, 10], [170, 0]]],
                [[[-180, 0], [-170, 0], [-170, 10], [-180, 10], [-180, 0]]],
            ],
        }
    )
    rng = np.random.default_rng(0)
    lat, lng = rng.uniform(-5, 15, 500), rng.uniform(160, 200, 500)
    for region in (beyond, before):
        np.testing.assert_array_equal(region.contains(lat, lng), cut.contains(lat, lng))
    assert cut.contains(lat, lng).any()


BAD = {
    "point": ({"type": "Point", "coordinates": [1, 2]}, "a Point, which has no area"),
    "line": (feature({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}), "a LineString"),
    "no type": ({"coordinates": [SQUARE]}, "is not GeoJSON"),
    "topology": ({"type": "Topology", "arcs": []}, "'Topology'"),
    "null geometry": (feature(None), "no polygon with an area"),
    "no features": ({"type": "FeatureCollection"}, "'features'"),
    "empty": ({"type": "FeatureCollection", "features": []}, "no polygon with an area"),
    "features that are none": ({"type": "FeatureCollection", "features": [3]}, "is not GeoJSON"),
    "no rings": (polygon(), "no polygon with an area"),
    "ring that is a number": (polygon(7), "list of \\[longitude, latitude\\]"),
    "ring of text": (polygon([["a", "b"]] * 4), "numbers"),
    "ring of digits": (polygon([["1", "2"]] * 4), "numbers"),
    "ring of nothing": (polygon([None] * 4), "numbers"),
    "one number a position": (polygon([[1]] * 4), "numbers"),
    "enormous integer": (polygon([[10**30, 0], *SQUARE]), "GeoJSON"),
    "NaN": (polygon([[0, 0], [float("nan"), 0], [1, 1], [0, 0]]), "nan"),
    "infinite": (polygon([[0, 0], [float("inf"), 0], [1, 1], [0, 0]]), "inf"),
    "swapped": (polygon([[40, 100], [41, 100], [41, 101], [40, 100]]), "swapped"),
    "meters": (
        polygon([[500000, 4649776], [500100, 4649776], [500100, 4649876], [500000, 4649776]]),
        "projected",
    ),
    "open": (polygon(SQUARE[:-1]), "not closed"),
    "two points": (polygon([[0, 0], [1, 1], [0, 0]]), "four positions"),
    "line of a ring": (polygon([[0, 0], [5, 5], [9, 9], [0, 0]]), "no polygon with an area"),
    "ring of one point": (polygon([[1, 1]] * 4), "no polygon with an area"),
    "coordinates of text": ({"type": "Polygon", "coordinates": "0,0"}, "list 'coordinates'"),
    "flat multipolygon": ({"type": "MultiPolygon", "coordinates": [SQUARE]}, "GeoJSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_polygon_is_refused_in_one_line(name):
    source, message = BAD[name]
    with pytest.raises(InputError, match=message) as error:
        Region.geojson(source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{", "is not JSON"),
        (b"\xff\xfe\xfa", "is not JSON"),
        (b"[1, 2]", "is not GeoJSON"),
        (b"3", "is not GeoJSON"),
        (b"null", "is not GeoJSON"),
        (b"[" * 200_000, "is not JSON"),
        (b'{"type":"GeometryCollection","geometries":[' * 200 + b"]}" * 200, "no polygon with an area"),
    ],
)
def test_files_that_are_not_geojson(tmp_path, content, message):
    path = tmp_path / "bad.geojson"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        Region.geojson(path)
    assert "bad.geojson" in str(error.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="no file"):
        Region.geojson(tmp_path / "none.geojson")
    with pytest.raises(InputError, match="cannot be read"):
        Region.geojson(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        Region.geojson("nul\0.geojson")
    with pytest.raises(InputError, match="cannot be read"):
        Region.geojson("x" * 5000 + ".geojson")


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("geotoken.regions.geojson._MAX_BYTES", 10)
    path = tmp_path / "large.geojson"
    path.write_text(json.dumps(polygon(SQUARE)))
    with pytest.raises(InputError, match="at most"):
        Region.geojson(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["type", "coordinates"]), inner)
    ),
    max_leaves=12,
)
kinds = st.sampled_from(["Polygon", "MultiPolygon", "Feature", "FeatureCollection", "GeometryCollection"])


@settings(deadline=None, max_examples=150)
@given(kinds, json_values, st.sampled_from(["coordinates", "features", "geometries", "geometry"]))
def test_any_json_is_polygons_or_an_input_error(kind, value, key):
    with suppress(InputError):
        assert read_polygons({"type": kind, key: value}).area > 0
