"""The network behind the protocol of `geotoken.protocol`, in PyTorch on any device.

Owns moving arrays in and out and the store of keys and values; must not know decoding.

Inputs of a step are integers that the host already has, so that a GPU is waited for once a step: when the
log-probabilities, 16 numbers a hypothesis, come back.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from geotoken import protocol
from geotoken.errors import InputError
from geotoken.evidence import Evidence
from geotoken.model.batch import EvidenceBatch, collate
from geotoken.model.cache import ItemPlaces, PrefixCache, StepInput, item_places
from geotoken.model.network.layers import split_heads
from geotoken.model.network.transformer import GeoTokenModel, Memory, StepTensors
from geotoken.tokens import TokenScheme

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precisions by name; log-probabilities are computed in float32 in either."""


class TorchStore:
    """Keys and values of nodes in one growing tensor."""

    def __init__(self, num_layers: int, width: int, like: Tensor) -> None:
        """An empty store.

        Args:
            num_layers: Decoder layers, L.
            width: Numbers in a key and in a value, D.
            like: Any tensor of the device and type wanted.
        """
        self.data = like.new_empty((num_layers, 0, 2 * width))
        self.num_nodes = 0

    def new(self) -> "TorchStore":
        """An empty store of the same kind."""
        return TorchStore(self.data.shape[0], self.data.shape[2] // 2, self.data)

    def reserve(self, num_rows: int, num_steps: int) -> slice:
        """Number new nodes and make room for as many in each of the steps to come.

        Args:
            num_rows: New nodes.
            num_steps: Steps until the sequences are whole, with this one.

        Returns:
            The numbers of the new nodes.
        """
        new = slice(self.num_nodes, self.num_nodes + num_rows)
        capacity = self.data.shape[1]
        if new.stop > capacity:
            wanted = max(new.start + num_rows * num_steps, capacity * 3 // 2)
            data = self.data.new_empty((self.data.shape[0], wanted, self.data.shape[2]))
            data[:, : new.start] = self.data[:, : new.start]
            self.data = data
        self.num_nodes = new.stop
        return new

    def attend(
        self, layer: int, q: Tensor, keys_values: Tensor, new: slice, nodes: Tensor, num_heads: int
    ) -> Tensor:
        """Keep keys and values of new nodes, and attend from each to the nodes of its path.

        Args:
            layer: Number of the layer.
            q: Queries of the new nodes, shape (R, D).
            keys_values: Their keys and values, shape (R, 2 D).
            new: Their numbers, R of them.
            nodes: The paths that end in them, shape (R, t).
            num_heads: Heads H.

        Returns:
            What was gathered, shape (R, D).
        """
        self.data[layer, new] = keys_values
        num_rows, num_nodes = nodes.shape
        if num_nodes == 1:
            return keys_values[:, q.shape[1] :]  # all attention is on the one position
        path = self.data[layer].index_select(0, nodes.flatten()).view(num_rows, num_nodes, -1)
        k, v = path.chunk(2, dim=-1)  # (R, t, D) each
        heads = scaled_dot_product_attention(
            split_heads(q[:, None], num_heads), split_heads(k, num_heads), split_heads(v, num_heads)
        )  # (R, H, 1, D / H)
        return heads.flatten(1)


@dataclass(frozen=True, slots=True)
class TorchMemory:
    """The encoded evidence of B photos on the device."""

    memory: Memory
    """The network's own."""
    batch: EvidenceBatch
    """The evidence as arrays."""
    scheme: TokenScheme
    """The token scheme."""
    store: TorchStore
    """An empty store."""
    places: ItemPlaces | None
    """Where the items lie, if the head asks."""

    @property
    def num_photos(self) -> int:
        """Number of photos B."""
        return self.batch.num_photos

    def new_cache(self) -> PrefixCache:
        """A cache with one empty hypothesis a photo."""
        batch = self.batch
        return PrefixCache.empty(
            self.scheme, batch.item_tokens, batch.item_mask, self.store.new(), places=self.places
        )


class TorchModel:
    """The transformer in PyTorch as a token model."""

    def __init__(self, network: GeoTokenModel, device: str = "cpu", dtype: str = "float32") -> None:
        """Take a network into use.

        Args:
            network: The network; it is copied if device or precision differ, else used as it is.
            device: Where to compute, as PyTorch names it.
            dtype: One of `DTYPES`; weights and activations are held in it.

        Raises:
            InputError: If the precision is unknown.
        """
        if dtype not in DTYPES:
            raise InputError(f"dtype is {dtype!r}; choose one of {', '.join(DTYPES)}")
        weight = network.head_weight
        if weight.dtype != DTYPES[dtype] or weight.device != torch.device(device):
            network = copy.deepcopy(network).to(device=device, dtype=DTYPES[dtype])
        self.network = network.eval()
        self.config = network.config

    @property
    def scheme(self) -> TokenScheme:
        """The token scheme whose sequences the model scores."""
        return self.config.scheme

    @torch.inference_mode()
    def encode(self, evidence: Sequence[Evidence]) -> TorchMemory:
        """Encode the evidence of B photos.

        Args:
            evidence: Evidence of each photo.

        Returns:
            The memory, shared by all hypotheses.
        """
        batch = collate(evidence, self.config)
        arrays = {name: self._tensor(array) for name, array in batch.arrays().items()}
        memory = self.network.encode(arrays, complete=batch.complete)
        config = self.config
        store = TorchStore(config.num_decoder_layers, config.width, self.network.head_weight)
        return TorchMemory(memory, batch, config.scheme, store, item_places(config, batch))

    @torch.inference_mode()
    def step(self, tokens: Ints | None, memory: protocol.Memory, cache: protocol.Cache) -> Floats:
        """Score the next token of every hypothesis.

        Args:
            tokens: Last token of each hypothesis, shape (R,), int64; None when the hypotheses are empty.
            memory: What `encode` returned.
            cache: State of the hypotheses before `tokens`; advanced in place.

        Returns:
            Log-probabilities in nats, shape (R, V), float64.

        Raises:
            TypeError: If memory or cache belong to another model.
        """
        if not isinstance(memory, TorchMemory) or not isinstance(cache, PrefixCache):
            raise TypeError("memory and cache must be those of a TorchModel")
        given = cache.advance(tokens)
        size = self.scheme.vocabulary_sizes[given.position]
        if cache.num_rows == 0:
            return np.empty((0, size))
        store = cache.store
        if not isinstance(store, TorchStore):
            raise TypeError("the cache must be that of a TorchModel")
        new = store.reserve(cache.num_rows, self.scheme.length - given.position)
        nodes = self._tensor(cache.nodes)
        num_heads = self.config.num_heads

        def recall(layer: int, q: Tensor, keys_values: Tensor) -> Tensor:
            return store.attend(layer, q, keys_values, new, nodes, num_heads)

        log_probs = self.network.step(self._tensors(given), memory.memory.take(given.photos), recall)
        return log_probs[:, :size].cpu().double().numpy()

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.network.head_weight.device, non_blocking=True)

    def _tensors(self, given: StepInput) -> StepTensors:
        return StepTensors(
            position=self._tensor(np.array([given.position])),
            token_rows=self._tensor(given.token_rows),
            pad=self._tensor(given.pad),
            slot=self._tensor(given.slot),
            copied=self._tensor(given.copied),
            match=self._tensor(given.match),
            offset=self._tensor(given.offset),
            orientation=self._tensor(given.orientation),
        )
