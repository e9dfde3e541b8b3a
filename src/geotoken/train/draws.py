"""Order of rows and randomness of a run, from the seed, the step and the position in the batch alone.

Owns which row and which number comes when; must not know what they are used for.
"""

from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WORDS = 4  # numbers that Philox makes of one value of its counter


class Draws(np.random.Generator):
    """A generator for some neighboring positions of one global batch.

    `by_row` gives each position the same numbers however the batch is divided among processes and
    micro-batches; the methods of a plain generator start afresh from (seed, step, first position).
    """

    def __init__(self, seed: int, step: int, first: int, count: int) -> None:
        """Start the draws of one share of a batch.

        Args:
            seed: Seed of the run, >= 0.
            step: Number of the step, from 0.
            first: First position in the global batch.
            count: Positions B.
        """
        super().__init__(np.random.PCG64([seed, step, first]))
        self.torch_seed = int(self.integers(2**63))
        """Seed for PyTorch's own draws, such as dropout inside the network."""
        self._source = (seed, step)
        self._first = first
        self._count = count
        self._calls = 0

    def by_row(self, *shape: int) -> Floats:
        """Uniform numbers for each position.

        Args:
            shape: Numbers for one position.

        Returns:
            Numbers in [0, 1), shape (B, *shape).
        """
        size = prod(shape)
        blocks = -(-size // _WORDS)
        source = np.random.Philox(np.random.SeedSequence([*self._source, self._calls]))
        source.advance(self._first * blocks)
        self._calls += 1
        numbers = np.random.Generator(source).random((self._count, blocks * _WORDS))
        return numbers[:, :size].reshape(self._count, *shape)


def rows_at(first: int, count: int, num_rows: int, seed: int) -> Ints:
    """Rows at some positions of the endless sequence of epochs, each a new order of all rows.

    Args:
        first: First position; step s of a batch of B rows begins at s * B.
        count: Positions.
        num_rows: Rows in all, >= 1.
        seed: Seed of the run.

    Returns:
        Numbers of rows, shape (count,).
    """
    positions = np.arange(first, first + count)
    epochs = positions // num_rows
    rows = np.empty(count, dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        rows[here] = _order(int(epoch), num_rows, seed)[positions[here] % num_rows]
    return rows


@lru_cache(maxsize=2)
def _order(epoch: int, num_rows: int, seed: int) -> Ints:
    """The order of one epoch, shape (num_rows,)."""
    return np.random.default_rng([seed, epoch]).permutation(num_rows)
