import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotoken import cells
from geotoken.errors import InputError
from geotoken.geo import haversine_km
from geotoken.tokens import TokenScheme

SCHEMES = [
    TokenScheme(),
    TokenScheme(20, 1),
    TokenScheme(20, 5),
    TokenScheme(30, 3),
    TokenScheme(1, 1),
    TokenScheme(12, 12),
]


def random_points(num_points, seed=0):
    rng = np.random.default_rng(seed)
    return np.degrees(np.arcsin(rng.uniform(-1, 1, num_points))), rng.uniform(-180, 180, num_points)


def test_default_scheme():
    scheme = TokenScheme()
    assert scheme.length == 11
    assert scheme.vocabulary_sizes == (6, *[16] * 10)
    assert [scheme.level_at(k) for k in range(1, 12)] == list(range(0, 21, 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        scheme.level = 3


def test_tokens_of_a_known_cell():
    # Face 2 and then child positions 1, 2 | 3, 0 are written out by hand.
    cell_id = np.uint64((2 << 61) | (0b01_10_11_00 << 53) | (1 << 52))
    assert TokenScheme(4, 2).from_cells(cell_id).tolist() == [2, 6, 12]
    assert TokenScheme(4, 4).from_cells(cell_id).tolist() == [2, 0b01_10_11_00]
    assert TokenScheme(4, 1).to_cells([2, 1, 2, 3, 0]) == cell_id


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_round_trips(scheme):
    lat, lng = random_points(300)
    tokens = scheme.encode(lat, lng)
    cell_ids = cells.from_lat_lng(lat, lng, scheme.level)
    assert tokens.shape == (300, scheme.length)
    assert tokens.dtype == np.int64
    assert np.all(tokens < scheme.vocabulary_sizes)
    np.testing.assert_array_equal(scheme.to_cells(tokens), cell_ids)
    np.testing.assert_array_equal(scheme.from_cells(cell_ids), tokens)
    np.testing.assert_array_equal(scheme.decode(tokens), cells.to_lat_lng(cell_ids))
    np.testing.assert_array_equal(scheme.encode(*scheme.decode(tokens)), tokens)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_prefixes_are_ancestors_and_tokens_are_children(scheme):
    lat, lng = random_points(50, seed=1)
    tokens = scheme.encode(lat, lng)
    leaves = cells.from_lat_lng(lat, lng)
    for num_tokens in range(1, scheme.length + 1):
        prefix = tokens[:, :num_tokens]
        cell_ids = scheme.to_cells(prefix)
        np.testing.assert_array_equal(cell_ids, cells.parent(leaves, scheme.level_at(num_tokens)))
        np.testing.assert_array_equal(scheme.from_cells(cell_ids), prefix)
        if num_tokens < scheme.length and scheme.group_size < 6:
            children = cells.children(cell_ids, scheme.group_size)
            chosen = children[np.arange(50), tokens[:, num_tokens]]
            np.testing.assert_array_equal(chosen, scheme.to_cells(tokens[:, : num_tokens + 1]))


def test_token_order_is_hilbert_order():
    tokens = TokenScheme().encode(*random_points(1000, seed=2))
    by_tokens = np.lexsort(tokens.T[::-1])
    by_cells = np.argsort(TokenScheme().to_cells(tokens))
    np.testing.assert_array_equal(by_tokens, by_cells)


def test_mean_error_of_the_default_scheme_is_about_3_4_m():
    lat, lng = random_points(20_000, seed=3)
    scheme = TokenScheme()
    error_m = 1000 * haversine_km(lat, lng, *scheme.decode(scheme.encode(lat, lng)))
    assert error_m.mean() == pytest.approx(3.43, abs=0.05)
    assert error_m.max() < 8


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_scalars_give_one_sequence(lat, lng):
    scheme = TokenScheme()
    tokens = scheme.encode(lat, lng)
    assert tokens.shape == (11,)
    decoded = scheme.decode(tokens)
    assert decoded[0].ndim == decoded[1].ndim == 0
    assert haversine_km(lat, lng, *decoded) < 0.008


def test_shapes_and_chunks():
    scheme = TokenScheme()
    lat, lng = random_points(9000)
    tokens = scheme.encode(lat, lng)
    np.testing.assert_array_equal(
        scheme.encode(lat.reshape(90, 100), lng.reshape(90, 100)).reshape(-1, 11), tokens
    )
    np.testing.assert_array_equal(scheme.decode(tokens)[0][8190:8194], scheme.decode(tokens[8190:8194])[0])
    assert scheme.to_cells(tokens.reshape(90, 100, 11)).shape == (90, 100)
    assert scheme.encode([], []).shape == (0, 11)
    assert scheme.decode(np.empty((0, 4), dtype=int))[0].shape == (0,)
    assert scheme.from_cells(np.empty(0, dtype=np.uint64)).shape == (0, 11)


@pytest.mark.parametrize(("level", "group_size"), [(0, 1), (31, 1), (2.0, 1), (None, 1)])
def test_bad_levels(level, group_size):
    with pytest.raises(InputError, match="1 to 30"):
        TokenScheme(level, group_size)


@pytest.mark.parametrize("group_size", [0, -1, 3, 21, None])
def test_group_size_must_divide_the_level(group_size):
    with pytest.raises(InputError, match=r"allowed are 1, 2, 4, 5, 10, 20$"):
        TokenScheme(20, group_size)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[0, 1], [6, 0]], r"row 1: token 6 at position 0 is not in 0\.\.5"),
        ([[0, 1, 2], [1, 2, 16]], r"row 1: token 16 at position 2 is not in 0\.\.15"),
        ([[0, -1]], "row 0: token -1 at position 1"),
        ([6], "^token 6 at position 0"),
        ([0.0, 1.0], "must be integers"),
        (["a"], "must be integers"),
        ([[0, 1], [2]], "same number of tokens"),
        (3, "shape"),
        ([], "^0 tokens; give 1 to 11$"),
        ([0] * 12, "^12 tokens; give 1 to 11$"),
        ([[0] * 12], "shape"),
    ],
)
def test_bad_tokens(tokens, message):
    for method in (TokenScheme().to_cells, TokenScheme().decode):
        with pytest.raises(InputError, match=message):
            method(tokens)


def test_cells_that_have_no_tokens():
    scheme = TokenScheme()
    with pytest.raises(InputError, match="level 3"):
        scheme.from_cells(cells.from_lat_lng(1, 2, 3))
    with pytest.raises(InputError, match="level 22"):
        scheme.from_cells(cells.from_lat_lng(1, 2, 22))
    with pytest.raises(InputError, match="levels 2, 4"):
        scheme.from_cells([cells.from_lat_lng(1, 2, 2), cells.from_lat_lng(1, 2, 4)])
    with pytest.raises(InputError, match="not valid"):
        scheme.from_cells(np.uint64(0))


@pytest.mark.parametrize("num_tokens", [0, 12])
def test_number_of_tokens_out_of_range(num_tokens):
    with pytest.raises(InputError, match="1 to 11"):
        TokenScheme().level_at(num_tokens)


def test_bad_points_name_their_row():
    with pytest.raises(InputError, match="row 1: latitude"):
        TokenScheme().encode([0, 95], [0, 0])
