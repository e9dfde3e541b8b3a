"""What every search shares: the hypotheses of all photos as rows, and the strategy's three methods.

Owns `Hypotheses`, `Strategy` and the merging of equal continuations; must not know any one search.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geotoken.evidence import Evidence
from geotoken.protocol import Memory, TokenModel

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """The live hypotheses of B photos, R rows with all rows of a photo adjacent and photos in order."""

    photo: Ints
    """Photo of each row, shape (R,), never falling."""
    tokens: Ints
    """Tokens so far, shape (R, t)."""
    log_prob: Floats
    """Log-probability in nats of the tokens so far, shape (R,)."""
    num_samples: Ints | None = None
    """Samples that share each row, shape (R,); None where nothing is drawn."""

    @classmethod
    def empty(cls, num_photos: int) -> "Hypotheses":
        """One empty hypothesis, of log-probability 0, for each photo."""
        return cls(
            np.arange(num_photos, dtype=np.int64),
            np.empty((num_photos, 0), dtype=np.int64),
            np.zeros(num_photos),
        )

    def extend(self, rows: Ints, tokens: Ints, log_probs: Floats) -> "Hypotheses":
        """Continue some hypotheses by one token each.

        Args:
            rows: Hypothesis to continue, shape (R',); may repeat or leave out rows, photos stay in order.
            tokens: Token to append, shape (R',).
            log_probs: Log-probabilities in nats of every next token, shape (R, V).

        Returns:
            The R' longer hypotheses.
        """
        return Hypotheses(
            self.photo[rows],
            np.concatenate([self.tokens[rows], tokens[:, None]], axis=1),
            self.log_prob[rows] + log_probs[rows, tokens],
        )

    def split(self, num_photos: int) -> "list[Hypotheses]":
        """The hypotheses of each photo, likeliest first (of equal ones the first in token order first)."""
        order = np.lexsort((-self.log_prob, self.photo))
        bounds = np.searchsorted(self.photo[order], np.arange(num_photos + 1))
        return [self._take(order[start:stop]) for start, stop in pairwise(bounds)]

    def _take(self, rows: Ints) -> "Hypotheses":
        counts = None if self.num_samples is None else self.num_samples[rows]
        return Hypotheses(self.photo[rows], self.tokens[rows], self.log_prob[rows], counts)


class Strategy(Protocol):
    """One search over the token tree, all photos together, one token a step."""

    def reset(self, num_photos: int) -> None:
        """Start afresh with one empty hypothesis a photo."""
        ...

    def update(self, log_probs: Floats) -> tuple[Ints, Ints]:
        """Choose how to go on.

        Args:
            log_probs: Log-probabilities in nats of the next token of every live row, shape (R, V).

        Returns:
            For each row of the next step: the row it continues and the token it appends, both shape (R',).
        """
        ...

    def finalize(self) -> list[Hypotheses]:
        """The finished hypotheses of each photo, likeliest first."""
        ...


def merge(rows: Ints, tokens: Ints, vocabulary_size: int) -> tuple[Ints, Ints, Ints]:
    """Find the distinct continuations among many, so that equal prefixes are scored once.

    Args:
        rows: Row that each path continues, shape (N,).
        tokens: Token that each path appends, shape (N,).
        vocabulary_size: V of the position.

    Returns:
        Row and token of each distinct continuation in order of row, then token, both shape (R',), and the
        continuation of each path, shape (N,).
    """
    keys, path_row = np.unique(rows * vocabulary_size + tokens, return_inverse=True)
    return keys // vocabulary_size, keys % vocabulary_size, path_row.astype(np.int64).reshape(-1)


def encode_once(model: TokenModel, evidence: Sequence[Evidence] | Memory) -> Memory | None:
    """The memory of the photos, encoded here unless the caller has done so; None if there is no photo."""
    memory = model.encode(evidence) if isinstance(evidence, Sequence) and evidence else evidence
    return None if isinstance(memory, Sequence) or memory.num_photos == 0 else memory
