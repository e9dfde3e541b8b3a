import numpy as np
import pytest

from geotoken import cells, places
from geotoken.errors import ArtifactError, InputError
from geotoken.geo import haversine_km
from geotoken.regions import INSIDE, OUTSIDE, Region, countries

IN = {
    "Lima": (-12.0464, -77.0428, "PE"),
    "Callao, harbour": (-12.05, -77.15, "PE"),
    "10 km off Callao": (-12.07, -77.25, "PE"),
    "Rotterdam, Maasvlakte": (51.96, 4.0, "NL"),
    "Singapore": (1.29, 103.85, "SG"),
    "Hong Kong": (22.28, 114.16, "HK"),
    "Sydney Opera House": (-33.8568, 151.2153, "AU"),
    "Golden Gate": (37.8199, -122.4783, "US"),
    "Attu Island": (52.9, 172.9, "US"),
    "Honolulu": (21.3, -157.86, "US"),
    "Maseru": (-29.31, 27.48, "LS"),
    "St Peter's": (41.9022, 12.4533, "VA"),
    "Monaco": (43.7384, 7.4246, "MC"),
    "Gibraltar": (36.1408, -5.3536, "GI"),
    "Basel": (47.5596, 7.5886, "CH"),
    "Narva": (59.377, 28.19, "EE"),
    "Tijuana": (32.51, -117.02, "MX"),
    "San Ysidro": (32.555, -117.045, "US"),
    "Kaliningrad": (54.71, 20.5, "RU"),
    "Wrangel Island": (71.2, -179.6, "RU"),
    "Chukotka, east of the antimeridian": (66.0, -172.0, "RU"),
    "Taveuni": (-16.8, -179.99, "FJ"),
    "Taveuni, west": (-16.8, 179.9, "FJ"),
    "Cayenne": (4.92, -52.31, "GF"),
    "Saint-Denis": (-20.88, 55.45, "RE"),
    "Longyearbyen": (78.22, 15.65, "SJ"),
    "Jan Mayen": (70.98, -8.5, "SJ"),
    "Honningsvåg": (70.982, 25.97, "NO"),
    "Nangan, beside China": (26.15, 119.933, "TW"),
    "Kralendijk": (12.15, -68.27, "BQ"),
    "Nukunonu": (-9.2, -171.848, "TK"),
    "South Pole": (-90.0, 33.0, "AQ"),
    "beside the South Pole": (-89.0, -120.0, "AQ"),
    "Kosovo": (42.66, 21.16, "XK"),
    "Simferopol, drawn in Russia": (44.957, 34.111, "UA"),
    "Simferopol": (44.957, 34.111, "RU"),
    "Laayoune": (27.142, -13.188, "EH"),
    "Laayoune, drawn in Morocco": (27.142, -13.188, "MA"),
    "Hargeisa": (9.56, 44.06, "SO"),
    "Kyrenia": (35.34, 33.32, "CY"),
    "Koh Tao, not in Natural Earth": (10.098, 99.838, "TH"),
}
OUT = {
    "60 km off Callao": (-12.07, -77.75, "PE"),
    "Arica": (-18.48, -70.31, "PE"),
    "Singapore": (1.29, 103.85, "MY"),
    "Johor Bahru": (1.48, 103.74, "SG"),
    "Lesotho": (-29.5, 28.3, "ZA"),
    "Vatican": (41.9022, 12.4533, "IT"),
    "San Marino": (43.936, 12.447, "IT"),
    "Hong Kong": (22.28, 114.16, "CN"),
    "Cayenne": (4.92, -52.31, "FR"),
    "Longyearbyen": (78.22, 15.65, "NO"),
    "San Juan": (18.4, -66.1, "US"),
    "Vilnius": (54.69, 25.28, "RU"),
    "middle of the Caspian Sea": (42.0, 50.5, "KZ"),
    "Ushuaia": (-54.8, -68.3, "AQ"),
    "North Pole": (90.0, 0.0, "CA"),
}


@pytest.mark.parametrize("name", IN)
def test_points_in_a_country(name):
    lat, lng, code = IN[name]
    assert Region.country(code).contains(lat, lng)


@pytest.mark.parametrize("name", OUT)
def test_points_off_a_country(name):
    lat, lng, code = OUT[name]
    assert not Region.country(code).contains(lat, lng)


def test_the_largest_settlements_lie_in_their_countries():
    gazetteer = places._load()
    country_of = np.repeat(gazetteer.division_countries, np.diff(gazetteer.division_starts))
    known = {country.alpha2 for country in countries.countries()}
    assert known >= set(gazetteer.country_codes)
    missed = []
    for row, code in enumerate(gazetteer.country_codes):
        rows = np.flatnonzero(country_of == row)
        rows = rows[np.argsort(-gazetteer.radius_km[rows], kind="stable")][:10]
        inside = Region.country(code).contains(gazetteer.lat[rows], gazetteer.lng[rows])
        missed += [f"{code} {gazetteer.names[i].decode()}" for i in rows[~inside]]
    assert missed == []


@pytest.mark.parametrize(
    ("code", "lat", "lng", "nearest_km", "farthest_km"),
    [("NR", -0.528, 166.932, 22.5, 25.0), ("BV", -54.42, 3.36, 20.0, 29.0)],  # islands 5 and 9 km across
)
def test_the_edge_is_20_km_off_the_shore(code, lat, lng, nearest_km, farthest_km):
    ((outer,),) = Region.country(code).to_geojson()["coordinates"]
    points = np.array(outer)
    distance_km = haversine_km(lat, lng, points[:, 1], points[:, 0])
    assert nearest_km < distance_km.min()
    assert distance_km.max() < farthest_km


@pytest.mark.parametrize("code", ["PE", "FJ", "ID"])
def test_contains_is_the_ray_casting_of_the_drawn_rings(code):
    region = Region.country(code)
    rings = [np.array(ring) for polygon in region.to_geojson()["coordinates"] for ring in polygon]
    rng = np.random.default_rng(0)
    west, south, east, north = np.column_stack(
        [np.concatenate(rings).min(0), np.concatenate(rings).max(0)]
    ).T.flat
    lng, lat = rng.uniform(west, east, 500), rng.uniform(south, north, 500)
    odd = np.zeros(500, dtype=bool)
    for ring in rings:
        (x1, y1), (x2, y2) = ring[:-1].T, ring[1:].T
        spans = (y1 > lat[:, None]) != (y2 > lat[:, None])
        rise = np.where(y1 == y2, 1.0, y2 - y1)
        odd ^= (spans & (x1 + (lat[:, None] - y1) / rise * (x2 - x1) > lng[:, None])).sum(axis=1) % 2 == 1
    assert 0 < odd.sum() < 500
    np.testing.assert_array_equal(region.contains(lat, lng), odd)


@pytest.mark.parametrize("code", ["PE", "FJ", "RU", "AQ", "VA", "SG", "NO", "KI", "LS"])
def test_relation_is_true_of_points_in_the_cells(code, check_relation):
    check_relation(Region.country(code), num_points=150)


def test_most_of_a_country_is_certain():
    ids = cells.from_lat_lng([-12.05, -9.0, -5.0, 40.0, -16.0], [-76.0, -75.0, -76.5, 0.0, -60.0], 10)
    assert Region.country("PE").relation(ids).tolist() == [INSIDE] * 3 + [OUTSIDE] * 2


def test_every_code_and_name_leads_to_its_country():
    atlas = countries.countries()
    assert len(atlas) == 250
    rows = countries._load().rows
    for row, country in enumerate(atlas):
        texts = (country.alpha2, country.alpha3, country.alpha3.lower(), country.name, country.name.upper())
        assert {rows[countries.fold(text)] for text in texts} == {row}
        assert len(country.alpha2) == 2
        assert len(country.alpha3) == 3
    names = [countries.fold(n) for c in atlas for n in (c.alpha2, c.alpha3, c.name, *c.other_names)]
    assert len(names) == len(set(names)), "two countries share a name"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("pe", "Peru"),
        (" PER ", "Peru"),
        ("peru", "Peru"),
        ("USA", "United States"),
        ("u.s.a.", "United States"),
        ("uk", "United Kingdom"),
        ("the netherlands", "Netherlands"),
        ("cote d'ivoire", "Ivory Coast"),
        ("AND", "Andorra"),
        ("st", "Sao Tome and Principe"),
        ("South Korea", "South Korea"),
        ("bosnia & herzegovina", "Bosnia and Herzegovina"),
        ("saint lucia", "Saint Lucia"),
        ("St. Lucia", "Saint Lucia"),
        ("Czech Republic", "Czechia"),
        ("Kosovo", "Kosovo"),
    ],
)
def test_names_people_write(text, name):
    found = Region.country(text)
    assert found == Region.country(name)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("Peruu", "Peru (PE)"),
        ("Germny", "Germany (DE)"),
        ("Congo", "(CG)"),
        ("Congo", "(CD)"),
        ("Korea", "(KR)"),
    ],
)
def test_an_unknown_country_has_suggestions(text, suggestion):
    with pytest.raises(InputError) as error:
        Region.country(text)
    assert suggestion in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", " ", "Atlantis", "X" * 500, "\0", "..", None, 51])
def test_what_is_no_country_is_an_input_error(text):
    with pytest.raises(InputError):
        Region.country(text)


def test_the_origin_is_told():
    assert countries.about()["source"].startswith("Natural Earth 1:10m by world-atlas")
    assert "public domain" in countries.about()["license"]


@pytest.mark.parametrize("content", [None, b"", b"not a zip file", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_an_artifact_error(tmp_path, monkeypatch, content):
    (tmp_path / "data").mkdir()
    if content is not None:
        (tmp_path / "data" / "countries.npz").write_bytes(content)
    monkeypatch.setattr(countries, "files", lambda _: tmp_path)
    with pytest.raises(ArtifactError, match="install geotoken again"):
        countries._load.__wrapped__()


def test_a_file_of_another_format_is_an_artifact_error(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    about = np.frombuffer(b'{"format": 99}', dtype=np.uint8)
    np.savez(tmp_path / "data" / "countries.npz", about=about)
    monkeypatch.setattr(countries, "files", lambda _: tmp_path)
    with pytest.raises(ArtifactError, match="format 99"):
        countries._load.__wrapped__()
