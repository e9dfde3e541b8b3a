"""The contract between decoding and every model: encode evidence once, then score next tokens.

Owns three small protocols; must not know any model. Arrays are numpy in and out.
Dimension letters: B photos, R live hypotheses (rows), V vocabulary of the position.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geotoken.evidence import Evidence
from geotoken.tokens import TokenScheme


class Cache(Protocol):
    """State of the live hypotheses, one row each; all rows of one cache have the same number of tokens.

    A cache is a value: `expand` and `reorder` return a new one and leave this one usable, while
    `TokenModel.step` advances the cache it is given in place.
    """

    @property
    def num_rows(self) -> int:
        """Number of live hypotheses R."""
        ...

    def expand(self, n: int) -> "Cache":
        """Repeat each row n times, rows of one hypothesis adjacent: (R,) becomes (R * n,)."""
        ...

    def reorder(self, rows: NDArray[np.int64]) -> "Cache":
        """Select rows by position, shape (R',), in the order given; a row may be dropped or repeated."""
        ...


class Memory(Protocol):
    """The encoded evidence of B photos, shared by all their hypotheses."""

    @property
    def num_photos(self) -> int:
        """Number of photos B."""
        ...

    def new_cache(self) -> Cache:
        """A cache with one empty hypothesis a photo, in order: B rows."""
        ...


class TokenModel(Protocol):
    """A distribution over token sequences given evidence, one position at a time."""

    @property
    def scheme(self) -> TokenScheme:
        """The token scheme whose sequences the model scores."""
        ...

    def encode(self, evidence: Sequence[Evidence]) -> Memory:
        """Encode the evidence of B photos, once."""
        ...

    def step(self, tokens: NDArray[np.int64] | None, memory: Memory, cache: Cache) -> NDArray[np.float64]:
        """Score the next token of every hypothesis.

        Args:
            tokens: Last token of each hypothesis, shape (R,), int64; None when the hypotheses are empty.
            memory: What `encode` returned.
            cache: State of the hypotheses before `tokens`; advanced in place by one position.

        Returns:
            Log-probabilities in nats, shape (R, V), float64; V is 6 at the face position, then
            4 ** group_size. Each row's probabilities sum to 1.
        """
        ...
