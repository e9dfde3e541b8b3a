"""The six faces of the cube and the Hilbert curve on them: directions to ids and back.

Owns the numerics, on flat arrays that are known to be good; must not know what callers pass in.

On the negative faces S2 exchanges the roles of the axes, and the Hilbert curve starts exchanged too. Both
cancel if the two coordinates (a, b) of a point are (u, v) on a positive face and (v, u) on a negative one:
then the curve of a face starts as that of its axis, whatever the sign.

References:
    S2 Geometry, s2coords.h (faces, quadratic projection) and s2cell_id.cc (curve); https://s2geometry.io.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CellIds = NDArray[np.uint64]

MAX_LEVEL = 30
"""Level of a leaf cell; level 0 is a whole face of the cube."""
NUM_FACES = 6
"""Faces of the cube: +x, +y, +z, -x, -y, -z."""

_GROUP_LEVELS = 5  # levels that one table look-up crosses; a table takes 32 KB
_GROUP_MASK = (1 << _GROUP_LEVELS) - 1
_STATE_BITS = 2 * _GROUP_LEVELS + 2  # a table's entries hold the next orientation in the upper two of these
_STATE_MASK = 3 << (2 * _GROUP_LEVELS)
_SWAP, _INVERT = 1, 2  # orientation bits of the Hilbert curve: axes exchanged, both axes reversed


def descend(num_levels: int) -> tuple[Ints, Ints, Ints]:
    """Where the descendants of a cell lie on its face's grid.

    Args:
        num_levels: Levels from the cell to its descendants, >= 1.

    Returns:
        Row i, column j, both in 0..2**num_levels - 1 along the coordinates (a, b), and orientation 0..3 of
        each descendant, by orientation of the cell and position on the curve: shape (4, 4**num_levels).
        A face of axis 0, 1 or 2 has the orientation 0, 1 or 0.
    """
    # Rows: orientation; columns: position on the curve; values: i << 1 | j of the quadrant.
    quadrant = np.array([[0, 1, 3, 2], [0, 2, 3, 1], [3, 2, 0, 1], [3, 1, 0, 2]])
    turn = np.array([_SWAP, 0, 0, _INVERT | _SWAP])
    position = np.arange(4**num_levels, dtype=np.int64)
    orientation = np.repeat(np.arange(4)[:, None], 4**num_levels, axis=1)
    i, j = np.zeros((2, *orientation.shape), dtype=np.int64)
    for shift in range(2 * num_levels - 2, -1, -2):
        child = (position >> shift) & 3
        ij = quadrant[orientation, child]
        i, j = (i << 1) | (ij >> 1), (j << 1) | (ij & 1)
        orientation = orientation ^ turn[child]
    return i, j, orientation


def _hilbert_tables() -> tuple[Ints, Ints]:
    """Tables that carry the Hilbert curve across `_GROUP_LEVELS` levels at once.

    Returns:
        `encode`, shape (4096,), int64: from orientation << 10 | i bits << 5 | j bits to the position on the
        curve << 12 | next orientation << 10; and `decode`, shape (4096,), int64: from orientation << 10 |
        position to i bits << 44 | j bits << 12 | next orientation << 10.
    """
    i, j, orientation = (part.reshape(-1) for part in descend(_GROUP_LEVELS))
    start, position = np.divmod(np.arange(4 ** (_GROUP_LEVELS + 1), dtype=np.int64), 4**_GROUP_LEVELS)
    next_state = orientation << (2 * _GROUP_LEVELS)
    decode = (((i << 32) | j) << _STATE_BITS) | next_state
    encode = np.empty_like(decode)
    encode[(start << (2 * _GROUP_LEVELS)) | (i << _GROUP_LEVELS) | j] = (position << _STATE_BITS) | next_state
    return encode, decode


_ENCODE, _DECODE = _hilbert_tables()


def lowest_bit(ids: CellIds) -> CellIds:
    """Lowest set bit of each id, shape (...) as given: 1 for a leaf, 4 a level up."""
    signed = np.asarray(ids).view(np.int64)
    lowest: CellIds = np.asarray(signed & np.negative(signed)).view(np.uint64)
    return lowest  # 0 where there is no such bit, which is what callers check


def encode_directions(x: Floats, y: Floats, z: Floats, level: int) -> CellIds:
    """Cell ids of directions, shape (N,); overwrites x, y and z."""
    abs_x, abs_y, abs_z = np.abs(x), np.abs(y), np.abs(z)
    is_z = abs_z >= np.maximum(abs_x, abs_y)
    is_x = (abs_x > abs_y) & ~is_z
    along = np.where(is_z, z, np.where(is_x, x, y))  # the largest component
    np.negative(x, out=x)
    np.copyto(x, y, where=is_x)
    np.negative(y, out=y)
    np.copyto(z, y, where=is_z)
    axis = np.where(is_z, 2, (~is_x).astype(np.int64))

    num_groups = -(-level // _GROUP_LEVELS)
    bits = _GROUP_LEVELS * num_groups
    a = _uv_to_ij(np.divide(x, along, out=x), bits)
    b = _uv_to_ij(np.divide(z, along, out=z), bits)
    position = axis + 3 * (along < 0)
    state = (axis & _SWAP) << (2 * _GROUP_LEVELS)
    a <<= _GROUP_LEVELS
    for shift in range(bits - _GROUP_LEVELS, -1, -_GROUP_LEVELS):
        key = a >> shift
        key &= _GROUP_MASK << _GROUP_LEVELS
        key |= (b >> shift) & _GROUP_MASK
        key |= state & _STATE_MASK
        state = _ENCODE.take(key, mode="clip")
        position <<= 2 * _GROUP_LEVELS
        position |= state >> _STATE_BITS
    position >>= 2 * (bits - level)
    position <<= 1
    position |= 1
    position <<= 2 * (MAX_LEVEL - level)
    cell_ids: CellIds = position.view(np.uint64)
    return cell_ids


def _uv_to_ij(u: Floats, bits: int) -> Ints:
    """Row or column 0..2**bits - 1 of a face coordinate in [-1, 1]; overwrites u."""
    negative = u < 0
    s = np.abs(u, out=u)
    s *= 3
    s += 1
    np.sqrt(s, out=s)
    s *= 0.5
    np.subtract(1, s, out=s, where=negative)
    s *= 1 << bits
    ij = s.astype(np.int64)
    return np.minimum(ij, (1 << bits) - 1, out=ij)


def locate(ids: CellIds) -> tuple[Ints, Floats, Floats, Floats]:
    """Where cells lie on their faces.

    Args:
        ids: Valid cell ids, shape (N,).

    Returns:
        Face 0..5, lower edges in the two coordinates (a, b) of the face in [0, 1), and the side, all of
        shape (N,); the last three are exact.
    """
    signed = ids.view(np.int64)
    lowest: Ints = signed & -signed
    faces: Ints = (signed >> 61) & 7
    finest = MAX_LEVEL - (int(lowest.min()).bit_length() >> 1) if ids.size else 0
    num_groups = max(1, -(-finest // _GROUP_LEVELS))
    state = ((faces % 3) & _SWAP) << (2 * _GROUP_LEVELS)
    ab = np.zeros_like(signed)  # a in the upper half, b in the lower
    shift = 61
    for _ in range(num_groups):
        shift -= 2 * _GROUP_LEVELS
        key = signed >> shift
        key &= 4**_GROUP_LEVELS - 1
        key |= state & _STATE_MASK
        state = _DECODE.take(key, mode="clip")
        ab <<= _GROUP_LEVELS
        ab |= state >> _STATE_BITS
    # The bits below the level of a cell are not its own: cut them off.
    side: Floats = np.sqrt(lowest.astype(np.float64))
    unit = 2.0 ** (_GROUP_LEVELS * num_groups - MAX_LEVEL)
    cut = -np.maximum(side * unit, 1).astype(np.int64)
    side *= 0.5**MAX_LEVEL
    scale = np.float64(0.5) ** (_GROUP_LEVELS * num_groups)
    a, b = ab >> 32, ab & 0xFFFFFFFF
    a &= cut
    b &= cut
    first: Floats = a * scale
    second: Floats = b * scale
    return faces, first, second, side


def center_directions(ids: CellIds) -> tuple[Floats, Floats, Floats]:
    """Directions of the centers of cells, shape (N,) each, not of unit length."""
    faces, first, second, side = locate(ids)
    side *= 0.5
    first += side
    second += side
    x, y, z = face_uv_to_xyz(faces, st_to_uv(first), st_to_uv(second))
    for values in (x, y, z):
        values += 0.0  # makes -0.0 positive, so that the poles have longitude 0
    return x, y, z


def st_to_uv(s: Floats) -> Floats:
    """Face coordinates in [-1, 1] of curve coordinates in [0, 1], shape (...): the quadratic projection."""
    mirrored = 1 - s
    far = np.maximum(s, mirrored)
    far *= far
    far *= 4
    far -= 1
    far *= 1 / 3
    return np.copysign(far, s - 0.5, out=far)


def uv_length(lower: Floats, side: Floats) -> Floats:
    """Length in u or v of an interval of s or t, without cancellation; shape of the arguments."""
    center = lower + side / 2
    # A cell below level 0 lies in one half of the face, where u is a square of s or of 1 - s.
    length: Floats = np.where(side == 1, 2.0, 8 / 3 * side * np.maximum(center, 1 - center))
    return length


def face_uv_to_xyz(faces: Ints, a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
    """Directions of face coordinates (a, b), in the order described above; shapes are broadcast."""
    along = np.where(faces < 3, 1.0, -1.0)
    axis = faces % 3
    a = a * along
    b = b * along
    is_x, is_z = axis == 0, axis == 2
    x = np.where(is_x, along, -a)
    y = np.where(is_x, a, np.where(is_z, -b, along))
    z = np.where(is_z, along, b)
    return x, y, z
