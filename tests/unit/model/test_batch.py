import dataclasses

import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.evidence import Evidence
from geotoken.model import Items, collate, make_batch
from geotoken.model.batch import GUESS, NEIGHBOR, NUM_FREQUENCIES, describe_places


def test_items_are_neighbors_then_guesses_and_the_rest_is_masked(make_config, evidence):
    config = make_config("pooled")
    photos = evidence(config)
    batch = collate(photos, config)
    assert batch.num_photos == 5
    assert batch.item_mask.sum(axis=1).tolist() == [4, 1, 0, 2, 3]
    assert batch.item_kind[0].tolist() == [NEIGHBOR, NEIGHBOR, NEIGHBOR, GUESS]
    assert batch.item_rank[0].tolist() == [1, 2, 3, 0]
    first = photos[0]
    lat, lng = np.append(first.neighbor_lat, first.guess_lat), np.append(first.neighbor_lng, first.guess_lng)
    np.testing.assert_array_equal(batch.item_tokens[0], config.scheme.encode(lat, lng))
    np.testing.assert_allclose(batch.item_log_weight[0], [0, 0, 0, *np.log(first.guess_weight)], rtol=1e-6)
    assert batch.item_similarity_known[:, 0].tolist() == [True, False, False, False, True]
    np.testing.assert_allclose(batch.item_similarity[4, :2], photos[4].neighbor_similarity, rtol=1e-6)


def test_vectors_are_there_where_the_evidence_has_them(make_config, evidence):
    config = make_config("pooled")
    photos = evidence(config)
    batch = collate(photos, config)
    assert batch.query_present.tolist() == [[True, True], [False] * 2, [True] * 2, [False] * 2, [True, False]]
    assert batch.item_present[4].tolist() == [[False, True], [False, True], [False] * 2, [False] * 2]
    np.testing.assert_allclose(batch.query_vectors["image"][4], photos[4].query_vectors["image"], rtol=1e-6)
    np.testing.assert_allclose(
        batch.item_vectors["text"][4, :2], photos[4].neighbor_vectors["text"], rtol=1e-6
    )
    assert not batch.item_vectors["text"][1].any()


def test_there_is_always_an_item_to_mask(make_config):
    batch = collate([Evidence()], make_config("full"))
    assert batch.item_mask.tolist() == [[False]]


def test_far_ranks_and_light_guesses_are_left_out(make_config):
    config = make_config("pointer", num_neighbors=2, num_guesses=2)
    one = Evidence(neighbor_lat=np.arange(3.0), neighbor_lng=np.zeros(3), neighbor_rank=np.arange(1.0, 4))
    told = Evidence(guess_lat=np.arange(3.0), guess_lng=np.zeros(3), guess_weight=np.array([1.0, 0.5, 2.0]))
    batch = collate([Evidence.merge([one, one, told])], config)
    assert batch.item_rank.tolist() == [[1, 2, 1, 2, 0, 0]]
    np.testing.assert_allclose(batch.item_log_weight[0, 4:], np.log([1, 2]), atol=1e-7)


def test_a_vector_of_another_length_is_refused(make_config, evidence):
    config = make_config("pooled")
    photos = evidence(config)
    other = dataclasses.replace(config, modalities=(("image", 7), ("text", 6)))
    with pytest.raises(InputError, match="image vectors have 8 numbers, but the model expects 7"):
        collate(photos, other)


def test_places_are_waves_of_the_unit_vector():
    lat, lng = np.array([10.0, -80.0]), np.array([20.0, 170.0])
    waves = describe_places(lat, lng).reshape(2, 3, NUM_FREQUENCIES, 2)
    z = np.sin(np.radians(lat))
    np.testing.assert_allclose(waves[:, 2, 0, 0], np.sin(np.pi * z), rtol=1e-6)
    np.testing.assert_allclose(waves[:, 2, 3, 1], np.cos(np.pi * 8 * z), rtol=1e-5)
    np.testing.assert_allclose(waves[..., 0] ** 2 + waves[..., 1] ** 2, 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("chosen", "complete"), [([0], True), ([0, 0], True), ([0, 1], False), ([2], False), ([4], False)]
)
def test_a_batch_is_complete_if_nothing_is_padded_or_absent(make_config, evidence, chosen, complete):
    config = make_config("paper")
    photos = evidence(config)
    assert collate([photos[i] for i in chosen], config).complete == complete


def test_dense_arrays_give_what_single_photos_give(make_config, evidence, kind):
    config = make_config(kind)
    photos = [evidence(config)[0]] * 2
    near, told = photos[0].neighbor_lat, photos[0].guess_lat[: config.num_guesses]
    told_lng = photos[0].guess_lng[: config.num_guesses]
    weight = np.r_[np.full(len(near), np.nan), photos[0].guess_weight[: config.num_guesses]]
    nothing = np.full(len(told), np.nan)
    items = Items(
        lat=np.tile(np.r_[near, told], (2, 1)),
        lng=np.tile(np.r_[photos[0].neighbor_lng, told_lng], (2, 1)),
        similarity=np.tile(np.r_[photos[0].neighbor_similarity, nothing], (2, 1)),
        vectors={
            name: np.tile(np.r_[vectors, np.full((len(told), vectors.shape[1]), np.nan)], (2, 1, 1))
            for name, vectors in photos[0].neighbor_vectors.items()
        },
        guess_weight=np.tile(weight, (2, 1)),
    )
    query = {name: np.tile(vector, (2, 1)) for name, vector in photos[0].query_vectors.items()}
    dense, padded = make_batch(items, query, config).arrays(), collate(photos, config).arrays()
    for name in padded:
        np.testing.assert_array_equal(dense[name], padded[name], err_msg=name)


def test_what_is_absent_from_dense_arrays_is_masked(make_config):
    config = make_config("paper")
    lat = np.array([[10.0, np.nan, 20.0, 30.0, 40.0], [np.nan] * 5])
    vectors = np.ones((2, 5, 8), np.float16)
    vectors[0, 2] = np.nan
    items = Items(lat=lat, lng=lat, vectors={"image": vectors})
    batch = make_batch(items, {"text": np.array([[1.0] * 6, [np.nan] * 6])}, config)
    assert batch.item_mask.tolist() == [[True, False, True, False, False], [False] * 5]
    assert batch.item_rank.tolist() == [[1, 0, 3, 0, 0], [0] * 5]
    assert batch.item_present[..., 0].tolist() == [[True, False, False, False, False], [False] * 5]
    assert batch.query_present.tolist() == [[False, True], [False, False]]
    assert not batch.item_similarity_known.any()
    assert all(np.isfinite(array).all() for array in batch.arrays().values())
    assert batch.item_vectors["image"].dtype == np.float32
