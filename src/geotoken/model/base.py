"""What the backends of the transformer share: the memory, and the way from a cache to scores.

Owns the checks and the bookkeeping of a step; must not know which library computes.
Dimension letters: B photos, R hypotheses, V vocabulary.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from geotoken import protocol
from geotoken.model.batch import EvidenceBatch
from geotoken.model.cache import ItemPlaces, NodeStore, PrefixCache, StepInput
from geotoken.model.config import ModelConfig
from geotoken.model.world import World
from geotoken.tokens import TokenScheme

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TransformerMemory:
    """The encoded evidence of B photos; each backend adds what it computed of it."""

    batch: EvidenceBatch
    """The evidence as arrays."""
    scheme: TokenScheme
    """The token scheme."""
    store: NodeStore
    """An empty store."""
    places: ItemPlaces | None
    """Where the items lie, if the head asks."""
    world: World | None
    """The world prior, if the network is told of it."""

    @property
    def num_photos(self) -> int:
        """Number of photos B."""
        return self.batch.num_photos

    def new_cache(self) -> PrefixCache:
        """A cache with one empty hypothesis a photo."""
        batch = self.batch
        return PrefixCache.empty(
            self.scheme,
            batch.item_tokens,
            batch.item_mask,
            self.store.new(),
            places=self.places,
            world=self.world,
        )


MemoryT = TypeVar("MemoryT", bound=TransformerMemory)


class TransformerModel(ABC, Generic[MemoryT]):
    """The transformer as a token model, whatever library computes."""

    config: ModelConfig
    """Shape and switches of the network."""
    memory_type: type[MemoryT]
    """What `encode` returns."""

    @property
    def scheme(self) -> TokenScheme:
        """The token scheme whose sequences the model scores."""
        return self.config.scheme

    def step(self, tokens: Ints | None, memory: protocol.Memory, cache: protocol.Cache) -> Floats:
        """Score the next token of every hypothesis.

        Args:
            tokens: Last token of each hypothesis, shape (R,), int64; None when the hypotheses are empty.
            memory: What `encode` returned.
            cache: State of the hypotheses before `tokens`; advanced in place.

        Returns:
            Log-probabilities in nats, shape (R, V), float64.

        Raises:
            TypeError: If memory or cache belong to another model; the cache is as it was then.
        """
        if not isinstance(memory, self.memory_type) or not isinstance(cache, PrefixCache):
            raise TypeError(f"memory and cache must be those of {type(self).__name__}")
        if not isinstance(cache.store, type(memory.store)):
            raise TypeError(f"the cache must be that of {type(self).__name__}")
        given = cache.advance(tokens)
        size = self.scheme.vocabulary_sizes[given.position]
        if cache.num_rows == 0:
            return np.empty((0, size))
        return self._score(given, memory, cache.store)[:, :size].astype(np.float64)

    @abstractmethod
    def _score(self, given: StepInput, memory: MemoryT, store: NodeStore) -> Singles:
        """Log-probabilities of the next token, shape (R, V), R >= 1; keeps the new nodes in the store."""
