import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.evaluate.intervals import Measured, clusters, estimate, interval, resample


def test_owners_get_numbers_and_unknown_ones_are_apart():
    found = clusters(["b", "", "a", "b", ""])
    assert found[0] == found[3]
    assert len(set(found.tolist())) == 4
    assert sorted(set(found.tolist())) == [0, 1, 2, 3]


def test_estimates_are_mean_and_median_of_what_is_known():
    values = np.array([1.0, np.nan, 5.0, 2.0, 100.0])
    found = estimate(Measured(means={"mean": values}, medians={"median": values}))
    assert found == {"mean": np.nanmean(values), "median": np.nanmedian(values)}


def test_nothing_known_is_nan():
    nothing = np.full(3, np.nan)
    found = estimate(Measured(means={"a": nothing}, medians={"b": nothing}))
    assert np.isnan(list(found.values())).all()


@pytest.mark.parametrize("number", [4, 5])
def test_resampled_figures_are_those_of_the_photos_drawn(number):
    rng = np.random.default_rng(1)
    values, cluster = rng.exponential(1, 12), np.repeat(np.arange(number), 3)[:12]
    drawn = resample(Measured(means={"m": values}, medians={"d": values}), cluster, num_resamples=20, seed=7)
    again = np.random.default_rng(7)
    size = cluster.max() + 1
    for k in range(20):  # the same draws, photo by photo
        photos = np.concatenate([np.flatnonzero(cluster == c) for c in again.integers(size, size=size)])
        assert drawn["m"][k] == pytest.approx(values[photos].mean())
        assert drawn["d"][k] == pytest.approx(np.median(values[photos]))


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, hits = np.random.default_rng(3), 0
    for seed in range(150):
        owner_effect = rng.normal(0, 1, 60)
        values = np.repeat(owner_effect, 5) + rng.normal(0, 0.3, 300)
        drawn = resample(
            Measured(means={"m": values}), np.repeat(np.arange(60), 5), num_resamples=200, seed=seed
        )
        low, high = interval(drawn["m"])
        hits += low <= 0 <= high
    assert 0.87 < hits / 150 <= 1.0  # 0.95 nominal; photos taken as independent would give about 0.6


def test_equal_seeds_draw_equal_photographers():
    cluster, a, b = np.arange(30), np.arange(30.0), np.arange(30.0) + 5
    first, second = (resample(Measured(means={"m": one}), cluster, num_resamples=50) for one in (a, b))
    np.testing.assert_allclose(second["m"] - first["m"], 5)


def test_interval_of_nothing_is_none_and_of_something_its_percentiles():
    assert interval(np.array([np.nan, np.nan])) is None
    assert interval(np.arange(1001.0)) == [25.0, 975.0]


def test_one_resample_is_too_few():
    with pytest.raises(InputError, match="--resamples"):
        resample(Measured(means={"m": np.ones(2)}), np.arange(2), num_resamples=1)
