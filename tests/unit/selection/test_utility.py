import pickle

import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.metrics import THRESHOLDS_KM
from geotoken.selection.utility import (
    geoscore,
    mixed_thresholds,
    parse_utility,
    weighted_thresholds,
    within_km,
)


def test_mixed_thresholds_counts_those_met_with_the_distance_itself_allowed():
    distance = np.array([0, 1, 1.001, 25, 26, 200, 201, 750, 751, 2500, 2501, 20_000.0])
    expected = np.array([5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]) / 5
    np.testing.assert_allclose(mixed_thresholds(distance), expected)


def test_mixed_thresholds_is_the_mean_of_its_parts():
    distance = np.random.default_rng(0).exponential(500, (30, 40))
    parts = [within_km(threshold)(distance) for threshold in THRESHOLDS_KM]
    np.testing.assert_allclose(mixed_thresholds(distance), np.mean(parts, axis=0), atol=1e-15)


def test_geoscore_by_hand():
    np.testing.assert_allclose(
        geoscore(np.array([0.0, 1492.7, 1492.7 * np.log(2)])), [5000, 5000 / np.e, 2500]
    )


@pytest.mark.parametrize("radius_km", [0.0, -1.0, float("nan")])
def test_within_needs_a_radius(radius_km):
    with pytest.raises(InputError, match="radius_km"):
        within_km(radius_km)


def test_weights_of_the_thresholds_add_up():
    utility = weighted_thresholds((4, 3, 2, 1, 0))
    np.testing.assert_allclose(
        utility(np.array([0.5, 20.0, 150.0, 700.0, 2000.0, 9000.0])), np.array([10, 6, 3, 1, 0, 0]) / 10
    )


@pytest.mark.parametrize(
    "weights", [(), (1, 1, 1), (0, 0, 0, 0, 0), (1, 1, 1, 1, -1), (1, 1, 1, 1, float("nan"))]
)
def test_weights_must_be_five_and_usable(weights):
    with pytest.raises(InputError, match="weights of the thresholds"):
        weighted_thresholds(weights)


@pytest.mark.parametrize(
    ("text", "utility"),
    [
        ("thresholds", mixed_thresholds),
        ("geoscore", geoscore),
        ("within=25", within_km(25)),
        ("6,20,3,1,1", weighted_thresholds((6, 20, 3, 1, 1))),
    ],
)
def test_utilities_have_names_and_can_be_sent_to_another_process(text, utility):
    distance = np.array([[0.5, 30.0], [800.0, 1e4]])
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(parse_utility(text)))(distance), utility(distance)
    )


@pytest.mark.parametrize("text", ["", "best", "within=", "within=-1", "1,2,3", "1,2,3,4,x"])
def test_what_is_no_utility_is_refused(text):
    with pytest.raises(InputError, match="--utility"):
        parse_utility(text)
