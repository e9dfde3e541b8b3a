import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotoken.exports.columns import (
    COLUMNS,
    flatten,
    guard,
    is_flat,
    parse_row,
    settings_of,
    source_of,
    unguard,
    writable,
)


def test_the_columns_are_documented():
    page = Path(__file__).parents[3].joinpath("docs/batches.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    assert rows == [(name, meaning) for name, (_, meaning) in COLUMNS.items()]


def test_an_answer_becomes_a_row(make_answer):
    row = flatten(make_answer(region_probability=0.25))
    assert list(row) == list(COLUMNS)
    expected = {
        "image": "photo.jpg",
        "status": "ok",
        "lat": -33.5,
        "lng": 151.25,
        "radius_50_km": 0.30000000000000004,
        "radius_90_km": 1e-7,
        "probability_level_0": 0.9,
        "probability_level_4": 0.5,
        "region_probability": 0.25,
        "city": "Sydney",
        "country": "Australia",
        "country_code": "AU",
        "cell_hex": "6b12ae40583",
        "log_prob": -11.410690992567503,
        "warnings": "one; two",
        "source_bytes": 1000,
        "source_mtime_us": 1_700_000_000_000_000,
        "settings": "abc",
    }
    assert {name: value for name, value in row.items() if value is not None} == expected
    assert flatten(row) is row


def test_every_value_has_the_type_of_its_column(make_answer):
    for name, value in flatten(make_answer()).items():
        assert value is None or type(value) is COLUMNS[name][0], name


def test_a_failure_is_a_row_with_its_error(make_answer):
    row = flatten(make_answer(point="no such file"))
    assert (row["status"], row["error"]) == ("error", "no such file")
    assert {name for name, value in row.items() if value is not None} == {
        "image",
        "status",
        "error",
        "source_bytes",
        "source_mtime_us",
        "settings",
    }


def test_what_resuming_needs_is_the_same_flat_or_not(make_answer):
    answer = make_answer()
    row = flatten(answer)
    assert (is_flat(answer), is_flat(row)) == (False, True)
    assert settings_of(answer) == settings_of(row) == "abc"
    assert source_of(answer) == source_of(row) == (1000, 1_700_000_000_000_000)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("'=1", "''=1"),
        ("'s-Hertogenbosch", "'s-Hertogenbosch"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_no_text_is_a_formula(text, safe):
    assert guard(text) == safe
    assert unguard(safe) == text


@given(st.text())
def test_a_guard_can_be_taken_off(text):
    assert unguard(guard(text)) == text
    assert not guard(text).startswith(("=", "+", "-", "@"))


@given(st.text(st.characters(codec=None)))
def test_whatever_a_file_is_called_can_be_written(text):
    found = writable(text)
    found.encode()
    assert writable(found) == found
    assert len(found.splitlines()) <= 1 or not set(found) & set("\n\r\x0b\x0c\x1c\x1d\x1e\x85")


def test_readable_text_is_left_alone():
    assert writable("Žižkov \\n 東京 🗺.jpg") == "Žižkov \\n 東京 🗺.jpg"
    assert writable("a\nb\x1b\udcff") == "a\\nb\\x1b\\udcff"


def test_texts_become_a_row_again(make_answer):
    row = flatten(make_answer())
    assert parse_row({name: None if value is None else str(value) for name, value in row.items()}) == row


@pytest.mark.parametrize(
    "change", [{"lat": "north"}, {"source_bytes": "1.5"}, {"image": ""}, {"status": "fine"}, {"status": None}]
)
def test_what_is_no_row_is_refused(change):
    with pytest.raises(ValueError, match=r"."):
        parse_row({"image": "a.jpg", "status": "ok", "lat": "1.5"} | change)
