"""Places as token sequences: the face of an S2 cell, then its path down the tree in groups of levels.

Owns the vocabulary and the exact translation to and from cells; must not know models or decoding.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geotoken import cells
from geotoken.cells.ids import check_cell_ids
from geotoken.errors import InputError
from geotoken.geo import check_lat_lng

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]

_CHUNK = 1 << 13  # rows; keeps the working arrays of encode and decode in the cache of one core


@dataclass(frozen=True, slots=True)
class TokenScheme:
    """How a cell is written as tokens: the face 0..5, then one token for each `group_size` levels.

    A token packs the child positions of its levels, the first one in the highest bits. Sequences sort like
    their cells along the Hilbert curve, and token t after a prefix stands for
    `cells.children(prefix, group_size)[..., t]`. Dimension letter: T tokens, 1..`length`.
    """

    level: int = 20
    """Level of the cell that a whole sequence stands for, 1..30; 20 is a square of about 9 m."""
    group_size: int = 2
    """Levels in one token; must divide `level`."""

    def __post_init__(self) -> None:
        if not (isinstance(self.level, int) and 1 <= self.level <= cells.MAX_LEVEL):
            raise InputError(f"token level {self.level} is not allowed; give 1 to {cells.MAX_LEVEL}")
        allowed = [size for size in range(1, self.level + 1) if self.level % size == 0]
        if not isinstance(self.group_size, int) or self.group_size not in allowed:
            sizes = ", ".join(map(str, allowed))
            raise InputError(
                f"group size {self.group_size} does not divide token level {self.level}; allowed are {sizes}"
            )

    @property
    def length(self) -> int:
        """Tokens in a whole sequence."""
        return 1 + self.level // self.group_size

    @property
    def vocabulary_sizes(self) -> tuple[int, ...]:
        """Number of tokens at each position: 6 faces, then 4 ** group_size."""
        return (cells.NUM_FACES, *[4**self.group_size] * (self.length - 1))

    def level_at(self, num_tokens: int) -> int:
        """Level of the cell that the first tokens of a sequence stand for.

        Args:
            num_tokens: Number of tokens, 1..`length`.

        Returns:
            Level 0..`level`.

        Raises:
            InputError: If the number of tokens is out of range.
        """
        if not 1 <= num_tokens <= self.length:
            raise InputError(f"{num_tokens} tokens stand for no cell; allowed are 1 to {self.length}")
        return (num_tokens - 1) * self.group_size

    def encode(self, lat: ArrayLike, lng: ArrayLike) -> Tokens:
        """Write points as whole token sequences.

        Args:
            lat: Latitude in degrees, shape (...), in [-90, 90].
            lng: Longitude in degrees, shape (...), in [-360, 360].

        Returns:
            Tokens, shape (..., length), int64; two numbers give shape (length,).

        Raises:
            InputError: If a coordinate is not finite or out of range; its row is named.
        """
        lat_array, lng_array = check_lat_lng(lat, lng)
        flat_lat, flat_lng = lat_array.reshape(-1), lng_array.reshape(-1)
        tokens = np.empty((flat_lat.size, self.length), dtype=np.int64)
        for rows in _chunks(flat_lat.size):
            cell_ids = cells.from_lat_lng(flat_lat[rows], flat_lng[rows], self.level)
            self._split(cell_ids, tokens[rows])
        return tokens.reshape((*lat_array.shape, self.length))

    def decode(self, tokens: ArrayLike) -> tuple[Floats, Floats]:
        """Centers of the cells that sequences stand for; whole sequences or prefixes.

        Args:
            tokens: Tokens, shape (..., T), integers.

        Returns:
            Latitude and longitude in degrees, each of shape (...).

        Raises:
            InputError: If a token is not in the vocabulary of its position; its row is named.
        """
        array = self._check(tokens)
        flat = array.reshape(-1, array.shape[-1])
        lat, lng = np.empty((2, len(flat)))
        for rows in _chunks(len(flat)):
            lat[rows], lng[rows] = cells.to_lat_lng(self._join(flat[rows]))
        return lat.reshape(array.shape[:-1])[()], lng.reshape(array.shape[:-1])[()]

    def to_cells(self, tokens: ArrayLike) -> cells.CellIds:
        """Cells that sequences stand for; whole sequences or prefixes.

        Args:
            tokens: Tokens, shape (..., T), integers.

        Returns:
            Cell ids of level `level_at(T)`, shape (...), uint64.

        Raises:
            InputError: If a token is not in the vocabulary of its position; its row is named.
        """
        array = self._check(tokens)
        cell_ids: cells.CellIds = self._join(array.reshape(-1, array.shape[-1])).reshape(array.shape[:-1])[()]
        return cell_ids

    def from_cells(self, cell_ids: ArrayLike) -> Tokens:
        """Write cells as token sequences; the inverse of `to_cells`.

        Args:
            cell_ids: Cell ids of one level, shape (...), uint64; the level is one of `level_at(1..length)`.

        Returns:
            Tokens, shape (..., T), int64, with `level_at(T)` the level of the cells.

        Raises:
            InputError: If the cells differ in level, or no sequence of this scheme ends at their level.
        """
        ids = check_cell_ids(cell_ids)
        levels = np.unique(cells.level(ids))
        if levels.size > 1:
            given = ", ".join(map(str, levels))
            raise InputError(
                f"cells of levels {given} have different numbers of tokens; give one level a call"
            )
        level = int(levels[0]) if levels.size else self.level
        if level > self.level or level % self.group_size:
            allowed = ", ".join(str(self.level_at(k)) for k in range(1, self.length + 1))
            raise InputError(f"cells of level {level} are no whole number of tokens; allowed are {allowed}")
        num_tokens = 1 + level // self.group_size
        tokens = np.empty((ids.size, num_tokens), dtype=np.int64)
        self._split(ids.reshape(-1), tokens)
        return tokens.reshape((*ids.shape, num_tokens))

    def _split(self, cell_ids: cells.CellIds, tokens: Tokens) -> None:
        """Fill `tokens`, shape (N, T), in place from cell ids, shape (N,)."""
        tokens[:, 0] = cell_ids >> np.uint64(61)
        mask = np.uint64(4**self.group_size - 1)
        for position in range(1, tokens.shape[1]):
            tokens[:, position] = (cell_ids >> self._shift(position)) & mask

    def _join(self, tokens: Tokens) -> cells.CellIds:
        """Cell ids, shape (N,), of valid tokens, shape (N, T)."""
        last = tokens.shape[1] - 1
        path = tokens[:, 0].copy()
        for position in range(1, last + 1):
            path <<= 2 * self.group_size
            path |= tokens[:, position]
        path <<= 1
        path |= 1
        cell_ids: cells.CellIds = path.view(np.uint64) << (self._shift(last) - np.uint64(1))
        return cell_ids

    def _shift(self, position: int) -> np.uint64:
        """Place of the lowest bit of a position's token within a cell id."""
        return np.uint64(61 - 2 * self.group_size * position)

    def _check(self, tokens: ArrayLike) -> Tokens:
        """Tokens as int64, shape (..., T).

        Raises:
            InputError: If the shape, the type or a value cannot be that of tokens; its row is named.
        """
        try:
            array = np.asarray(tokens)
        except ValueError:
            raise InputError("each sequence of one call must have the same number of tokens") from None
        if array.ndim == 1 and not 1 <= array.size <= self.length:
            raise InputError(f"{array.size} tokens; give 1 to {self.length}")
        if array.ndim == 0 or not 1 <= array.shape[-1] <= self.length:
            raise InputError(f"tokens have shape {array.shape}; allowed are (..., 1) to (..., {self.length})")
        if array.dtype.kind not in "iu" and array.size:
            raise InputError(f"tokens must be integers, not {array.dtype}")
        sizes = self.vocabulary_sizes[: array.shape[-1]]
        array = array.astype(np.int64, copy=False)
        flat = array.reshape(-1, array.shape[-1])
        if flat.size == 0:
            return array
        if flat.min() >= 0 and np.all(flat.max(axis=0) < sizes):
            return array
        row, position = np.argwhere((flat < 0) | (flat >= sizes))[0]
        where = f"row {row}: " if array.ndim > 1 else ""
        raise InputError(
            f"{where}token {flat[row, position]} at position {position} is not in 0..{sizes[position] - 1}"
        )


def _chunks(num_rows: int) -> list[slice]:
    return [slice(start, start + _CHUNK) for start in range(0, num_rows, _CHUNK)]
