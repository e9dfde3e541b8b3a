import numpy as np
import pytest
import torch

from feature_stores import make_located_store, make_store
from geotoken.alignment import AlignmentConfig
from geotoken.alignment.names import PlaceTexts, describe_places, hashed_parts
from geotoken.alignment.network import AlignmentNetwork
from geotoken.errors import ConfigError, InputError
from geotoken.geo import haversine_km
from geotoken.train.align import AlignConfig, AlignStage, TextInputs, moved, near, spaced
from geotoken.train.draws import Draws

SMALL = {"dim": 16, "text_dim": 12, "hidden": (32,), "num_frequencies": 16, "width": 24, "num_hidden": 1}
SMALL |= {"num_buckets": 256, "bucket_width": 8}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_located_store(tmp_path_factory.mktemp("located") / "store", 300, dim=10, num_towns=12)


@pytest.fixture
def make_stage(store):
    def make(style="levels", **changes):
        torch.manual_seed(0)
        network = AlignmentNetwork(
            AlignmentConfig(image_encoder="enc-image", image_dim=10, text=style, **SMALL)
        )
        texts = None if style == "none" else TextInputs(describe_places(store.lat, store.lng, style), 256)
        config = AlignConfig(**{"validation_share": 0.2, "queue_size": 7} | changes)
        return AlignStage(network, store, texts, config)

    return make


def test_owners_are_not_split(make_stage, store):
    stage = make_stage()
    owner = store.table(np.arange(300))["owner"]
    assert not set(owner[stage.train_rows]) & set(owner[stage.validation_rows])
    assert len(stage.train_rows) + len(stage.validation_rows) == 300


def test_a_split_for_validation_is_used(tmp_path):
    mixed = make_store(tmp_path / "mixed", 60)
    config = AlignmentConfig(image_encoder="enc-image", image_dim=8, text="none")
    stage = AlignStage(AlignmentNetwork(config), mixed, None, AlignConfig())
    np.testing.assert_array_equal(stage.train_rows, mixed.rows_of("train"))
    np.testing.assert_array_equal(stage.validation_rows, mixed.rows_of("val"))


@pytest.mark.parametrize("style", ["levels", "sentence", "none"])
def test_the_loss_is_that_of_a_plain_loop(make_stage, store, style):
    stage = make_stage(style, false_negative_km=3.0, text_weight=0.5)
    rows = np.arange(11)
    with torch.no_grad():
        found, parts = stage.loss(stage.module, rows, Draws(0, 0, 0, 11))
        mine = stage.train_rows[rows]
        queue = stage._queue(mine)
        places = np.concatenate([np.stack([store.lat[mine], store.lng[mine]], axis=1), queue])
        image = torch.from_numpy(store.batch(mine)["image"]).float()
        aligned = stage.module.project(image)
        gps = stage.module.embed_places(torch.from_numpy(places))
    assert queue.shape == (7, 2)
    right = haversine_km(*places[:11, :, None].swapaxes(0, 1), *places.T) <= 3.0
    expected = _loop(aligned["location"], gps, 1 / 0.07, right)
    assert parts["location"].item() == pytest.approx(expected, rel=1e-5)
    if style == "none":
        assert found.item() == pytest.approx(expected, rel=1e-5)
        return
    texts = describe_places(store.lat, store.lng, style)
    with torch.no_grad():
        by_level = []
        for level in range(texts.codes.shape[1]):
            parted, starts = hashed_parts([texts.texts[code] for code in texts.codes[mine, level]], 256)
            vectors = stage.module.text_tower((torch.from_numpy(parted), torch.from_numpy(starts[:-1])))
            equal = texts.codes[mine, level, None] == texts.codes[mine, level]
            by_level.append(_loop(aligned["text"], vectors, 1 / 0.07, equal))
    assert parts["text"].item() == pytest.approx(np.mean(by_level), rel=1e-5)
    assert found.item() == pytest.approx(expected + 0.5 * np.mean(by_level), rel=1e-5)


def _loop(a, b, scale, right):
    """Mean of both directions, query by query; what is right but not a query's own is left out."""
    a, b = a.double().numpy(), b.double().numpy()
    total = 0.0
    for i in range(len(a)):
        for query, keys in ((a[i], b), (b[i], a)):
            allowed = [j for j in range(len(keys)) if j == i or not right[i][j]]
            logits = np.array([scale * query @ keys[j] for j in allowed])
            total += np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[allowed.index(i)]
    return total / (2 * len(a))


def test_a_queue_is_that_of_its_batch_whoever_asks(make_stage, store):
    stage = make_stage(queue_size=50)
    one, again, other = (stage._queue(np.array(rows)) for rows in ([5, 9, 2], [2, 5, 9], [2, 5, 8]))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    known = {(lat, lng) for lat, lng in zip(store.lat, store.lng, strict=True)}
    assert all(tuple(place) in known for place in one)
    jittered = make_stage(queue_size=2000, jitter_m=500.0)._queue(np.array([5, 9, 2]))
    still = make_stage(queue_size=2000)._queue(np.array([5, 9, 2]))
    distance_m = 1000 * haversine_km(*jittered.T, *still.T)
    assert np.sqrt(np.mean(distance_m**2)) == pytest.approx(500 * 2**0.5, rel=0.05)


def test_a_perfect_network_has_rank_one_and_no_error(make_stage, store):
    stage = make_stage("none", false_negative_km=0.0)
    module = stage.module
    places = {row: index for index, row in enumerate(range(300))}
    assert len(places) == 300
    eye = torch.eye(300)

    class Perfect(AlignmentNetwork):
        def embed_places(self, lat_lng):
            at = [
                int(np.argmin(haversine_km(lat, lng, store.lat, store.lng))) for lat, lng in lat_lng.tolist()
            ]
            return eye[at]

        def project(self, vectors):
            known = torch.from_numpy(store.batch(np.arange(300))["image"]).float()
            return {"location": eye[torch.cdist(vectors, known).argmin(dim=1)]}

    perfect = Perfect(module.config)
    figures = stage.validate(perfect)
    assert figures["median_rank"] == 1
    stage.train_rows = np.arange(300)
    assert stage.validate(perfect)["median_error_km"] == pytest.approx(0, abs=1e-6)
    assert stage.validate(perfect)["acc_at_1km"] == 100


def test_a_validation_is_always_the_same_and_needs_no_queue(make_stage):
    stage = make_stage()
    with torch.no_grad():
        first, second = stage.validate(stage.module), make_stage(queue_size=0).validate(stage.module)
    assert first == second
    assert first.keys() == {"loss", "median_rank", "median_error_km"} | {
        f"acc_at_{r}km" for r in (1, 25, 200, 750, 2500)
    }


def test_texts_of_a_frozen_encoder_are_looked_up(store):
    texts = PlaceTexts(("a", "b", "c"), np.array([[0, 2], [2, 2], [1, 0]]))
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    (given,), which = TextInputs(texts, 8, vectors).take(np.array([1, 0]), torch.device("cpu"))
    assert given[which].tolist() == [[[4, 5], [4, 5]], [[0, 1], [4, 5]]]


def test_near_is_a_great_circle_distance():
    random = np.random.default_rng(0)
    lat, lng = random.uniform(-90, 90, 40), random.uniform(-180, 180, 40)
    close = moved(lat, lng, *random.normal(0, 800, (2, 40)))
    for radius_km in (0.5, 1.0, 3000.0, 15_000.0):
        expected = haversine_km(lat[:, None], lng[:, None], *close) <= radius_km
        np.testing.assert_array_equal(near(lat, lng, *close, radius_km), expected)


def test_places_are_moved_by_metres_also_at_the_date_line():
    lat, lng = np.array([0.0, 60.0, 10.0, 90.0]), np.array([0.0, 20.0, 179.9999, 0.0])
    north, east = np.array([1000.0, 0, 0, 500]), np.array([0.0, 1000, 1000, 0])
    new_lat, new_lng = moved(lat, lng, north, east)
    np.testing.assert_allclose(haversine_km(lat, lng, new_lat, new_lng)[:3], 1.0, rtol=1e-3)
    assert new_lng[2] < -179
    assert new_lat.max() <= 90


def test_spaced_rows_are_in_order_and_not_repeated():
    rows = np.arange(10) * 3
    np.testing.assert_array_equal(spaced(rows, 20), rows)
    found = spaced(rows, 4)
    assert len(set(found.tolist())) == 4
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queue_size": -1}, "queue_size is -1"),
        ({"false_negative_km": -1.0}, "false_negative_km is -1"),
        ({"jitter_m": float("nan")}, "jitter_m is nan"),
        ({"text_weight": 0.0}, "text_weight is 0"),
        ({"validation_share": 1.0}, "validation_share is 1"),
        ({"validation_rows": 1}, "validation_rows is 1; give at least 2"),
    ],
)
def test_what_is_impossible_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        AlignConfig(**changes)


def test_a_store_without_owners_to_hold_out_is_refused(make_stage):
    with pytest.raises(InputError, match="0 photos are to train on and 300 to validate with"):
        make_stage(validation_share=1 - 1e-12)
