import numpy as np
import pytest

from geotoken.decoding import Candidates, DecodingOptions, decode, posterior
from geotoken.errors import InputError
from geotoken.geo import from_xyz, haversine_km, to_xyz
from geotoken.selection import METHODS, SCORED, geoscore, mixed_thresholds, select, within_km


def candidates_at(lat, lng, log_prob, num_samples=None):
    return Candidates(
        tokens=np.zeros((len(lat), 11), dtype=np.int64),
        log_prob=np.asarray(log_prob, dtype=np.float64),
        lat=np.asarray(lat, dtype=np.float64),
        lng=np.asarray(lng, dtype=np.float64),
        num_samples=num_samples,
    )


def test_log_prob_takes_the_likeliest():
    selected = select("log_prob", candidates_at([1, 2], [3, 4], [-1.0, -2.0]))
    assert (selected.lat, selected.lng, selected.candidate) == (1.0, 3.0, 0)
    assert selected.expected_utility is None


def test_medoid_of_equal_candidates_is_the_central_one():
    selected = select("medoid", candidates_at([0, 0, 0], [0, 10, 25], [-3.0, -3.0, -3.0]))
    assert selected.candidate == 1


def test_medoid_weighs_by_probability_without_samples_and_by_draws_with():
    lat, lng, log_prob = [0, 0, 0], [0, 10, 25], [-0.1, -5.0, -6.0]
    assert select("medoid", candidates_at(lat, lng, log_prob)).candidate == 0
    assert select("medoid", candidates_at(lat, lng, log_prob, np.array([1, 1, 9]))).candidate == 2
    assert select("medoid", candidates_at(lat, lng, log_prob, np.array([2, 2, 2]))).candidate == 1


def test_medoid_minimises_the_weighted_mean_distance():
    random = np.random.default_rng(0)
    lat, lng, log_prob = random.uniform(-60, 60, 20), random.uniform(-180, 180, 20), random.normal(-20, 2, 20)
    selected = select("medoid", candidates_at(lat, lng, log_prob))
    cost = [np.exp(log_prob) @ haversine_km(lat[i], lng[i], lat, lng) for i in range(20)]
    assert selected.candidate == int(np.argmin(cost))


def test_a_score_decides_and_of_equal_ones_the_likeliest():
    candidates = candidates_at([1, 2, 3, 4], [5, 6, 7, 8], [-1.0, -4.0, -2.0, -3.0])
    for method in SCORED:
        assert select(method, candidates, scores=np.array([0.1, 0.2, 0.9, 0.3])).candidate == 2
        assert select(method, candidates, scores=np.array([0.1, 0.9, 0.2, 0.9])).candidate == 3
        for scores in (None, np.ones(3)):
            with pytest.raises(InputError, match="needs scores; give one for each candidate"):
                select(method, candidates, scores=scores)


def test_medoid_copes_with_tiny_probabilities():
    assert select("medoid", candidates_at([0, 0, 0], [0, 10, 25], [-2000.0, -2000.0, -2000.0])).candidate == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("decoder", ["beam", "sample"])
def test_every_method_works_on_what_decoding_gives(make_model, photos, method, decoder):
    model = make_model("sparse", level=20, group_size=2)
    (found,) = decode(model, photos(3), DecodingOptions(decoder=decoder))
    (one,) = posterior(model, photos(3), 1e-3)
    selected = select(method, found, one, scores=np.arange(float(len(found.lat))))
    assert (selected.expected_utility is not None) == (method == "mbr")
    if selected.candidate is not None:
        assert (selected.lat, selected.lng) == (found.lat[selected.candidate], found.lng[selected.candidate])


@pytest.mark.parametrize("utility", [mixed_thresholds, geoscore, within_km(25)])
def test_mbr_is_at_least_as_useful_as_every_candidate_and_extra_point(make_model, photos, utility):
    model = make_model(level=10, group_size=2)
    (found,) = decode(model, photos(1))
    (one,) = posterior(model, photos(1))
    extra = np.array([10.0, 50.0, -20.0]), np.array([20.0, 0.0, 130.0])
    selected = select("mbr", found, one, utility=utility, extra=extra)
    for lat, lng in [*zip(found.lat, found.lng, strict=True), *zip(*extra, strict=True)]:
        distance = haversine_km(lat, lng, *from_xyz(one.points.xyz))
        assert selected.expected_utility >= utility(distance) @ one.points.probability - 1e-3 * utility(
            np.zeros(1)
        )


def test_mbr_may_answer_with_an_extra_point(make_model, photos):
    # Two sure leaves on different faces: only a point halfway between them is within reach of both.
    model = make_model(
        lambda key, prefix, size: np.eye(size)[[0, 1]].sum(axis=0) if not prefix else np.eye(size)[0]
    )
    (one,) = posterior(model, photos(0))
    (found,) = decode(model, photos(0))
    half_km = haversine_km(found.lat[0], found.lng[0], found.lat[1], found.lng[1]) / 2
    middle = from_xyz(to_xyz(found.lat, found.lng).sum(axis=0))
    selected = select(
        "mbr", found, one, utility=within_km(half_km * 1.2), extra=([0.0, middle[0]], [80.0, middle[1]])
    )
    assert (selected.lat, selected.lng) == middle
    assert selected.candidate is None
    assert selected.expected_utility == pytest.approx(1)


def test_unknown_method_and_missing_posterior():
    found = candidates_at([0], [0], [-1.0])
    with pytest.raises(InputError, match=r"--select.*'best'.*log_prob, medoid, mbr"):
        select("best", found)
    with pytest.raises(InputError, match="needs the posterior"):
        select("mbr", found)
    with pytest.raises(InputError, match="latitude"):
        select("log_prob", found, extra=([91.0], [0.0]))
