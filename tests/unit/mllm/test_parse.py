"""Answers as models write them: what is a place stays one, what is none becomes none, never 0, 0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotoken.mllm.parse import MAX_TEXT, cut, parse_choice, parse_place

CAPE_TOWN = (-33.9, 18.4)
PLACES = [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)]


@pytest.mark.parametrize(
    "text",
    [
        '{"latitude": -33.9, "longitude": 18.4}',
        '{"reason": "a mountain", "lat": "-33.9", "lng": "18.4"}',
        '{"Latitude": "33.9° S", "Longitude": "18.4° E"}',
        '```json\n{"latitude": -33.9, "longitude": 18.4}\n```',
        'Sure: {"latitude": -33.9, "longitude": 18.4} is my guess {for now}.',
        '{"latitude": 18.4, "longitude": -33.9} on second thought {"latitude": -33.9, "longitude": 18.4}',
        '<think>maybe {"latitude": 5, "longitude": 6}</think>{"latitude": -33.9, "longitude": 18.4}',
        "-33.9, 18.4",
        "The photo shows Cape Town (-33.9, 18.4).",
        "33.9° S, 18.4° E",
        "S 33.9, E 18.4",
        "18.4 E, 33.9 S",
        "33°54'S, 18°24'E",
        "33°54'0\"S 18°24'0\"E",
        "Latitude: -33.9\nLongitude: 18.4",
        "lat = -33.9, lon = 18.4",
        "**Latitude:** \u221233.9, **Longitude:** 18.4",
        "Between 1960 and 1970, near -33.9, 18.4",
    ],
)
def test_a_place_is_read_however_it_is_written(text):
    said = parse_place(text)
    assert (said.lat, said.lng) == pytest.approx(CAPE_TOWN)
    assert said.problem == ""


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("-34, 18", (-34.0, 18.0)),
        ('{"latitude": -34, "longitude": 151}', (-34.0, 151.0)),
        ('{"latitude": 151.2, "longitude": -33.9}', (-33.9, 151.2)),  # can only be swapped
        ("139.69, 35.69", (35.69, 139.69)),
        ('{"latitude": 90, "longitude": -180}', (90.0, -180.0)),
        ('{"latitude": 0, "longitude": 9.5}', (0.0, 9.5)),
    ],
)
def test_whole_numbers_signs_and_swapped_order(text, place):
    said = parse_place(text)
    assert (said.lat, said.lng) == place


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no place"),
        ("It was taken between 1960 and 1970.", "no place"),
        ("I count 3, 4 or 5 boats.", "no place"),
        ("I'm sorry, but I can't help with locating people.", "declined"),
        ('{"latitude": null, "longitude": null}', "cannot tell"),
        ('{"latitude": true, "longitude": 3}', "cannot tell"),
        ('{"latitude": "unknown", "longitude": "unknown"}', "cannot tell"),
        ('{"latitude": 123, "longitude": 456}', "123, 456 are no place"),
        ('{"latitude": 10, "longitude": 200}', "no place on Earth"),
        ('{"latitude": NaN, "longitude": 1}', "no place on Earth"),
        ('{"latitude": 1e999, "longitude": 1}', "no place on Earth"),
        ('{"latitude": 0, "longitude": 0}', "unknown"),
        ("0.0, 0.0", "unknown"),
        ('{"latitude": -33.9', "no place"),
        ("[" * 5000, "no place"),
        ('{"a":' * 3000, "no place"),
        ("latitude " + "9" * 400 + ", longitude 1", "no place on Earth"),
    ],
)
def test_what_is_no_place_becomes_none(text, problem):
    said = parse_place(text)
    assert (said.lat, said.lng) == (None, None)
    assert problem in said.problem


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_any_place_in_json_is_read_exactly(lat, lng):
    said = parse_place(f'{{"latitude": {lat!r}, "longitude": {lng!r}}}')
    assert (said.lat, said.lng) == ((None, None) if lat == lng == 0 else (lat, lng))


@given(st.text())
def test_no_text_raises_or_makes_up_a_place(text):
    for said in (parse_place(text), parse_choice(text, PLACES)):
        assert (said.lat is None) == (said.lng is None) == bool(said.problem)


@pytest.mark.parametrize(
    "text",
    [
        '{"candidate": 2}',
        '{"reason": "1 is wet", "candidate": "2"}',
        "2",
        "#2.",
        "Candidate 2",
        "I choose candidate #2",
        "**Answer: 2**",
        '```\n{"number": 2.0}\n```',
        '{"candidate": 1} no: {"candidate": 2}',
    ],
)
def test_a_choice_is_read(text):
    said = parse_choice(text, PLACES)
    assert (said.candidate, said.lat, said.lng) == (2, 3.0, 4.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"candidate": 9}', "candidate 9 of 3"),
        ('{"candidate": 0}', "candidate 0 of 3"),
        ('{"candidate": -1}', "candidate -1 of 3"),
        ('{"candidate": 1.5}', "no candidate"),
        ('{"candidate": null}', "no candidate"),
        ("Candidate 1 or candidate 2", "several"),
        ("Either of them", "no candidate"),
        ("Sorry, I cannot do that", "declined"),
    ],
)
def test_a_wrong_choice_becomes_none(text, problem):
    said = parse_choice(text, PLACES)
    assert (said.candidate, said.lat) == (None, None)
    assert problem in said.problem


def test_long_and_strange_text_is_cut_to_one_printable_line():
    kept = cut("a\x1b[2J\n" + "b" * 10_000)
    assert len(kept) == MAX_TEXT
    assert kept.isprintable()
    assert "\n" not in kept


@pytest.mark.parametrize(
    "text",
    [
        "S 33 51.5, E 151 12.5",
        "33 51.5 S, 151 12.5 E",
        "I cannot tell where this is. It cost 12.5 and 30.2 euros.",
    ],
)
def test_numbers_that_are_part_of_more_are_no_place(text):
    assert parse_place(text).lat is None


def test_a_place_inside_of_another_object_is_read():
    found = parse_place('{"location": {"latitude": 48.8, "longitude": 2.3}}')
    assert (found.lat, found.lng) == (48.8, 2.3)


@pytest.mark.parametrize("text", ['{"candidate": 1%s}', "candidate 1%s", "1%s"])
@pytest.mark.parametrize("count", [7, 400, 5000])
def test_a_number_of_many_digits_is_no_candidate(text, count):
    found = parse_choice(text % ("0" * count), [(1.0, 2.0)])
    assert found.lat is None
    assert found.problem
