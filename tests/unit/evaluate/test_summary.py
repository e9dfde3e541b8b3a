import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.evaluate.intervals import estimate
from geotoken.evaluate.summary import Measure, compare, fill_errors, measure_rows, summarise
from geotoken.metrics import FARTHEST_KM, THRESHOLDS_KM


def test_a_photo_without_an_answer_is_wrong_everywhere(make_row):
    known = {"credible_low": 0.0, "credible_high": 0.2, "radius_50_km": 5.0, "radius_90_km": 50.0, "nll": 3.0}
    rows = [make_row("a", 0.5, **known), make_row("b", None)]
    found = summarise(rows)
    assert found["n"] == 2
    assert found["num_failed"] == found["num_with_posterior"] == 1
    assert [found[f"acc_at_{r}km"] for r in THRESHOLDS_KM] == [50.0] * 5
    assert found["mean_error_km"] == pytest.approx((0.5 + FARTHEST_KM) / 2)
    assert found["geoscore"] == pytest.approx(2500 * np.exp(-0.5 / 1492.7))
    assert found["coverage_50"] == found["coverage_90"] == found["within_radius_50"] == 50.0
    assert found["country_accuracy"] == 50.0
    assert found["nll"] == 3.0, "there is no density to take of the other"
    assert found["failures"] == [{"image": "b", "error": "no answer"}]


def test_the_keys_of_the_contract_are_there_even_if_unknown(make_row):
    found = summarise([make_row("a", 10.0)])
    keys = [f"acc_at_{r}km" for r in (1, 25, 200, 750, 2500)]
    keys += ["median_error_km", "mean_error_km", "geoscore", "nll", "coverage_50", "coverage_90"]
    assert set(keys) <= set(found)
    assert set(keys) <= set(found["ci95"])
    assert found["nll"] is found["ci95"]["nll"] is found["coverage_50"] is None


def test_figures_by_hand(make_row):
    rows = [make_row(str(i), km) for i, km in enumerate((0.5, 10.0, 100.0, 500.0, 5000.0))]
    found = summarise(rows, Measure(num_resamples=10))
    assert [found[f"acc_at_{r}km"] for r in THRESHOLDS_KM] == [20, 40, 60, 80, 80]
    assert found["median_error_km"] == pytest.approx(100)
    assert found["mean_error_km"] == pytest.approx(5610.5 / 5)
    assert found["bootstrap"] == {"over": "photos", "num_clusters": 5, "num_resamples": 10, "seed": 0}
    low, high = found["ci95"]["acc_at_25km"]
    assert 0 <= low <= 40 <= high <= 100


def test_a_distance_equal_to_a_threshold_counts_unless_strict(make_row):
    rows = [make_row("a", 10.0)]
    error_km = np.array([25.0])
    for strict, expected in ((False, 100.0), (True, 0.0)):
        summarise(rows)
        assert estimate(measure_rows(rows, error_km, strict=strict))["acc_at_25km"] == expected


def test_the_formula_changes_the_distance(make_row):
    rows = [make_row("a", 1000.0)]
    fill_errors(rows, "haversine-6378")
    assert rows[0]["error_km"] == pytest.approx(1000 * 6378.137 / 6371.0088)
    assert summarise(rows)["distance"] == {"formula": "haversine", "radius_km": 6371.0088, "comparison": "<="}
    assert rows[0]["error_km"] == pytest.approx(1000)


def test_coverage_curve_and_coverage_agree(make_row):
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 1, 400)
    rows = [make_row(str(i), 1.0, credible_low=x, credible_high=x + 1e-9) for i, x in enumerate(low.tolist())]
    found = summarise(rows, Measure(num_resamples=2))
    curve = dict(found["curves"]["coverage"])
    assert curve[50.0] == found["coverage_50"] == pytest.approx(100 * np.mean(low < 0.5))
    assert curve[90.0] == found["coverage_90"]


def test_selective_accuracy_is_among_the_surest(make_row):
    sure = {"probability_25km": None}
    rows = [make_row(str(i), 1.0 if i < 50 else 9000.0, **sure) for i in range(100)]
    for i, row in enumerate(rows):
        row["probability_25km"] = 1 - i / 100
    curve = dict(summarise(rows, Measure(num_resamples=2))["curves"]["selective"]["25km"])
    assert curve[5.0] == curve[50.0] == 100.0
    assert curve[100.0] == 50.0
    for row in rows:
        row["probability_25km"] = 0.3  # equally sure of all: no order is better than another
    curve = dict(summarise(rows, Measure(num_resamples=2))["curves"]["selective"]["25km"])
    assert set(curve.values()) == {50.0}


def test_reliability_has_the_share_right_of_each_tenth(make_row):
    rows = [make_row(str(i), 1.0 if i % 4 else 900.0, probability_25km=0.75) for i in range(40)]
    ((said, right, number),) = summarise(rows, Measure(num_resamples=2))["curves"]["reliability"]["25km"]
    assert (said, right, number) == (pytest.approx(75), 75.0, 40)


def test_the_error_curve_rises_to_the_answered(make_row):
    rows = [make_row("a", 1.0), make_row("b", 100.0), make_row("c", None)]
    curve = summarise(rows, Measure(num_resamples=2))["curves"]["error_cdf"]
    shares = [share for _, share in curve]
    assert shares == sorted(shares)
    assert curve[-1][1] == pytest.approx(200 / 3)


def test_a_system_compared_with_itself_differs_by_nothing(make_row):
    rows = [make_row(str(i), 50.0 * i, owner=str(i % 7)) for i in range(40)]
    found = compare(rows, [dict(row) for row in rows], Measure(num_resamples=50))
    assert found["difference"]["acc_at_200km"] == 0
    assert found["ci95"]["mean_error_km"] == [0.0, 0.0]
    assert found["bootstrap"]["num_clusters"] == 7


def test_paired_intervals_are_narrower_than_those_of_each(make_row):
    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 400, 200)
    a = [make_row(str(i), km) for i, km in enumerate(hard.tolist())]
    b = [make_row(str(i), km * 0.9) for i, km in enumerate(hard.tolist())]
    found = compare(a, b, Measure(num_resamples=200))
    low, high = found["ci95"]["mean_error_km"]
    assert low < -0.1 * hard.mean() < high < 0
    alone = summarise(a, Measure(num_resamples=200))["ci95"]["mean_error_km"]
    assert high - low < 0.2 * (alone[1] - alone[0])


def test_a_photo_that_one_lacks_counts_as_failed_there(make_row):
    found = compare([make_row("a", 1.0), make_row("b", 1.0)], [make_row("c", 1.0), make_row("a", 1.0)])
    assert found["n"] == 3
    assert (found["num_only_in_a"], found["num_only_in_b"]) == (1, 1)
    assert found["a"]["acc_at_25km"] == found["b"]["acc_at_25km"] == pytest.approx(200 / 3)


def test_what_cannot_be_compared_is_refused(make_row):
    with pytest.raises(InputError, match="no photo in common"):
        compare([make_row("a", 1.0)], [make_row("b", 1.0)])
    with pytest.raises(InputError, match="disagree about where 'a'"):
        compare([make_row("a", 1.0)], [make_row("a", 1.0) | {"true_lat": 5.0}])
    with pytest.raises(InputError, match="no predictions"):
        summarise([])


@pytest.mark.parametrize(
    ("given", "flag"), [({"formula": "flat"}, "--distance"), ({"num_resamples": 1}, "--resamples")]
)
def test_measures_are_checked(given, flag):
    with pytest.raises(InputError, match=flag):
        Measure(**given)
