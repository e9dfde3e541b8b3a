import json

import pytest

from geotoken.errors import InputError
from geotoken.gallery.sources import BuildError, Entry, list_source, open_source


def point(lng, lat, properties, **more):
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [lng, lat]},
        "properties": properties,
        **more,
    }


def write_geojson(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def test_unreadable_sources_are_input_errors(tmp_path):
    (tmp_path / "latin.csv").write_bytes("image,lat,lng\né.png,1,2\n".encode("latin-1"))
    (tmp_path / "bad.geojson").write_text("{")
    for name, reason in (
        ("latin.csv", "it is not text in UTF-8"),
        ("nowhere.csv", "No such file or directory"),
        ("bad.geojson", "it is not JSON"),
        ("nowhere.json", "No such file or directory"),
    ):
        with pytest.raises(InputError, match=rf"cannot be read \({reason}\); give a folder"):
            open_source(tmp_path / name)
    with pytest.raises(InputError, match="an empty path"):
        open_source("")


def test_a_folder_is_its_photos_sorted_by_path(tmp_path):
    for name in ("b.jpg", "a.png", "sub/c.jpeg", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    source = open_source(tmp_path)
    assert [(one.name, one.path) for one in source.entries()] == [
        (name, tmp_path / name) for name in ("a.png", "b.jpg", "sub/c.jpeg")
    ]
    assert source.num_entries == 3


def test_entries_can_be_started_over_and_bad_rows_are_in_their_place(tmp_path):
    (tmp_path / "list.csv").write_text("image,lat,lng,x\na.png,1,2,\nb.png,91,2,\nc.png,3,4,\n")
    source = open_source(tmp_path / "list.csv")
    for _ in range(2):
        first, second, third = source.entries()
        assert (first.name, first.position, third.position) == ("a.png", (1, 2), (3, 4))
        assert isinstance(second, BuildError)
        assert second.image == "list.csv line 3"
    assert (source.num_entries, source.unused_columns) == (3, ["x"])


def test_geojson_points_name_their_photos(tmp_path):
    source = open_source(
        write_geojson(
            tmp_path / "photos.geojson",
            point(2.2945, 48.8584, {"image": "im/a.jpg", "owner": "ann", "label": 5, "height": 330}, id=7),
            point(190, -18, {"filename": "b.jpg", "id": "fiji", "tags": ["x"]}),
        )
    )
    first, second = source.entries()
    assert (first.path, first.name, first.position) == (
        tmp_path / "im" / "a.jpg",
        "im/a.jpg",
        (48.8584, 2.2945),
    )
    assert {key: value for key, value in first.columns.items() if value} == {
        "id": "7",
        "owner": "ann",
        "label": "5",
    }
    assert (second.path, second.position, second.columns["id"]) == (tmp_path / "b.jpg", (-18, -170), "fiji")
    assert source.unused_columns == ["height", "tags"]


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        (point(0, 91, {"image": "a.jpg"}), "latitude 91"),
        (point("0", "1", {"image": "a.jpg"}), "a.jpg has no point"),
        (point(0, None, {"image": "a.jpg"}), "a.jpg has no point"),
        ({"type": "Feature", "geometry": None, "properties": {"image": "a.jpg"}}, "a.jpg has no point"),
        (
            {
                "geometry": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]},
                "properties": {"image": "a"},
            },
            "a has no point",
        ),
        (point(0, 0, {"title": "a.jpg"}), "it names no photo; give its path as the property image"),
        (point(0, 0, None), "it names no photo"),
        (point(0, 0, {"image": 5}), "it names no photo"),
        (5, "it names no photo"),
    ],
)
def test_a_bad_feature_is_an_error_in_its_place(tmp_path, feature, reason):
    source = open_source(write_geojson(tmp_path / "p.json", feature, point(1, 2, {"image": "good.jpg"})))
    bad, good = source.entries()
    assert bad.image == "p.json feature 1"
    assert reason in bad.reason
    assert good.position == (2, 1)


@pytest.mark.parametrize("content", ["[]", "5", '{"features": []}', '{"features": 5}', '{"type": "Point"}'])
def test_other_json_is_an_input_error(tmp_path, content):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(InputError, match="not a GeoJSON FeatureCollection"):
        open_source(tmp_path / "p.json")


def test_fingerprints_tell_sources_apart(tmp_path):
    (tmp_path / "a.csv").write_text("image,lat,lng\na.png,1,2\n")
    before = open_source(tmp_path / "a.csv").fingerprint
    assert open_source(tmp_path / "a.csv").fingerprint == before
    (tmp_path / "a.csv").write_text("image,lat,lng\na.png,1,3\n")
    assert open_source(tmp_path / "a.csv").fingerprint != before
    (tmp_path / "a.jpg").touch()
    before = open_source(tmp_path).fingerprint
    (tmp_path / "b.jpg").touch()
    assert open_source(tmp_path).fingerprint != before
    one, two = (
        list_source([Entry(path=tmp_path, name=name, position=None)]).fingerprint for name in ("a", "b")
    )
    assert one != two
