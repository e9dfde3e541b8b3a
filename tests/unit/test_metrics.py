import sys

import numpy as np
import pytest

from geotoken.errors import DependencyError, InputError
from geotoken.metrics import (
    FARTHEST_KM,
    FORMULAS,
    accuracy,
    coverage,
    covered,
    distance_to_truth_km,
    geoscore,
)


def test_accuracy_counts_the_threshold_itself_and_failures_as_wrong():
    found = accuracy([0.5, 1.0, 25.0, 25.1, np.inf])
    assert found == {
        "acc_at_1km": 40.0,
        "acc_at_25km": 60.0,
        "acc_at_200km": 80.0,
        "acc_at_750km": 80.0,
        "acc_at_2500km": 80.0,
        "median_error_km": 25.0,
    }


def test_an_answer_that_is_missing_is_infinitely_far():
    distance = distance_to_truth_km([0.0, np.nan], [0.0, np.nan], [0.0, 1.0], [1.0, 1.0])
    assert distance[0] == pytest.approx(111.195, abs=0.001)  # a degree on a sphere of R = 6371.0088 km
    assert distance[1] == np.inf


def test_coverage_counts_the_last_cell_by_the_fraction_inside():
    levels = np.array([[0.0, 0.2], [0.4, 0.8], [0.9, 0.95], [0.5, 0.5]])
    assert coverage(levels, 0.5) == pytest.approx(100 * (1 + 0.25 + 0 + 0) / 4)
    assert coverage(levels, 0.6) == pytest.approx(100 * (1 + 0.5 + 0 + 1) / 4)


def test_a_calibrated_posterior_is_covered_as_often_as_it_says():
    rng = np.random.default_rng(0)
    probability = rng.dirichlet(np.ones(8), 20_000)
    truth = (rng.uniform(0, 1, (20_000, 1)) > probability.cumsum(axis=1)).sum(axis=1)
    rank = np.argsort(-probability, axis=1)
    cumulative = np.take_along_axis(probability, rank, axis=1).cumsum(axis=1)
    position = (rank == truth[:, None]).argmax(axis=1)
    high = cumulative[np.arange(20_000), position]
    low = high - probability[np.arange(20_000), truth]
    for nominal in (0.5, 0.9):
        assert coverage(np.stack([low, high], axis=1), nominal) == pytest.approx(100 * nominal, abs=1)


def test_covered_is_what_coverage_is_the_mean_of():
    levels = np.array([[0.0, 0.2], [0.4, 0.8], [0.9, 0.95]])
    np.testing.assert_allclose(covered(levels, 0.5), [1, 0.25, 0])


def test_geoscore_of_no_answer_is_nothing():
    np.testing.assert_allclose(geoscore(np.array([0.0, 1492.7, np.inf])), [5000, 5000 / np.e, 0])


@pytest.fixture(scope="module")
def pairs():
    """Latitudes and longitudes of pairs of points, near and far, shape (500,) each."""
    rng = np.random.default_rng(0)
    lat, lng = np.degrees(np.arcsin(rng.uniform(-1, 1, 500))), rng.uniform(-180, 180, 500)
    step = 10.0 ** rng.uniform(-4, 1.5, (2, 500))
    return lat, lng, np.clip(lat + step[0], -90, 90), lng + step[1]


def test_the_ellipsoid_and_the_spheres_agree_as_they_should(pairs):
    exact = distance_to_truth_km(*pairs, "geodesic")
    found = {name: distance_to_truth_km(*pairs, name) for name in FORMULAS}
    assert np.abs(found["haversine"] / exact - 1).max() < 0.0057, "the flattening of the Earth is 1 / 298"
    np.testing.assert_allclose(found["haversine-6378"], found["haversine"] * 6378.137 / 6371.0088)
    np.testing.assert_allclose(found["haversine-6371"], found["haversine"] * 6371.0 / 6371.0088)


def test_the_great_circle_is_the_geodesic_of_a_sphere(pairs):
    geodesic = pytest.importorskip("geographiclib.geodesic")
    sphere = geodesic.Geodesic(6371008.8, 0.0)
    expected = [sphere.Inverse(*ends)["s12"] / 1000 for ends in zip(*pairs, strict=True)]
    np.testing.assert_allclose(distance_to_truth_km(*pairs), expected, rtol=1e-9, atol=1e-6)
    assert pytest.approx(sphere.Inverse(0, 0, 0, 180)["s12"] / 1000) == FARTHEST_KM


def test_a_formula_must_be_known_and_its_library_there(monkeypatch):
    with pytest.raises(InputError, match="--distance"):
        distance_to_truth_km([0.0], [0.0], [1.0], [1.0], "flat")
    monkeypatch.setitem(sys.modules, "geographiclib.geodesic", None)
    with pytest.raises(DependencyError, match=r"geotoken\[geodesic\]"):
        distance_to_truth_km([0.0], [0.0], [1.0], [1.0], "geodesic")
