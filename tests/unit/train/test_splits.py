import numpy as np
import pytest

from feature_stores import make_store
from geotoken.train.splits import held_out, known_rows, owner_codes, owner_hash, owner_order, training_rows


@pytest.mark.parametrize(
    ("splits", "learnt", "known"),
    [
        (("train", "val", "test"), ["train"], ["train", "val"]),
        (("train", "other", "test"), ["train"], ["train"]),
        (("a", "b", "test"), ["a", "b"], ["a", "b"]),
        (("a", "val", "test"), ["a"], ["a", "val"]),
        (("a", None), ["a", None], ["a", None]),
        (("val", "test"), [], ["val"]),
    ],
)
def test_rows_of_a_stage(tmp_path, splits, learnt, known):
    store = make_store(tmp_path / "store", 30, splits=splits)
    split = store.table(np.arange(30))["split"]
    for found, expected in ((training_rows(store), learnt), (known_rows(store), known)):
        assert found.tolist() == [row for row in range(30) if split[row] in expected]


@pytest.mark.parametrize(
    "owners", [np.arange(5000), np.random.default_rng(0).integers(-(2**63), 2**63, 5000)]
)
def test_the_split_is_even_and_always_the_same(owners):
    places = owner_hash(owners)
    counts, _ = np.histogram(places, bins=20, range=(0, 1))
    np.testing.assert_allclose(counts, 250, atol=60)
    np.testing.assert_array_equal(owner_hash(owners[::-1]), places[::-1])


def test_held_out_are_the_first_owners_in_order(tmp_path):
    store = make_store(tmp_path / "store", 60, splits=("a", None))
    rows = known_rows(store)
    owners = owner_codes(store, rows)
    order, num_owners = owner_order(owners)
    assert sorted(set(order)) == list(range(num_owners))
    unseen = held_out(store, rows, owners, 0.4)
    assert 0 < unseen.sum() < 60
    assert order[unseen].max() < order[~unseen].min()
