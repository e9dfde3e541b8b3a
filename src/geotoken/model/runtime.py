"""The transformer on ONNX Runtime: the default at run time, without PyTorch.

Owns the two sessions and the memory they read and write in place; must not know how the graphs were made.
Dimension letters: B photos, E items, P positions of evidence, D width, H heads, R hypotheses, L layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError
from geotoken.evidence import Evidence
from geotoken.graphs import open_graph
from geotoken.model.base import Singles, TransformerMemory, TransformerModel
from geotoken.model.batch import collate
from geotoken.model.cache import NodeStore, StepInput, item_places
from geotoken.model.config import ModelConfig
from geotoken.model.grid import WIDTHS_KM
from geotoken.model.world import World
from geotoken.prior import WorldPrior

CONFIG_FILE: Final = "model.json"
ENCODER_FILE: Final = "encoder.onnx"
DECODER_FILE: Final = "decoder_step.onnx"
PRIOR_FILE: Final = "prior.npz"

ENCODED_TOGETHER: Final = 8
"""Photos given to the encoder at once; bounds what the runtime keeps for its intermediate results."""

_NEVER: Final = np.float32(-1e9)  # added to the score of a position that is not there


def memory_names(config: ModelConfig) -> list[str]:
    """Names of what the encoder gives and the decoder reads: keys and values a layer, the mask, the items."""
    layers = range(config.num_decoder_layers)
    items = ["item_keys"] if config.has_items else []
    items += ["item_shift"] if config.has_kernels else []
    return [*(f"key_{i}" for i in layers), *(f"value_{i}" for i in layers), "mask", *items]


def past_names(layer: int) -> tuple[str, str]:
    """Names of the keys and values that the decoder's self-attention kept; outputs begin with `new_`."""
    return f"past_key_{layer}", f"past_value_{layer}"


def load_prior(config: ModelConfig, folder: Path) -> WorldPrior | None:
    """Read the world prior of a model.

    Args:
        config: The model.
        folder: Its folder.

    Returns:
        The prior; None if the model is not told of one.

    Raises:
        ArtifactError: It is missing or damaged.
    """
    return WorldPrior.load(folder / PRIOR_FILE) if config.world_prior else None


class OnnxStore(NodeStore):
    """Keys and values of nodes in one growing array, into which the graph writes."""

    def __init__(self, num_layers: int, width: int) -> None:
        super().__init__()
        self.data: Singles = np.empty((2 * num_layers, 0, width), dtype=np.float32)
        """Keys (even) and values (odd) of each layer, shape (2 L, capacity, D)."""

    def new(self) -> "OnnxStore":
        """An empty store of the same kind."""
        return OnnxStore(len(self.data) // 2, self.data.shape[2])

    def grow(self) -> None:
        """Make room for `capacity` nodes and keep the first `num_nodes`."""
        data = np.empty((self.data.shape[0], self.capacity, self.data.shape[2]), dtype=np.float32)
        data[:, : self.num_nodes] = self.data[:, : self.num_nodes]
        if self.num_nodes == 0:
            data[:, 0] = 0.0  # stands for the past of an empty hypothesis, and is read with weight 0
        self.data = data


@dataclass(frozen=True, slots=True)
class OnnxMemory(TransformerMemory):
    """The encoded evidence of B photos."""

    arrays: dict[str, NDArray[Any]]
    """What the encoder gave, by name, each with the photos first."""


class OnnxModel(TransformerModel[OnnxMemory]):
    """The transformer on ONNX Runtime as a token model."""

    memory_type = OnnxMemory

    def __init__(
        self, config: ModelConfig, encoder: Any, decoder: Any, prior: WorldPrior | None = None
    ) -> None:
        """Take two open sessions into use; see `load`."""
        self.config = config
        self._world = None if prior is None else World(prior, config.scheme)
        self._encoder = encoder
        self._decoder = decoder
        self._encoder_inputs = {one.name for one in encoder.get_inputs()}
        self._decoder_inputs = {one.name for one in decoder.get_inputs()}

    @classmethod
    def load(cls, folder: Path, num_threads: int | None = None) -> "OnnxModel":
        """Read a model written by `geotoken.model.network.export`.

        Args:
            folder: Folder with model.json, encoder.onnx, decoder_step.onnx and, for `world_prior`, prior.npz.
            num_threads: Processor cores; all when None.

        Returns:
            The model.

        Raises:
            ArtifactError: If a file is missing or damaged, or the graphs are those of another configuration.
        """
        config = ModelConfig.load(folder / CONFIG_FILE)
        encoder, decoder = (_session(folder / name, num_threads) for name in (ENCODER_FILE, DECODER_FILE))
        memory = {one.name: one.shape for one in encoder.get_outputs()}
        past = {name for layer in range(config.num_decoder_layers) for name in past_names(layer)}
        heads = [config.num_heads, config.head_width]
        if (
            list(memory) != memory_names(config)
            or memory["key_0"][1::2] != heads
            or {one.name for one in decoder.get_inputs() if one.name.startswith("past_")} != past
        ):
            raise ArtifactError(
                f"{folder} holds graphs of another model than its {CONFIG_FILE}; "
                f"make them with: geotoken export {folder}"
            )
        return cls(config, encoder, decoder, load_prior(config, folder))

    def encode(self, evidence: Sequence[Evidence]) -> OnnxMemory:
        """Encode the evidence of B photos.

        Args:
            evidence: Evidence of each photo.

        Returns:
            The memory, shared by all hypotheses.
        """
        config = self.config
        batch = collate(evidence, config)
        num_photos, num_items = batch.item_mask.shape
        positions = config.num_positions(num_items)
        names = memory_names(config)
        heads = (num_photos, config.num_heads, positions, config.head_width)
        memory: dict[str, NDArray[Any]] = {
            name: np.empty(heads, np.float32) for name in names[: 2 * config.num_decoder_layers]
        }
        memory["mask"] = np.empty((num_photos, 1, 1, positions), dtype=np.bool_)
        if config.has_items:
            memory["item_keys"] = np.empty((num_photos, num_items, config.width), dtype=np.float32)
        if config.has_kernels:
            memory["item_shift"] = np.empty((num_photos, num_items, len(WIDTHS_KM), 2), dtype=np.float32)
        inputs = {n: np.ascontiguousarray(a) for n, a in batch.arrays().items() if n in self._encoder_inputs}
        for start in range(0, num_photos, ENCODED_TOGETHER):
            part = slice(start, start + ENCODED_TOGETHER)
            _run(
                self._encoder,
                {n: a[part] for n, a in inputs.items()},
                {n: a[part] for n, a in memory.items()},
            )
        store = OnnxStore(config.num_decoder_layers, config.width)
        return OnnxMemory(batch, config.scheme, store, item_places(config, batch), self._world, memory)

    def _score(self, given: StepInput, memory: OnnxMemory, store: NodeStore) -> Singles:
        assert isinstance(store, OnnxStore)
        inputs = _step_arrays(given)
        inputs |= {name: array[given.photos] for name, array in memory.arrays.items()}
        log_probs = np.empty((len(given.slot), self.config.vocabulary_size), dtype=np.float32)
        outputs: dict[str, NDArray[Any]] = {"log_probs": log_probs}
        for layer in range(self.config.num_decoder_layers):
            for name, kept in zip(past_names(layer), store.data[2 * layer : 2 * layer + 2], strict=True):
                inputs[name] = kept[: max(given.new.start, 1)]
                outputs[f"new_{name}"] = kept[given.new]
        _run(self._decoder, {n: a for n, a in inputs.items() if n in self._decoder_inputs}, outputs)
        return log_probs


def _step_arrays(given: StepInput) -> dict[str, NDArray[Any]]:
    """The arrays of a step by name; an empty hypothesis has one node before it, which is marked absent."""
    empty = given.position == 0
    past = np.zeros((len(given.slot), 1), np.int64) if empty else given.nodes[:, :-1]
    return {
        "position": np.array([given.position]),
        "token_rows": given.token_rows,
        "pad": given.pad,
        "slot": given.slot,
        "copied": np.ascontiguousarray(given.copied),
        "match": np.ascontiguousarray(given.match),
        "offset": given.offset,
        "orientation": np.ascontiguousarray(given.orientation),
        "world": given.world,
        "nodes": np.ascontiguousarray(past),
        "absent": np.full(max(given.position, 1), _NEVER if empty else 0.0, dtype=np.float32),
    }


def _run(session: Any, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> None:
    """Run a graph on arrays where they lie: read and written in place, nothing is copied."""
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    session.run_with_iobinding(binding)


def _session(path: Path, num_threads: int | None) -> Any:
    """Open a graph on the CPU.

    Raises:
        ArtifactError: It is missing or damaged.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} is missing; make it with: geotoken export {path.parent}")
    return open_graph(path, num_threads, "install the model again")
