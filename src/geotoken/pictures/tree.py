"""A posterior as a short string that a page turns back into a tree of cells.

Owns the code, read by templates/cells.js; must not know pages.

The cells of a posterior cover the Earth once in the order of the Hilbert curve, so their levels alone say
where they lie. A letter pair of the base64 alphabet is a number from 0 to 4095: up to `_ZERO` a cell with
probability 2 ** (-number / _STEPS), `_ZERO` itself for 0; above, `_LEVEL` plus the level of the cells that
follow.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.decoding import Posterior

Ints = NDArray[np.int64]

_STEPS: Final = 70  # a factor of two; a probability is right to 0.5 %
_ZERO: Final = 4063
_LEVEL: Final = 4064
_LETTERS: Final = np.frombuffer(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", dtype=np.uint8
)


def thin(posterior: Posterior, max_cells: int) -> Posterior:
    """The same distribution in fewer cells: children are merged where their parent is least likely.

    Args:
        posterior: P cells with their probabilities.
        max_cells: Cells wanted at most; at least the 6 faces remain.

    Returns:
        The posterior itself if it is small enough.
    """
    divided = _divided(posterior)
    most_divided = max(max_cells - cells.NUM_FACES, 0) // (4**posterior.scheme.group_size - 1)
    if len(divided) <= most_divided:
        return posterior
    # A cell is at least as likely as one inside it, so the likeliest divided cells are a tree.
    return _merge(posterior, float(divided[most_divided]))


def encode_tree(posterior: Posterior) -> str:
    """Write the partition of a posterior.

    Args:
        posterior: P cells with their probabilities.

    Returns:
        At most 4 * P letters, in practice little more than 2 * P.
    """
    with np.errstate(divide="ignore"):
        steps = np.rint(-_STEPS * np.log2(posterior.probability))
    codes = np.where(steps < _ZERO, np.maximum(steps, 0), _ZERO).astype(np.int64)  # (P,)
    changed = np.flatnonzero(np.diff(posterior.level, prepend=-1))
    codes = np.insert(codes, changed, _LEVEL + posterior.level[changed])
    return _LETTERS[np.stack([codes >> 6, codes & 63], axis=1)].tobytes().decode("ascii")


def decode_tree(text: str) -> tuple[Ints, NDArray[np.float64]]:
    """Read what `encode_tree` wrote.

    Args:
        text: The string.

    Returns:
        Level and probability of each cell in the order of the Hilbert curve, shape (P,) each.
    """
    values = np.zeros(128, dtype=np.int64)
    values[_LETTERS] = np.arange(64)
    letters = values[np.frombuffer(text.encode("ascii"), dtype=np.uint8)].reshape(-1, 2)
    codes = letters[:, 0] << 6 | letters[:, 1]
    is_level = codes >= _LEVEL
    level = (codes[is_level] - _LEVEL)[np.cumsum(is_level) - 1][~is_level]
    steps = codes[~is_level]
    return level, np.where(steps < _ZERO, 2.0 ** (-steps / _STEPS), 0.0)


def _divided(posterior: Posterior) -> NDArray[np.float64]:
    """Probabilities of the cells that are divided, falling, shape (M,)."""
    scheme = posterior.scheme
    found = []
    for coarse in range(0, scheme.level, scheme.group_size):
        deeper = posterior.level > coarse
        if not deeper.any():
            break
        above = cells.parent(posterior.cell_id[deeper], coarse)
        first = np.flatnonzero(np.concatenate([[True], above[1:] != above[:-1]]))
        found.append(np.add.reduceat(posterior.probability[deeper], first))
    return -np.sort(-np.concatenate([*found, []]))


def _merge(posterior: Posterior, most: float) -> Posterior:
    """A posterior in which no cell is divided that has a probability of `most` or less."""
    scheme = posterior.scheme
    cell_id, level, probability = posterior.cell_id, posterior.level, posterior.probability
    for fine in range(scheme.level, 0, -scheme.group_size):
        at = np.flatnonzero(level == fine)
        coarse = fine - scheme.group_size
        above, first, count = np.unique(
            cells.parent(cell_id[at], coarse), return_index=True, return_counts=True
        )
        held = np.add.reduceat(probability[at], first) if len(at) else np.empty(0)
        merged = (count == 4**scheme.group_size) & (held <= most)  # all children are there, none is divided
        keep = np.ones(len(cell_id), dtype=np.bool_)
        keep[at] = np.repeat(~merged, count)
        rows = at[first[merged]]
        keep[rows] = True
        cell_id, level, probability = cell_id.copy(), level.copy(), probability.copy()
        cell_id[rows], level[rows], probability[rows] = above[merged], coarse, held[merged]
        cell_id, level, probability = cell_id[keep], level[keep], probability[keep]
    return Posterior(scheme=scheme, cell_id=cell_id, level=level, probability=probability)
