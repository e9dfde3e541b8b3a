import numpy as np
import pytest

from geotoken.cells import curve


def test_tables_are_inverse_and_walk_every_square_once():
    orientation = np.repeat(np.arange(4) << 10, 1024)
    place = np.tile(np.arange(1024), 4)
    state = curve._ENCODE[orientation | place]
    back = curve._DECODE[orientation | (state >> 12)]
    np.testing.assert_array_equal(((back >> 44) << 5) | ((back >> 12) & 31), place)
    np.testing.assert_array_equal(back & 0xC00, state & 0xC00)


@pytest.mark.parametrize("orientation", range(4))
def test_curve_steps_to_a_square_that_shares_an_edge(orientation):
    state = curve._DECODE[(orientation << 10) | np.arange(1024)]
    i, j = state >> 44, (state >> 12) & 31
    np.testing.assert_array_equal(np.abs(np.diff(i)) + np.abs(np.diff(j)), 1)


def test_encoding_and_locating_are_inverse_at_every_level():
    rng = np.random.default_rng(0)
    for level in range(curve.MAX_LEVEL + 1):
        x, y, z = rng.normal(size=(3, 500))
        cell_ids = curve.encode_directions(x.copy(), y.copy(), z.copy(), level)
        again = curve.encode_directions(*curve.center_directions(cell_ids), level)
        np.testing.assert_array_equal(again, cell_ids)
        _, first, second, side = curve.locate(cell_ids)
        np.testing.assert_array_equal(side, 0.5**level)
        np.testing.assert_array_equal((first / side) % 1, 0)
        np.testing.assert_array_equal((second / side) % 1, 0)


def test_lowest_bit():
    ids = np.array([0, 1, 12, 1 << 60, 2**64 - 4], dtype=np.uint64)
    np.testing.assert_array_equal(curve.lowest_bit(ids), [0, 1, 4, 1 << 60, 4])


def test_uv_length_matches_the_difference_of_the_ends():
    side = 0.5 ** np.arange(0, 8)
    lower = 1 - side
    expected = curve.st_to_uv(lower + side) - curve.st_to_uv(lower)
    np.testing.assert_allclose(curve.uv_length(lower, side), expected, rtol=1e-13)
