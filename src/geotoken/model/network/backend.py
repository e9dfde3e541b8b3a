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

from geotoken.errors import InputError
from geotoken.evidence import Evidence
from geotoken.model.base import Singles, TransformerMemory, TransformerModel
from geotoken.model.batch import collate
from geotoken.model.cache import NodeStore, StepInput, item_places
from geotoken.model.network.packed import can_pack, pack_linears
from geotoken.model.network.transformer import GeoTokenModel, Memory, StepTensors

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precisions by name; log-probabilities are computed in float32 in either."""


class TorchStore(NodeStore):
    """Keys and values of nodes in one growing tensor."""

    def __init__(self, num_layers: int, width: int, like: Tensor) -> None:
        """An empty store.

        Args:
            num_layers: Decoder layers, L.
            width: Numbers in a key and in a value, D.
            like: Any tensor of the device and type wanted.
        """
        super().__init__()
        self.data = like.new_empty((num_layers, 0, 2 * width))

    def new(self) -> "TorchStore":
        """An empty store of the same kind."""
        return TorchStore(self.data.shape[0], self.data.shape[2] // 2, self.data)

    def grow(self) -> None:
        """Make room for `capacity` nodes and keep the first `num_nodes`."""
        data = self.data.new_empty((self.data.shape[0], self.capacity, self.data.shape[2]))
        data[:, : self.num_nodes] = self.data[:, : self.num_nodes]
        self.data = data

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
        path = self.data[layer].index_select(0, nodes.flatten())
        k, v = path.view(num_rows, num_nodes, 2, num_heads, -1).unbind(2)  # (R, t, H, D / H) each
        q = q.view(num_rows, 1, num_heads, -1) * k.shape[-1] ** -0.5
        # A handful of positions a row: sums where they lie cost less than a matrix product for each head.
        weights = (k * q).sum(dim=-1, keepdim=True).softmax(dim=1)  # (R, t, H, 1)
        return (v * weights).sum(dim=1).flatten(1)


@dataclass(frozen=True, slots=True)
class TorchMemory(TransformerMemory):
    """The encoded evidence of B photos on the device."""

    encoded: Memory
    """The network's own."""


class TorchModel(TransformerModel[TorchMemory]):
    """The transformer in PyTorch as a token model."""

    memory_type = TorchMemory

    def __init__(self, network: GeoTokenModel, device: str = "cpu", dtype: str = "float32") -> None:
        """Take a network into use.

        Args:
            network: The network; it is copied, so that what becomes of it later is not seen.
            device: Where to compute, as PyTorch names it.
            dtype: One of `DTYPES`; weights and activations are held in it.

        Raises:
            InputError: If the precision is unknown.
        """
        if dtype not in DTYPES:
            raise InputError(f"dtype is {dtype!r}; choose one of {', '.join(DTYPES)}")
        network = copy.deepcopy(network).to(device=device, dtype=DTYPES[dtype]).eval()
        if torch.device(device).type == "cpu" and can_pack(DTYPES[dtype]):
            with torch.inference_mode():
                pack_linears(network.encoder)
                pack_linears(network.decoder)
        self.network = network
        self.config = network.config

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
        encoded = self.network.encode(arrays, complete=batch.complete)
        config = self.config
        store = TorchStore(config.num_decoder_layers, config.width, self.network.head_weight)
        return TorchMemory(
            batch, config.scheme, store, item_places(config, batch), self.network.world, encoded
        )

    @torch.inference_mode()
    def _score(self, given: StepInput, memory: TorchMemory, store: NodeStore) -> Singles:
        assert isinstance(store, TorchStore)
        nodes = self._tensor(given.nodes)
        num_heads = self.config.num_heads

        def recall(layer: int, q: Tensor, keys_values: Tensor) -> Tensor:
            return store.attend(layer, q, keys_values, given.new, nodes, num_heads)

        log_probs = self.network.step(self._tensors(given), memory.encoded.take(given.photos), recall)
        return log_probs.cpu().numpy()

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.network.head_weight.device, non_blocking=True)

    def _tensors(self, given: StepInput) -> StepTensors:
        names = [name for name in StepTensors.__slots__ if name != "position"]
        rest = {name: self._tensor(getattr(given, name)) for name in names}
        return StepTensors(position=self._tensor(np.array([given.position])), **rest)
