import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotoken import cells
from geotoken.errors import InputError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "cells.json").read_text())
HEX = [cell["cell_hex"] for cell in GOLDEN["cells"]]
IDS = cells.from_hex(HEX)
NOT_IDS = [0, 2, 6 << 61, 2**64 - 1, 1 << 61]

lats = st.floats(-90, 90)
lngs = st.floats(-180, 180)
levels = st.integers(0, cells.MAX_LEVEL)


def test_golden_hex_level_face_and_positions():
    assert cells.to_hex(IDS).tolist() == HEX
    assert cells.level(IDS).tolist() == [cell["level"] for cell in GOLDEN["cells"]]
    assert cells.face(IDS).tolist() == [cell["face"] for cell in GOLDEN["cells"]]
    for cell_id, cell in zip(IDS, GOLDEN["cells"], strict=True):
        positions = [int(cells.child_position(cell_id, level)) for level in range(1, cell["level"] + 1)]
        assert positions == cell["positions"]


def test_golden_parents():
    for point in GOLDEN["points"]:
        leaf = cells.from_hex(point["cell_hex"][30])
        parents = [str(cells.to_hex(cells.parent(leaf, level))) for level in range(31)]
        assert parents == point["cell_hex"]


@given(lats, lngs, levels, st.integers(0, 3))
def test_children_are_the_inverse_of_parent(lat, lng, level, num_levels):
    level = min(level, cells.MAX_LEVEL - num_levels)
    cell_id = cells.from_lat_lng(lat, lng, level)
    children = cells.children(cell_id, num_levels)
    assert children.shape == (4**num_levels,)
    assert np.all(np.diff(children.astype(object)) > 0)
    assert np.all(cells.parent(children, level) == cell_id)
    assert np.all(cells.level(children) == level + num_levels)
    assert cells.range_min(children[0]) == cells.range_min(cell_id)
    assert cells.range_max(children[-1]) == cells.range_max(cell_id)
    if num_levels == 1:
        assert cells.child_position(children, level + 1).tolist() == [0, 1, 2, 3]


@given(lats, lngs, levels)
def test_hex_round_trip_and_leaf_in_range(lat, lng, level):
    cell_id = cells.from_lat_lng(lat, lng, level)
    assert cells.from_hex(str(cells.to_hex(cell_id))) == cell_id
    assert cells.range_min(cell_id) <= cells.from_lat_lng(lat, lng) <= cells.range_max(cell_id)
    assert cells.level(cells.range_min(cell_id)) == cells.level(cells.range_max(cell_id)) == cells.MAX_LEVEL


def test_shapes_follow_the_argument():
    square = IDS[:4].reshape(2, 2)
    assert cells.parent(square, 0).shape == cells.level(square).shape == (2, 2)
    assert cells.to_hex(square).shape == (2, 2)
    assert cells.children(square[:, :1], 0).shape == (2, 1, 1)
    assert cells.level(IDS[0]).ndim == 0
    assert cells.parent(np.array([], dtype=np.uint64), 3).shape == (0,)


def test_any_64_bit_integers_are_read():
    assert cells.level([int(IDS[0]), int(IDS[-1])]).tolist() == cells.level(IDS[[0, -1]]).tolist()
    assert cells.level(int(IDS[-1])) == 30
    assert cells.level(IDS.view(np.int64)).tolist() == cells.level(IDS).tolist()


def test_is_valid():
    assert np.all(cells.is_valid(IDS))
    assert not np.any(cells.is_valid(np.array(NOT_IDS, dtype=np.uint64)))


@pytest.mark.parametrize("bad", NOT_IDS)
@pytest.mark.parametrize(
    "function",
    [
        cells.level,
        cells.face,
        cells.children,
        cells.range_min,
        cells.range_max,
        cells.to_hex,
        cells.to_lat_lng,
        cells.center_xyz,
        cells.corners,
        cells.area_km2,
        cells.approx_area_km2,
    ],
)
def test_invalid_ids_name_their_row(function, bad):
    with pytest.raises(InputError, match=r"row 1: cell id 0x[0-9a-f]{16} is not valid"):
        function(np.array([IDS[0], bad], dtype=np.uint64))
    with pytest.raises(InputError, match=r"^cell id 0x"):
        function(np.uint64(bad))


def test_levels_that_cannot_be():
    cell_id = cells.from_lat_lng(1, 2, 10)
    for level in (-1, 31, 2.5):
        with pytest.raises(InputError, match="0 to 30"):
            cells.parent(cell_id, level)
    with pytest.raises(InputError, match=r"row 1: .* coarser than level 11"):
        cells.parent([cells.children(cell_id)[0], cell_id], 11)
    with pytest.raises(InputError, match="1 to 30"):
        cells.child_position(cell_id, 0)
    with pytest.raises(InputError, match="coarser than level 11"):
        cells.child_position(cell_id, 11)
    with pytest.raises(InputError, match="nothing 21 levels down"):
        cells.children(cell_id, 21)
    with pytest.raises(InputError, match="num_levels -1"):
        cells.children(cell_id, -1)


@pytest.mark.parametrize("bad", ["", "x", "X", "0x1", "12345678901234567", "+1", "8_1", 5])
def test_names_that_are_not_hex(bad):
    with pytest.raises(InputError, match="row 1: "):
        cells.from_hex(["1", bad])


def test_names_of_no_cell():
    with pytest.raises(InputError, match=r"row 1: .* not valid"):
        cells.from_hex(["1", "2"])


@pytest.mark.parametrize("bad", [1.0, "1", [1.5], [None], [-1, 2**63], np.array([1.0])])
def test_ids_of_another_type(bad):
    with pytest.raises(InputError, match="64-bit integers"):
        cells.level(bad)
