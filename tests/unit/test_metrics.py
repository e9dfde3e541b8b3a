import numpy as np
import pytest

from geotoken.metrics import accuracy, coverage, distance_to_truth_km


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
