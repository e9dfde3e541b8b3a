import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.selection.utility import THRESHOLDS_KM, geoscore, mixed_thresholds, within_km


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
