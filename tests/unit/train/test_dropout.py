import numpy as np
import pytest

from geotoken.errors import ConfigError
from geotoken.model import Items, ModelConfig, make_batch
from geotoken.train.draws import Draws
from geotoken.train.dropout import DropoutConfig, drop_evidence

CONFIG = ModelConfig(
    width=8,
    num_encoder_layers=1,
    num_decoder_layers=1,
    num_heads=2,
    feed_forward=8,
    modalities=(("image", 3), ("text", 2)),
    num_neighbors=4,
    num_guesses=1,
)
NUM = 4000


@pytest.fixture(scope="module")
def batch():
    """Photos with three neighbors of four places, and a guess."""
    places = np.tile([10.0, 20.0, 30.0, np.nan, 40.0], (NUM, 1))
    weight = np.tile([np.nan, np.nan, np.nan, np.nan, 1.0], (NUM, 1))
    items = Items(
        lat=places,
        lng=places,
        similarity=np.where(np.isnan(weight), 0.5, np.nan),
        vectors={"image": np.ones((NUM, 5, 3)), "text": np.ones((NUM, 5, 2))},
        guess_weight=weight,
    )
    return make_batch(items, {"image": np.ones((NUM, 3)), "text": np.ones((NUM, 2))}, CONFIG)


def drop(batch, **shares):
    return drop_evidence(batch, DropoutConfig(**shares), Draws(0, 0, 0, NUM))


def test_nothing_is_dropped_by_default(batch):
    dropped = drop(batch)
    for name, array in batch.arrays().items():
        np.testing.assert_array_equal(dropped.arrays()[name], array)


def test_neighbors_are_dropped_one_by_one_but_not_guesses(batch):
    dropped = drop(batch, neighbor=0.3)
    np.testing.assert_allclose(dropped.item_mask.mean(axis=0), [0.7, 0.7, 0.7, 0, 1], atol=0.03)
    together = dropped.item_mask[:, 0] & dropped.item_mask[:, 1]
    np.testing.assert_allclose(together.mean(), 0.49, atol=0.03)
    gone = ~dropped.item_mask
    assert not dropped.item_present[gone].any()
    assert not dropped.item_similarity_known[gone].any()
    assert (dropped.item_similarity[gone] == 0).all()
    np.testing.assert_array_equal(dropped.item_rank, batch.item_rank)


def test_a_modality_goes_from_photo_and_neighbors_together(batch):
    dropped = drop(batch, modality=0.25)
    np.testing.assert_allclose(dropped.query_present.mean(axis=0), 0.75, atol=0.03)
    for neighbor in range(3):
        np.testing.assert_array_equal(dropped.item_present[:, neighbor], dropped.query_present)
    np.testing.assert_array_equal(dropped.item_mask, batch.item_mask)


def test_query_and_similarity(batch):
    dropped = drop(batch, query=0.5, similarity=0.4)
    assert (dropped.query_present.all(axis=1) == dropped.query_present.any(axis=1)).all()
    np.testing.assert_allclose(dropped.query_present.mean(), 0.5, atol=0.03)
    np.testing.assert_array_equal(dropped.item_present, batch.item_present)
    known = dropped.item_similarity_known[:, :3]
    assert (known.all(axis=1) == known.any(axis=1)).all()
    np.testing.assert_allclose(known.mean(), 0.6, atol=0.03)


@pytest.mark.parametrize("field", ["neighbor", "modality", "query", "similarity"])
@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_ranges(field, share):
    with pytest.raises(ConfigError, match=f"dropout of {field}"):
        DropoutConfig(**{field: share})
