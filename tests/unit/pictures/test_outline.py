import json

import numpy as np
import pytest

from geotoken.pictures.outline import outline_json


def decode(text):
    """The inverse of tools/build_outline.py: longitudes and latitudes in hundredths of a degree."""
    values, value, shift = [], 0, 0
    for letter in text.encode("ascii"):
        value |= (letter - 63 & 31) << shift
        shift += 5
        if letter - 63 < 32:
            values.append(~(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    return np.cumsum(np.reshape(values, (-1, 2)), axis=0)


def test_it_may_stand_in_a_script():
    assert "<" not in outline_json()
    assert len(outline_json()) < 200_000


def test_the_land_is_closed_rings_inside_the_world():
    outline = json.loads(outline_json())
    rings = [decode(text) for text in outline["land"]]
    assert len(rings) > 1000
    assert all((ring[0] == ring[-1]).all() and len(ring) >= 4 for ring in rings)
    assert (np.abs(np.concatenate(rings)) <= [18000, 9000]).all()


def test_the_land_covers_what_the_earth_has():
    # The integral of sin(lat) along a ring is its area on the unit sphere; lakes run the other way.
    total = 0.0
    for text in json.loads(outline_json())["land"]:
        lng, lat = np.radians(decode(text).T / 100)
        steps = (np.diff(lng) + np.pi) % (2 * np.pi) - np.pi  # rings cross the antimeridian
        area = float(np.sum(steps * (np.sin(lat[1:]) + np.sin(lat[:-1])) / 2))
        total += 2 * np.pi - abs(area) if abs(steps.sum()) > 1 else area  # Antarctica goes around the pole
    assert total / (4 * np.pi) == pytest.approx(0.29, abs=0.005)


def test_countries_have_names_and_points():
    countries = json.loads(outline_json())["countries"]
    assert {"Peru", "Japan", "Switzerland"} <= {name for name, *_ in countries}
    assert all(-90 <= lat <= 90 and -180 <= lng <= 180 and area > 0 for _, lat, lng, area in countries)
