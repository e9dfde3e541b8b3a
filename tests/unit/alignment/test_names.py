from itertools import pairwise

import numpy as np

from geotoken.alignment.names import describe_places, hashed_parts, place_texts
from geotoken.places import Place, nearest


def test_places_are_told_by_levels_or_at_once():
    lat, lng = np.array([34.8394, 34.84, 48.8584]), np.array([134.6939, 134.69, 2.2945])
    levels = describe_places(lat, lng, "levels")
    assert [levels.texts[code] for code in levels.codes[0]] == [
        "Japan",
        "Hyogo, Japan",
        "Himeji, Hyogo, Japan",
    ]
    assert levels.codes.shape == (3, 3)
    assert list(levels.codes[0]) == list(levels.codes[1])
    assert not set(levels.codes[0]) & set(levels.codes[2])
    sentence = describe_places(lat, lng, "sentence")
    assert sentence.codes.tolist() == [[0], [0], [1]]
    assert sentence.texts[0] == "A photo taken in Himeji, Hyogo, Japan."
    assert describe_places(lat[:0], lng[:0], "levels").codes.shape == (0, 3)


def test_a_country_without_divisions_is_no_gap():
    place = Place(city="Monaco", admin1="", country="Monaco", country_code="MC", distance_km=0.1)
    assert place_texts(place, "levels") == ["Monaco", "Monaco", "Monaco, Monaco"]
    assert place_texts(place, "sentence") == ["A photo taken in Monaco, Monaco."]


def test_parts_are_words_pairs_and_letters():
    rows, starts = hashed_parts(["ab cd", "ab", ""], 1 << 24)
    # <ab>, <cd>, <ab><cd>, then <ab ab> and <cd cd>: five parts and two more
    assert starts.tolist() == [0, 7, 10, 10]
    first, second = set(rows[:7].tolist()), set(rows[7:10].tolist())
    assert second < first
    assert len(first) == 7
    assert hashed_parts(["AB, cd."], 1 << 24)[0].tolist() == rows[:7].tolist()


def test_like_names_share_parts_and_rows_stay_in_the_table():
    texts = [", ".join((p.city, p.country)) for p in nearest([48.2, 48.3, -34.6], [16.4, 16.5, -58.4])]
    rows, starts = hashed_parts([*texts, "Österreich"], 50)
    assert rows.min() >= 0
    assert rows.max() < 50
    wide, starts = hashed_parts(
        ["Sankt Gallen, Switzerland", "Sankt Moritz, Switzerland", "Lima, Peru"], 1 << 24
    )
    parts = [set(wide[a:b].tolist()) for a, b in pairwise(starts)]
    assert len(parts[0] & parts[1]) > 10 > len(parts[0] & parts[2])
