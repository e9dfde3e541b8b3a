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

from geotoken.decoding import Posterior

Ints = NDArray[np.int64]

_STEPS: Final = 70  # a factor of two; a probability is right to 0.5 %
_ZERO: Final = 4063
_LEVEL: Final = 4064
_LETTERS: Final = np.frombuffer(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", dtype=np.uint8
)


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
    cells = codes[~is_level]
    return level, np.where(cells < _ZERO, 2.0 ** (-cells / _STEPS), 0.0)
