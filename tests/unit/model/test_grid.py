import numpy as np
import pytest

from geotoken import cells
from geotoken.cells.curve import locate
from geotoken.model.grid import Corners, first_orientation, grid, leaf_centers, side_before
from geotoken.tokens import TokenScheme


@pytest.mark.parametrize("scheme", [TokenScheme(), TokenScheme(20, 4), TokenScheme(6, 1)])
def test_leaves_lie_where_their_cells_do(scheme):
    rng = np.random.default_rng(0)
    tokens = scheme.encode(rng.uniform(-90, 90, (7, 30)), rng.uniform(-180, 180, (7, 30)))
    face, center = leaf_centers(scheme, tokens)
    expected_face, a, b, side = locate(scheme.to_cells(tokens).reshape(-1))
    np.testing.assert_array_equal(face.reshape(-1), expected_face)
    np.testing.assert_array_equal(center.reshape(-1, 2), np.stack([a + side / 2, b + side / 2], axis=1))


def test_prefixes_are_followed_token_by_token():
    scheme = TokenScheme(8, 2)
    tokens = scheme.encode(*np.random.default_rng(1).uniform(-80, 80, (2, 50)))
    corners = Corners.of_faces(tokens[:, 0])
    for position in range(1, scheme.length):
        corners = corners.child(tokens[:, position], scheme.group_size, position)
        _, a, b, side = locate(scheme.to_cells(tokens[:, : position + 1]))
        np.testing.assert_array_equal(corners.corner, np.stack([a, b], axis=1))
        np.testing.assert_array_equal(side, side_before(scheme.group_size, position + 1))
    np.testing.assert_array_equal(corners.take(np.array([3])).corner, corners.corner[3:4])


def test_children_fill_the_grid_and_faces_start_as_the_curve_does():
    table = grid(2)
    assert [sorted(row) for row in table.place.tolist()] == [list(range(16))] * 4
    np.testing.assert_array_equal(table.place, (table.corner @ [16, 4]).astype(int))
    first = cells.children(cells.from_lat_lng(np.array([0.0, 0.0]), np.array([0.0, 90.0]), 0), 1)[:, 1]
    _, a, b, _ = locate(first)
    np.testing.assert_array_equal(first_orientation(np.array([0, 1])), [0, 1])
    np.testing.assert_array_equal(np.stack([a, b], axis=1), grid(1).corner[[0, 1], 1])
