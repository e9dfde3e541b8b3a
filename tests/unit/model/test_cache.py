import numpy as np
import pytest

from geotoken.model.cache import NodeStore, PrefixCache, embedding_offsets
from geotoken.tokens import TokenScheme

SCHEME = TokenScheme(4, 2)
ITEMS = np.array([[[0, 1, 2], [0, 1, 5]], [[3, 0, 0], [0, 1, 2]], [[5, 5, 5], [5, 5, 5]]])


class Store(NodeStore):
    def new(self):
        return Store()

    def grow(self):
        pass


@pytest.fixture
def cache():
    mask = np.array([[True, True], [True, False], [True, True]])
    return PrefixCache.empty(SCHEME, ITEMS, mask, Store())


def advance(cache, tokens):
    return cache.advance(None if tokens is None else np.array(tokens))


def test_paths_share_the_nodes_of_their_prefixes(cache):
    advance(cache, None)
    cache = cache.reorder(np.array([0, 0, 2]))
    given = advance(cache, [0, 3, 5])
    assert given.nodes.tolist() == [[0, 3], [0, 4], [2, 5]]
    assert given.new == slice(3, 6)
    cache = cache.reorder(np.array([1, 1, 2]))
    assert advance(cache, [0, 1, 5]).new == slice(6, 9)
    assert cache.nodes.tolist() == [[0, 4, 6], [0, 4, 7], [2, 5, 8]]


def test_a_cache_is_a_value(cache):
    advance(cache, None)
    before = cache.nodes.copy()
    other = cache.reorder(np.array([2, 0]))
    advance(other, [1, 1])
    assert cache.nodes.tolist() == before.tolist()
    assert cache.num_rows == 3
    again = advance(cache, [0, 0, 0])
    assert again.nodes[:, 0].tolist() == [0, 1, 2]
    assert len(np.unique(np.concatenate([cache.nodes[:, 1], other.nodes[:, 1]]))) == 5


def test_expand_repeats_rows_side_by_side(cache):
    advance(cache, None)
    assert cache.expand(2).nodes.tolist() == [[0], [0], [1], [1], [2], [2]]
    assert cache.expand(2).photo.tolist() == [0, 0, 1, 1, 2, 2]


def test_empty_hypotheses_begin_a_store_of_their_own(cache):
    assert cache.reorder(np.array([1])).store is not cache.store
    advance(cache, None)
    assert cache.reorder(np.array([1])).store is cache.store


def test_a_store_makes_room_for_the_steps_to_come():
    store = Store()
    assert store.reserve(2, 3) == slice(0, 2)
    assert (store.num_nodes, store.capacity) == (2, 6)
    assert store.reserve(4, 1) == slice(2, 6)
    assert store.reserve(1, 1) == slice(6, 7)
    assert store.capacity == 9
    assert store.reserve(0, 9) == slice(7, 7)


def test_items_match_while_they_agree_with_the_prefix(cache):
    assert advance(cache, None).match.tolist() == [[True, True], [True, False], [True, True]]
    given = advance(cache, [0, 0, 5])
    assert given.match.tolist() == [[True, True], [False, False], [True, True]]
    assert given.copied.tolist() == [[1, 1], [0, 1], [5, 5]]
    cache = cache.reorder(np.array([0, 0]))
    given = advance(cache, [1, 2])
    assert given.match.tolist() == [[True, True], [False, False]]
    assert given.copied.tolist() == [[2, 5], [2, 5]]


@pytest.mark.parametrize("photo", [[0, 0, 0, 2], [1], [1, 1, 2], [2, 0, 2, 1, 0]])
def test_slots_lay_the_rows_of_a_photo_side_by_side(cache, photo):
    advance(cache, None)
    cache = cache.reorder(np.array(photo))
    given = advance(cache, [0] * len(photo))
    assert (given.photos.start, given.photos.stop) == (min(photo), max(photo) + 1)
    assert given.pad.shape == (max(photo) - min(photo) + 1, max(np.bincount(photo)))
    flat = given.pad.reshape(-1)
    assert flat[given.slot].tolist() == list(range(len(photo)))
    assert (given.photos.start + given.slot // given.pad.shape[1]).tolist() == photo


def test_no_rows_are_allowed(cache):
    advance(cache, None)
    none = cache.reorder(np.empty(0, dtype=np.int64))
    assert none.advance(np.empty(0, dtype=np.int64)).pad.shape == (1, 1)


def test_tokens_come_when_there_are_some_and_end_with_the_leaf(cache):
    with pytest.raises(TypeError, match="step 0"):
        advance(cache, [0, 0, 0])
    advance(cache, None)
    with pytest.raises(TypeError, match="step 1"):
        advance(cache, None)
    advance(cache, [0, 0, 0])
    advance(cache, [0, 0, 0])
    with pytest.raises(TypeError, match="step 3 of 3"):
        advance(cache, [0, 0, 0])


def test_every_position_has_rows_of_its_own_in_the_table():
    assert embedding_offsets(SCHEME).tolist() == [1, 7, 23, 39]
