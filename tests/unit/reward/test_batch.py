import numpy as np
import pytest

from geotoken.evidence import Evidence
from geotoken.geo import from_xyz, haversine_km, to_xyz
from geotoken.model.batch import PLACE_DIM
from geotoken.reward import Proposals, collate, describe
from geotoken.reward.batch import CANDIDATE_DIM, RELATION_DIM, SCALES_KM, RewardBatch, concatenate, item_dim


def test_shapes_are_those_that_the_network_expects(make_config, make_cases):
    config = make_config(modalities=("text",), places=True)
    batch = collate(*make_cases(), config)
    assert batch.mask.sum(axis=1).tolist() == [7, 4, 1, 3]
    assert batch.item_mask.sum(axis=1).tolist() == [6, 3, 0, 2]
    shapes = {name: array.shape for name, array in describe(batch, config).items()}
    assert shapes == {
        "candidate": (4, 7, CANDIDATE_DIM),
        "expected": (4, 7, 5),
        "relation": (4, 7, 6, RELATION_DIM),
        "item": (4, 6, item_dim(config)),
        "item_mask": (4, 6),
        "place": (4, 7, PLACE_DIM),
    }


def test_each_candidate_is_related_to_every_item_by_their_distance(make_config, make_cases):
    evidence, proposals = make_cases()
    relation = describe(collate(evidence, proposals, make_config()), make_config())["relation"]
    lat, lng = (
        np.concatenate([getattr(evidence[0], f"{kind}_{axis}") for kind in ("neighbor", "guess")])
        for axis in ("lat", "lng")
    )
    for candidate in range(7):
        distance_km = haversine_km(proposals[0].lat[candidate], proposals[0].lng[candidate], lat, lng)
        expected = np.exp(-distance_km[:, None] / np.array(SCALES_KM))
        np.testing.assert_allclose(relation[0, candidate, :, :-1], expected, rtol=1e-5, atol=1e-7)
    assert relation[0, 0, 0, :-1].tolist() == [1.0] * len(SCALES_KM)  # the place of the first neighbor


def test_neighbors_beyond_the_limit_and_light_guesses_are_left_out(make_config):
    evidence = Evidence(
        neighbor_lat=np.arange(4.0),
        neighbor_lng=np.arange(4.0),
        neighbor_rank=np.array([3.0, 1.0, 2.0, 2.0]),
        guess_lat=np.array([50.0, 60.0]),
        guess_lng=np.zeros(2),
        guess_weight=np.array([1.0, 2.0]),
    )
    places = Proposals(lat=np.zeros(1), lng=np.zeros(1), log_prob=np.zeros(1), within=np.zeros((1, 5)))
    batch = collate([evidence], [places], make_config(num_neighbors=2, num_guesses=1))
    assert batch.item_lat[0].tolist() == [1.0, 2.0, 3.0, 60.0]
    assert batch.item_guess[0].tolist() == [False, False, False, True]
    assert batch.item_log_weight[0, 3] == np.log(2)


def test_vectors_are_told_as_their_cosine_to_the_photo(make_config):
    query, near = np.array([3.0, 0, 4]), np.array([[3.0, 0, 4], [0, 1, 0], [-6, 0, -8], [0, 0, 0]])
    evidence = Evidence(
        neighbor_lat=np.zeros(4),
        neighbor_lng=np.zeros(4),
        neighbor_rank=np.arange(1.0, 5),
        query_vectors={"text": query, "look": query},
        neighbor_vectors={"text": near, "look": near[:, :2]},
    )
    places = Proposals(lat=np.zeros(1), lng=np.zeros(1), log_prob=np.zeros(1), within=np.zeros((1, 5)))
    batch = collate([evidence], [places], make_config(modalities=("text", "look", "absent")))
    np.testing.assert_allclose(batch.item_cosine[0, :, 0], [1, 0, -1, 0])
    assert batch.item_cosine_known[0].all(axis=0).tolist() == [True, False, False]


def test_impossible_leaves_and_certain_thresholds_stay_finite(make_config):
    evidence = Evidence()
    within = np.array([[0.0, 0, 0, 1, 1]])
    places = Proposals(lat=np.zeros(1), lng=np.zeros(1), log_prob=np.array([-np.inf]), within=within)
    described = describe(collate([evidence], [places], make_config()), make_config())
    assert all(np.isfinite(array).all() for array in described.values())
    assert described["expected"][0, 0, 0] == -described["expected"][0, 0, 4] < -5


def test_equal_candidates_have_equal_ranks(make_config):
    log_prob = np.array([-1.0, -3.0, -1.0, -2.0])
    places = Proposals(lat=np.zeros(4), lng=np.zeros(4), log_prob=log_prob, within=np.zeros((4, 5)))
    described = describe(collate([Evidence()], [places], make_config()), make_config())
    np.testing.assert_allclose(np.expm1(described["candidate"][0, :, 2]), [0, 3, 0, 2], atol=1e-6)


def test_moving_a_case_over_the_sphere_changes_no_relation(make_config, make_cases):
    config = make_config(modalities=("text",))
    batch = collate(*make_cases(), config)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]

    def moved(lat, lng):
        return from_xyz(to_xyz(lat, lng) @ rotation.T)

    lat, lng = moved(batch.lat, batch.lng)
    item_lat, item_lng = moved(batch.item_lat, batch.item_lng)
    changed = {"lat": lat, "lng": lng, "item_lat": item_lat, "item_lng": item_lng}
    other = RewardBatch(**{name: changed.get(name, getattr(batch, name)) for name in RewardBatch.__slots__})
    here, there = describe(batch, config), describe(other, config)
    for name in here:
        np.testing.assert_allclose(there[name], here[name], atol=2e-5, err_msg=name)


def test_photos_and_candidates_are_chosen_and_joined(make_config, make_cases):
    batch = collate(*make_cases(), make_config())
    assert len(batch.take(np.array([2, 0]))) == 2
    chosen = batch.choose(np.array([[2, 0], [1, 1], [0, 0], [2, 1]]))
    assert chosen.lat[0].tolist() == [batch.lat[0, 2], batch.lat[0, 0]]
    np.testing.assert_array_equal(chosen.within[3], batch.within[3, [2, 1]])
    assert chosen.item_lat is batch.item_lat
    joined = concatenate([batch.take(np.array([2])), chosen, batch])
    assert len(joined) == 9
    assert joined.mask.sum(axis=1).tolist() == [1, 2, 2, 2, 2, 7, 4, 1, 3]
    np.testing.assert_array_equal(joined.item_mask[5:], batch.item_mask)


@pytest.mark.parametrize("part", ["lat", "item_lat"])
def test_a_batch_of_one_photo_without_anything_has_its_place_kept(make_config, part):
    places = Proposals(lat=np.ones(1), lng=np.ones(1), log_prob=np.ones(1), within=np.ones((1, 5)))
    batch = collate([Evidence()], [places], make_config())
    assert getattr(batch, part).shape == (1, 1)
