"""Cell ids as integers: validity, level, face, parents, children, ranges and names.

Owns the bits of an id and the checks of ids given by callers; must not know where cells lie.

References:
    S2 Geometry, s2cell_id.h; https://s2geometry.io.
"""

from collections.abc import Iterable
from string import hexdigits

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geotoken.cells.curve import MAX_LEVEL, NUM_FACES, CellIds, Ints, lowest_bit
from geotoken.errors import InputError

_LSB_MASK = np.uint64(0x1555555555555555)  # the bits that may be the lowest one of an id
_END_OF_FACES = np.uint64(NUM_FACES << 61)


def level(cell_ids: ArrayLike) -> Ints:
    """Levels of cells.

    Args:
        cell_ids: Cell ids, shape (...), uint64.

    Returns:
        Levels 0..30, shape (...), int64.

    Raises:
        InputError: If an id is not valid; its row is named.
    """
    # frexp of 4 ** k is (0.5, 2 * k + 1), exactly.
    exponents = np.frexp(lowest_bit(check_cell_ids(cell_ids)).astype(np.float64))[1]
    return (MAX_LEVEL - exponents // 2).astype(np.int64)[()]


def face(cell_ids: ArrayLike) -> Ints:
    """Cube faces of cells.

    Args:
        cell_ids: Cell ids, shape (...), uint64.

    Returns:
        Faces 0..5, shape (...), int64.

    Raises:
        InputError: If an id is not valid; its row is named.
    """
    faces: Ints = (check_cell_ids(cell_ids) >> np.uint64(61)).astype(np.int64)[()]
    return faces


def parent(cell_ids: ArrayLike, level: int) -> CellIds:
    """Ancestors of cells at one level.

    Args:
        cell_ids: Cell ids at this level or finer, shape (...), uint64.
        level: Level of the ancestors, 0..30.

    Returns:
        Cell ids, shape (...), uint64.

    Raises:
        InputError: If an id is not valid or coarser than the level (its row is named), or the level is
            out of range.
    """
    check_level(level)
    ids = check_cell_ids(cell_ids)
    lowest = _lowest_bit_at(level)
    _refuse_rows(lowest_bit(ids) > lowest, ids, f"is coarser than level {level}; ask for a coarser level")
    ancestors: CellIds = ((ids & ~(lowest - np.uint64(1))) | lowest)[()]
    return ancestors


def children(cell_ids: ArrayLike, num_levels: int = 1) -> CellIds:
    """Descendants of cells, a number of levels down, in the order of the Hilbert curve.

    Args:
        cell_ids: Cell ids, shape (...), uint64.
        num_levels: Levels to go down, >= 0.

    Returns:
        Cell ids, shape (..., 4 ** num_levels), uint64, rising along the last axis.

    Raises:
        InputError: If an id is not valid or has no descendants so far down; its row is named.
    """
    if not 0 <= num_levels <= MAX_LEVEL:
        raise InputError(f"num_levels {num_levels} is out of range; allowed are 0 to {MAX_LEVEL}")
    ids = check_cell_ids(cell_ids)
    lowest = lowest_bit(ids)
    too_deep = lowest < _lowest_bit_at(MAX_LEVEL - num_levels)
    _refuse_rows(too_deep, ids, f"has nothing {num_levels} levels down; the finest level is {MAX_LEVEL}")
    step = (lowest >> np.uint64(2 * num_levels))[..., None]
    odd = np.arange(1, 2 * 4**num_levels, 2, dtype=np.uint64)
    descendants: CellIds = (ids - lowest)[..., None] + odd * step
    return descendants


def child_position(cell_ids: ArrayLike, level: int) -> Ints:
    """Position within its parent of each cell's ancestor at one level.

    Args:
        cell_ids: Cell ids at this level or finer, shape (...), uint64.
        level: Level of the ancestor, 1..30.

    Returns:
        Positions 0..3 along the Hilbert curve, shape (...), int64.

    Raises:
        InputError: If an id is not valid or coarser than the level (its row is named), or the level is
            out of range.
    """
    check_level(level, lowest=1)
    ids = check_cell_ids(cell_ids)
    coarser = lowest_bit(ids) > _lowest_bit_at(level)
    _refuse_rows(coarser, ids, f"is coarser than level {level}; ask for a coarser level")
    positions = (ids >> np.uint64(2 * (MAX_LEVEL - level) + 1)) & np.uint64(3)
    return positions.astype(np.int64)[()]


def range_min(cell_ids: ArrayLike) -> CellIds:
    """First leaf of each cell.

    Args:
        cell_ids: Cell ids, shape (...), uint64.

    Returns:
        Leaf cell ids, shape (...), uint64; the descendants of a cell are the ids in [range_min, range_max].

    Raises:
        InputError: If an id is not valid; its row is named.
    """
    ids = check_cell_ids(cell_ids)
    leaves: CellIds = (ids - (lowest_bit(ids) - np.uint64(1)))[()]
    return leaves


def range_max(cell_ids: ArrayLike) -> CellIds:
    """Last leaf of each cell.

    Args:
        cell_ids: Cell ids, shape (...), uint64.

    Returns:
        Leaf cell ids, shape (...), uint64; the descendants of a cell are the ids in [range_min, range_max].

    Raises:
        InputError: If an id is not valid; its row is named.
    """
    ids = check_cell_ids(cell_ids)
    leaves: CellIds = (ids + (lowest_bit(ids) - np.uint64(1)))[()]
    return leaves


def is_valid(cell_ids: ArrayLike) -> NDArray[np.bool_]:
    """Whether numbers are ids of cells: a face 0..5, then pairs of bits, then a one and zeros.

    Args:
        cell_ids: Numbers, shape (...), uint64.

    Returns:
        Truth values, shape (...), bool.
    """
    ids = _to_uint64(cell_ids)
    valid: NDArray[np.bool_] = ((ids < _END_OF_FACES) & ((lowest_bit(ids) & _LSB_MASK) != 0))[()]
    return valid


def to_hex(cell_ids: ArrayLike) -> NDArray[np.str_]:
    """Short names of cells: 16 hexadecimal digits without the zeros at the end.

    Args:
        cell_ids: Cell ids, shape (...), uint64.

    Returns:
        Names, shape (...); a single id gives a single string.

    Raises:
        InputError: If an id is not valid; its row is named.
    """
    ids = check_cell_ids(cell_ids)
    names = [f"{cell_id:016x}".rstrip("0") for cell_id in ids.reshape(-1).tolist()]
    shaped: NDArray[np.str_] = np.array(names, dtype="<U16").reshape(ids.shape)[()]
    return shaped


def from_hex(cell_hex: str | Iterable[str]) -> CellIds:
    """Cells of short names; the inverse of `to_hex`.

    Args:
        cell_hex: A name or N names of 1 to 16 hexadecimal digits.

    Returns:
        Cell ids, shape () for one name or (N,), uint64.

    Raises:
        InputError: If a name is not that of a cell; its row is named.
    """
    names = [cell_hex] if isinstance(cell_hex, str) else list(cell_hex)
    cell_ids = np.empty(len(names), dtype=np.uint64)
    for row, name in enumerate(names):
        if not (isinstance(name, str) and 1 <= len(name) <= 16 and set(name) <= set(hexdigits)):
            raise InputError(f"row {row}: cell name {name!r} is not 1 to 16 hexadecimal digits")
        cell_ids[row] = int(name.ljust(16, "0"), 16)
    ids = check_cell_ids(cell_ids)
    return ids[0] if isinstance(cell_hex, str) else ids


def check_level(level: int, lowest: int = 0) -> None:
    """Refuse a level that does not exist.

    Args:
        level: Level given by a caller.
        lowest: Lowest level allowed.

    Raises:
        InputError: If the level is not a whole number from `lowest` to 30.
    """
    if not (isinstance(level, int | np.integer) and lowest <= level <= MAX_LEVEL):
        raise InputError(f"level {level} is not allowed; give a whole number from {lowest} to {MAX_LEVEL}")


def check_cell_ids(cell_ids: ArrayLike) -> CellIds:
    """Turn ids given by a caller into an array that can be computed with.

    Args:
        cell_ids: Cell ids, shape (...), any integers of 64 bits.

    Returns:
        The ids, shape (...), uint64; not a copy if they were an array of that type.

    Raises:
        InputError: If one is not a valid id; its row is named.
    """
    ids = _to_uint64(cell_ids)
    lowest = lowest_bit(ids)
    lowest &= _LSB_MASK
    if ids.size and not (lowest.min() > 0 and ids.max() < _END_OF_FACES):
        _refuse_rows(~np.asarray(is_valid(ids)), ids, "is not valid; take ids from cells.from_lat_lng")
    return ids


def _to_uint64(cell_ids: ArrayLike) -> CellIds:
    """Cell ids as uint64; signed 64-bit ids, as some databases store them, keep their bits.

    Raises:
        InputError: If they are not integers of 64 bits.
    """
    try:
        array = np.asarray(cell_ids)
    except ValueError:
        raise InputError("cell ids must be integers in an array, every row of the same length") from None
    if array.dtype == np.uint64:
        return array
    if array.size == 0 or array.dtype.kind in "iu":
        return array.astype(np.uint64)
    if not isinstance(cell_ids, np.ndarray):  # a list of ids below and above 2**63 becomes floats or objects
        exact = np.array(cell_ids, dtype=object)
        if all(isinstance(cell_id, int | np.integer) and 0 <= cell_id < 2**64 for cell_id in exact.flat):
            return exact.astype(np.uint64)
    raise InputError(f"cell ids must be 64-bit integers, not {array.dtype}; a name is read by cells.from_hex")


def _refuse_rows(bad: NDArray[np.bool_], ids: CellIds, why: str) -> None:
    """Name the first bad row, if there is one; `bad` has the shape (...) of the ids.

    Raises:
        InputError: If a row is bad.
    """
    if np.any(bad):
        row = int(np.argmax(bad))
        where = f"row {row}: " if ids.ndim else ""
        raise InputError(f"{where}cell id {int(ids.reshape(-1)[row]):#018x} {why}")


def _lowest_bit_at(level: int) -> np.uint64:
    """Lowest set bit of the ids of a level."""
    return np.uint64(1 << (2 * (MAX_LEVEL - level)))
