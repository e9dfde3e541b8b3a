import dataclasses

import numpy as np
import pytest

from geotoken import places
from geotoken.errors import ArtifactError, InputError
from geotoken.geo import haversine_km

# Point, city, part of the division's name, country, greatest distance in km.
KNOWN = {
    "Eiffel Tower": (48.8584, 2.2945, "Paris", "France", "FR", 6),
    "Versailles, beside Paris": (48.8049, 2.1204, "Versailles", "France", "FR", 2),
    "Central Park": (40.7829, -73.9654, "New York City", "New York", "US", 12),
    "Yosemite Valley": (37.7459, -119.5332, "Yosemite Valley", "California", "US", 6),
    "Big Ben": (51.5007, -0.1246, "London", "England", "GB", 2),
    "Marienplatz": (48.1373, 11.5755, "Munich", "Bayern", "DE", 2),
    "Grand Palace": (13.75, 100.4913, "Bangkok", "Bangkok", "TH", 3),
    "Red Square": (55.7539, 37.6208, "Moscow", "Moscow", "RU", 2),
    "St Peter's": (41.9022, 12.4533, "Vatican City", "", "VA", 1),
    "Monaco": (43.7384, 7.4246, "Monaco", "Monaco", "MC", 1),
    "Machu Picchu": (-13.1631, -72.545, "Machupicchu", "Cusco", "PE", 5),
    "Taj Mahal": (27.1751, 78.0421, "Agra", "Uttar Pradesh", "IN", 5),
    "Merlion": (1.2868, 103.8545, "Singapore", "", "SG", 3),
    "Kinshasa, across the river": (-4.3217, 15.3126, "Kinshasa", "Kinshasa", "CD", 2),
    "Brazzaville, across the river": (-4.2694, 15.2712, "Brazzaville", "Brazzaville", "CG", 3),
    "Suva": (-18.14, 178.43, "Suva", "Central", "FJ", 2),
    "Longyearbyen": (78.22, 15.65, "Longyearbyen", "Svalbard", "SJ", 2),
    "Ushuaia": (-54.8, -68.3, "Ushuaia", "Tierra del Fuego", "AR", 3),
    "Grytviken": (-54.28, -36.51, "Grytviken", "", "GS", 1),
    "Tristan da Cunha": (-37.07, -12.31, "Edinburgh of the Seven Seas", "Tristan", "SH", 1),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_points(name):
    lat, lng, city, admin1, country_code, most_km = KNOWN[name]
    (place,) = places.nearest(lat, lng)
    assert (place.city, place.country_code) == (city, country_code)
    assert admin1 in place.admin1
    assert place.distance_km < most_km


def test_both_sides_of_the_antimeridian_are_near():
    # Between Taveuni and Vanua Balavu, Fiji; longitudes 180 and -180 are one line.
    west, east, line, same_line = places.nearest([-16.85] * 4, [179.999, -179.999, 180, -180])
    assert {p.country_code for p in (west, east, line, same_line)} == {"FJ"}
    assert west.city == east.city
    assert east.distance_km == pytest.approx(west.distance_km, abs=0.5)
    assert line == dataclasses.replace(same_line, distance_km=pytest.approx(same_line.distance_km, rel=1e-9))


def test_poles_and_open_sea_have_the_nearest_name_and_its_distance():
    north, south, sea = places.nearest([90, -90, 0], [0, 123, -140])
    assert north.country_code in {"SJ", "CA", "GL"}
    assert all(place.distance_km > 500 for place in (north, south, sea))
    assert places.nearest(90, 77)[0] == dataclasses.replace(
        north, distance_km=pytest.approx(north.distance_km, rel=1e-9)
    )


def test_nearest_row_is_the_great_circle_nearest():
    gazetteer = places._load()
    rng = np.random.default_rng(0)
    lat, lng = np.degrees(np.arcsin(rng.uniform(-1, 1, 20))), rng.uniform(-180, 180, 20)
    for place, point_lat, point_lng in zip(places.nearest(lat, lng), lat, lng, strict=True):
        row = np.argmin(haversine_km(point_lat, point_lng, gazetteer.lat, gazetteer.lng))
        division = np.searchsorted(gazetteer.division_starts, row, side="right") - 1
        assert place.admin1 == gazetteer.division_names[division]
        assert place.country == gazetteer.country_names[gazetteer.division_countries[division]]


def test_many_points_give_what_each_gives_alone():
    lat, lng = np.array([48.86, -33.86, 35.68]), np.array([2.35, 151.21, 139.69])
    together = places.nearest(lat, lng)
    assert together == [places.nearest(*point)[0] for point in zip(lat, lng, strict=True)]
    assert [place.city for place in together] == ["Paris", "Sydney", "Tokyo"]
    assert places.nearest([], []) == []


def test_gazetteer_is_consistent_and_states_its_origin():
    gazetteer = places._load()
    assert len(gazetteer.names) == len(gazetteer.lat) == gazetteer.division_starts[-1] > 100_000
    assert all(gazetteer.names)
    assert np.all(np.diff(gazetteer.division_starts) > 0)
    assert len(gazetteer.division_names) == len(gazetteer.division_countries)
    assert len(gazetteer.country_codes) == len(gazetteer.country_names) > 240
    assert np.abs(gazetteer.lat).max() <= 90
    assert np.abs(gazetteer.lng).max() <= 180
    about = places.about()
    assert "GeoNames" in about["source"]
    assert about["license"].startswith("CC BY 4.0")
    assert len(about["date"]) == len("2026-10")


def test_bad_points_name_their_row():
    with pytest.raises(InputError, match="row 1: latitude"):
        places.nearest([0, 99], [0, 0])


@pytest.mark.parametrize("content", [None, b"", b"not a zip file", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_an_artifact_error(tmp_path, monkeypatch, content):
    (tmp_path / "data").mkdir()
    if content is not None:
        (tmp_path / "data" / "places.npz").write_bytes(content)
    monkeypatch.setattr(places, "files", lambda _: tmp_path)
    with pytest.raises(ArtifactError, match="install geotoken again"):
        places._load.__wrapped__()


def test_a_file_of_another_format_is_an_artifact_error(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    about = np.frombuffer(b'{"format": 99}', dtype=np.uint8)
    np.savez(tmp_path / "data" / "places.npz", about=about)
    monkeypatch.setattr(places, "files", lambda _: tmp_path)
    with pytest.raises(ArtifactError, match="format 99"):
        places._load.__wrapped__()


def test_settlements_cover_every_inhabited_continent():
    lat, lng = places.settlements()
    assert len(lat) == len(lng) > 100_000
    for point in ((48.86, 2.35), (-33.87, 151.21), (-1.29, 36.82), (-23.55, -46.63), (40.71, -74.01)):
        assert haversine_km(lat, lng, *point).min() < 10


def test_largest_settlements_around_a_point():
    found = places.largest_near(34.8394, 134.6939, [100, 20], 5)
    assert [name for name, *_ in found[:2]] == ["Osaka", "Kobe"]
    assert [radius_km for *_, radius_km in found] == [100] * 5 + [20] * (len(found) - 5)
    assert "Himeji" in {name for name, *_ in found}
    assert len({row[:3] for row in found}) == len(found) > 5
    for _, lat, lng, radius_km in found:
        assert haversine_km(lat, lng, 34.8394, 134.6939) <= radius_km + 1e-6
    assert places.largest_near(-48.9, -123.4, [1000], 5) == []  # Point Nemo
