import dataclasses

import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.evidence import Evidence, guess_evidence, parse_guess


def neighbors(num, *, similarity=True):
    values = np.arange(1.0, num + 1)
    return Evidence(
        neighbor_lat=values,
        neighbor_lng=-values,
        neighbor_rank=values,
        neighbor_similarity=values / 10 if similarity else None,
    )


def guess(weight=1.0):
    return Evidence(guess_lat=np.array([5.0]), guess_lng=np.array([6.0]), guess_weight=np.array([weight]))


def test_merge_keeps_ranks_within_each_photo():
    merged = Evidence.merge([neighbors(2), guess(), neighbors(3)])
    assert merged.neighbor_rank.tolist() == [1, 2, 1, 2, 3]
    assert merged.neighbor_similarity.tolist() == [0.1, 0.2, 0.1, 0.2, 0.3]
    assert merged.guess_lat.tolist() == [5.0]


def test_merge_drops_similarities_that_one_part_lacks():
    assert Evidence.merge([neighbors(2), neighbors(1, similarity=False)]).neighbor_similarity is None
    assert Evidence.merge([]).neighbor_similarity is None


@pytest.mark.parametrize(
    "name", ["neighbor_lng", "neighbor_rank", "neighbor_similarity", "guess_lng", "guess_weight"]
)
def test_columns_must_be_of_one_length(name):
    with pytest.raises(InputError, match=name):
        Evidence(**{name: np.ones(3)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neighbor_lat": np.array([1.0, 91.0])}, "row 1"),
        ({"neighbor_lng": np.array([np.nan, 0.0])}, "row 0"),
        ({"neighbor_rank": np.array([0.0, 1.0])}, "rank"),
        ({"neighbor_rank": np.array([1.0, np.nan])}, "rank"),
        ({"neighbor_similarity": np.array([0.5, np.nan])}, "similarity"),
        ({"neighbor_similarity": np.array([0.5, 1.5])}, "similarity"),
    ],
)
def test_neighbors_must_be_places_with_rank_and_similarity(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(neighbors(2), **change)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weight_of_a_guess_must_be_positive_and_finite(weight):
    with pytest.raises(InputError, match="weight of a guess"):
        guess(weight)


def test_a_guess_weighs_one_unless_said_otherwise():
    evidence = guess_evidence([(1.0, 2.0), (3.0, 4.0, 2.5)])
    assert evidence.guess_weight.tolist() == [1.0, 2.5]


def with_vectors(num, **query):
    vectors = np.arange(2.0 * num).reshape(num, 2)
    return dataclasses.replace(neighbors(num), neighbor_vectors={"image": vectors}, query_vectors=query)


def test_merge_joins_vectors_that_all_have_and_averages_those_of_the_photos():
    merged = Evidence.merge(
        [
            with_vectors(2, image=np.array([1.0, 0.0])),
            guess(),
            with_vectors(1, image=np.array([0.0, 1.0]), text=np.ones(3)),
        ]
    )
    assert merged.neighbor_vectors["image"].tolist() == [[0, 1], [2, 3], [0, 1]]
    assert merged.query_vectors["image"].tolist() == [0.5, 0.5]
    assert merged.query_vectors["text"].tolist() == [1, 1, 1]
    assert Evidence.merge([with_vectors(2), neighbors(1)]).neighbor_vectors == {}


@pytest.mark.parametrize(
    "change",
    [
        {"neighbor_vectors": {"image": np.ones((3, 2))}},
        {"neighbor_vectors": {"image": np.ones(2)}},
        {"neighbor_vectors": {"image": np.full((2, 2), np.nan)}},
        {"query_vectors": {"image": np.ones((1, 2))}},
        {"query_vectors": {"image": np.array([1.0, np.inf])}},
    ],
)
def test_vectors_must_fit_and_be_finite(change):
    with pytest.raises(InputError, match="image"):
        dataclasses.replace(neighbors(2), **change)


def test_vectors_of_one_name_have_one_length():
    with pytest.raises(InputError, match="differ in length"):
        Evidence.merge([with_vectors(1, image=np.ones(2)), with_vectors(1, image=np.ones(3))])


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("48.9,2.4", (48.9, 2.4)),
        ("-33.9,18.4", (-33.9, 18.4)),
        ("-33.9, -70, 2", (-33.9, -70.0, 2.0)),
        ("0,-180,0.5", (0.0, -180.0, 0.5)),
    ],
)
def test_a_guess_is_read(text, guess):
    assert parse_guess(text) == guess


@pytest.mark.parametrize("text", ["", "48.9", "a,b", "1,2,3,4", "48,9;2,4", "nan,1", "1,2,inf", "1,,2"])
def test_a_guess_that_is_none_is_refused(text):
    with pytest.raises(InputError, match=r"guess \(--guess\) is .*give LAT,LNG or LAT,LNG,WEIGHT"):
        parse_guess(text)


@pytest.mark.parametrize(("text", "why"), [("95,0", "latitude 95"), ("1,2,0", ".*greater than 0")])
def test_a_guess_out_of_range_is_refused(text, why):
    with pytest.raises(InputError, match=rf"^guess \(--guess\) is '{text}': {why}"):
        parse_guess(text)
