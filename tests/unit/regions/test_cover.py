import numpy as np

from geotoken import cells
from geotoken.regions.cover import Cover
from geotoken.regions.shape import INSIDE, OUTSIDE, PARTIAL

LEAVES = np.array([[3 << 60, (3 << 60) + (1 << 56)], [5 << 60, (5 << 60) + 12345678901]], dtype=np.uint64)


def by_leaves(cell_ids):
    """Relation to the two runs of leaves above, by comparing numbers."""
    first, last = cells.range_min(cell_ids)[:, None], cells.range_max(cell_ids)[:, None]
    inside = ((LEAVES[:, 0] <= first) & (last <= LEAVES[:, 1])).any(axis=1)
    outside = ((LEAVES[:, 0] > last) | (first > LEAVES[:, 1])).all(axis=1)
    return np.where(inside, INSIDE, np.where(outside, OUTSIDE, PARTIAL)).astype(np.int8)


def test_cells_are_placed_as_the_shape_places_them_or_left_open():
    cover = Cover.build(by_leaves, 50)
    rng = np.random.default_rng(0)
    leaves = np.concatenate([rng.integers(1 << 59, 3 << 61, 3000), LEAVES.reshape(-1) | np.uint64(1)])
    leaves = leaves.astype(np.uint64) | np.uint64(1)
    ids = np.concatenate([cells.parent(leaves, level) for level in range(31)])
    relations, unsure = cover.relation(ids)
    is_unsure = np.isin(np.arange(len(ids)), unsure)
    truth = by_leaves(ids)
    np.testing.assert_array_equal(relations[~is_unsure], truth[~is_unsure])
    assert (relations[is_unsure] == PARTIAL).all()
    assert is_unsure.mean() < 0.01


def test_a_tree_restores_its_cover():
    cover = Cover.build(by_leaves, 20)
    again = Cover.from_tree(cover.tree)
    for name in ("first", "last", "relations", "num_inside"):
        np.testing.assert_array_equal(getattr(again, name), getattr(cover, name))


def test_cells_are_disjoint_and_rise():
    cover = Cover.build(by_leaves, 20)
    assert (cover.first <= cover.last).all()
    assert (cover.last[:-1] < cover.first[1:]).all()


def test_nothing_and_everything():
    ids = np.concatenate([cells.parent(LEAVES.reshape(-1) | np.uint64(1), level) for level in (0, 1, 9, 30)])
    for value in (OUTSIDE, INSIDE):
        cover = Cover.build(lambda cell_ids, value=value: np.full(len(cell_ids), value, dtype=np.int8), 10)
        relations, unsure = cover.relation(ids)
        assert (relations == value).all()
        assert unsure.size == 0
        assert len(cover.tree) == 24


def test_a_point_is_followed_to_the_last_level():
    leaf = LEAVES[0, 0] | np.uint64(1)
    cover = Cover.build(
        lambda ids: np.where(
            (cells.range_min(ids) <= leaf) & (leaf <= cells.range_max(ids)), PARTIAL, OUTSIDE
        ).astype(np.int8),
        10,
    )
    assert cover.first.tolist() == cover.last.tolist() == [int(leaf)]
