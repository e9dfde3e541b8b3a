import dataclasses

import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.evidence import Evidence, guess_evidence


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
