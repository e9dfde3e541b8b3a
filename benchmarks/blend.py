"""Two evidence models as one: the mixture of their distributions over leaves.

Owns the share of each model in every prefix; must not know what the models are.
Dimension letters: M models, R hypotheses, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.evidence import Evidence
from geotoken.protocol import TokenModel

Floats = NDArray[np.float64]


@dataclass(slots=True)
class BlendCache:
    """The hypotheses in every model."""

    caches: list[Any]
    """Cache of each model."""
    log_share: Floats
    """Log of each model's weight times the probability that it gives the prefix, shape (M, R)."""
    scored: Floats | None = None
    """What each model gave the next token in the last step, shape (M, R, V)."""

    @property
    def num_rows(self) -> int:
        """Number of live hypotheses R."""
        return int(self.log_share.shape[1])

    def expand(self, n: int) -> "BlendCache":
        """Repeat each row n times, adjacent."""
        return self.reorder(np.repeat(np.arange(self.num_rows), n))

    def reorder(self, rows: NDArray[np.int64]) -> "BlendCache":
        """Select rows by position, shape (R',)."""
        scored = None if self.scored is None else self.scored[:, rows]
        return BlendCache([cache.reorder(rows) for cache in self.caches], self.log_share[:, rows], scored)


@dataclass(frozen=True, slots=True)
class BlendMemory:
    """The evidence as every model encoded it."""

    memories: list[Any]
    log_weight: Floats

    @property
    def num_photos(self) -> int:
        """Number of photos B."""
        return int(self.memories[0].num_photos)

    def new_cache(self) -> BlendCache:
        """A cache with one empty hypothesis a photo."""
        caches = [memory.new_cache() for memory in self.memories]
        return BlendCache(caches, np.repeat(self.log_weight[:, None], self.num_photos, axis=1))


class Blend:
    """A token model of several; a leaf has the weighted mean of the probabilities that they give it."""

    def __init__(self, models: Sequence[TokenModel], weights: Sequence[float]) -> None:
        self.models = list(models)
        self.scheme = models[0].scheme
        self._log_weight = np.log(np.array(weights) / np.sum(weights))

    def encode(self, evidence: Sequence[Evidence]) -> BlendMemory:
        """Encode the evidence of B photos with every model."""
        return BlendMemory([model.encode(evidence) for model in self.models], self._log_weight)

    def step(self, tokens: NDArray[np.int64] | None, memory: Any, cache: Any) -> Floats:
        """Score the next token of every hypothesis, as `geotoken.protocol.TokenModel` does."""
        if tokens is not None:
            given = np.take_along_axis(cache.scored, tokens[None, :, None], axis=2)[..., 0]
            cache.log_share = cache.log_share + given
        pairs = zip(self.models, memory.memories, cache.caches, strict=True)
        cache.scored = np.stack([model.step(tokens, *rest) for model, *rest in pairs])
        share = cache.log_share - np.logaddexp.reduce(cache.log_share, axis=0)
        return np.asarray(np.logaddexp.reduce(cache.scored + share[..., None], axis=0))
