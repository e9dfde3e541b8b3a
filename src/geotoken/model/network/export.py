"""The network as two ONNX graphs: encode the evidence of photos; score one more token of each hypothesis.

Owns the graphs' inputs and outputs, by name, and the proof that they compute what PyTorch does.
Dimension letters: B photos, E items, P positions of evidence, T tokens, D width, H heads, R hypotheses,
W slots of a photo, N nodes held, V vocabulary.
"""

import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from geotoken.errors import ArtifactError
from geotoken.evidence import Evidence
from geotoken.model.batch import collate
from geotoken.model.config import ModelConfig
from geotoken.model.network.backend import TorchModel
from geotoken.model.network.transformer import GeoTokenModel, Memory, StepTensors
from geotoken.model.runtime import (
    CONFIG_FILE,
    DECODER_FILE,
    ENCODER_FILE,
    PRIOR_FILE,
    OnnxModel,
    memory_names,
    past_names,
)
from geotoken.protocol import TokenModel

TOLERANCE: Final = 1e-4
"""Largest difference of a log-probability, in nats, that is taken as rounding."""

OPSET: Final = 17
"""Version of the operators of the graphs."""

_STEP_AXES: Final = {
    "token_rows": {0: "rows"},
    "pad": {0: "photos", 1: "slots"},
    "slot": {0: "rows"},
    "copied": {0: "rows", 1: "items"},
    "match": {0: "rows", 1: "items"},
    "offset": {0: "rows", 1: "items"},
    "orientation": {0: "rows"},
    "world": {0: "rows"},
    "nodes": {0: "rows", 1: "past"},
    "absent": {0: "past"},
    "mask": {0: "photos", 3: "positions"},
    "item_keys": {0: "photos", 1: "items"},
    "item_shift": {0: "photos", 1: "items"},
    "log_probs": {0: "rows"},
}


def export_onnx(network: GeoTokenModel, folder: Path) -> float:
    """Write the two graphs, prove that they agree with PyTorch, and only then put them in place.

    Args:
        network: The network.
        folder: An existing folder for encoder.onnx, decoder_step.onnx and model.json.

    Returns:
        The largest difference found of a log-probability, in nats.

    Raises:
        ArtifactError: If the graphs differ from PyTorch by more than `TOLERANCE`; nothing is written then.
    """

    def write(scratch: Path) -> None:
        network.config.save(scratch / CONFIG_FILE)
        if network.world is not None:
            network.world.prior.save(scratch / PRIOR_FILE)
        _export_encoder(network, scratch / ENCODER_FILE)
        _export_decoder(network, scratch / DECODER_FILE)

    def compare(scratch: Path) -> float:
        return largest_difference(network, OnnxModel.load(scratch))

    return write_proven(network, folder, write, compare, TOLERANCE)


def write_proven(
    network: nn.Module,
    folder: Path,
    write: Callable[[Path], None],
    compare: Callable[[Path], float],
    tolerance: float,
) -> float:
    """Write files of a network, and put them in place only if they compute what it does.

    Args:
        network: The network; in evaluation mode meanwhile.
        folder: An existing folder.
        write: Writes the files into a folder of their own.
        compare: The largest difference between the network and the files in that folder.
        tolerance: The largest difference that is taken as rounding.

    Returns:
        The difference.

    Raises:
        ArtifactError: It is larger; nothing is written then.
    """
    training = network.training
    network.eval()
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as name:
            scratch = Path(name)
            with torch.no_grad(), warnings.catch_warnings():
                # The tracer warns of shapes it takes as constant, and of its age; the proof below decides.
                warnings.simplefilter("ignore")
                write(scratch)
            difference = compare(scratch)
            if not difference <= tolerance:
                raise ArtifactError(
                    f"the exported graphs differ from PyTorch by {difference:.1e}, more than {tolerance}; "
                    "nothing was written; report it with the versions of torch and onnxruntime"
                )
            for file in sorted(one.name for one in scratch.iterdir()):
                os.replace(scratch / file, folder / file)
    finally:
        network.train(training)
    return difference


def largest_difference(network: GeoTokenModel, exported: OnnxModel, seed: int = 0) -> float:
    """Compare the graphs with PyTorch on random evidence of ragged size and random hypotheses.

    Args:
        network: The network.
        exported: The graphs.
        seed: Seed of evidence and hypotheses.

    Returns:
        The largest difference of a log-probability, in nats.
    """
    random = np.random.default_rng(seed)
    evidence = random_evidence(network.config, random)
    models: tuple[TokenModel, ...] = (TorchModel(network), exported)
    memories = [model.encode(evidence) for model in models]
    caches = [memory.new_cache() for memory in memories]
    worst, tokens = 0.0, None
    for size in network.config.scheme.vocabulary_sizes:
        ours, theirs = (m.step(tokens, one, c) for m, one, c in zip(models, memories, caches, strict=True))
        worst = max(worst, float(np.abs(ours - theirs).max()))
        rows = np.sort(random.integers(0, len(ours), len(evidence) + 4))
        tokens = random.integers(0, size, len(rows))
        caches = [cache.reorder(rows) for cache in caches]
    return worst


def random_evidence(config: ModelConfig, random: np.random.Generator) -> list[Evidence]:
    """Evidence of four photos: everything; some of it; nothing; one neighbor without vectors.

    Args:
        config: The model that is to read it.
        random: Where numbers come from.

    Returns:
        The evidence.
    """
    sizes = (
        (config.num_neighbors, config.num_guesses),
        (max(1, config.num_neighbors // 2), 0),
        (0, 0),
        (1, 0),
    )
    photos = []
    for photo, (num_neighbors, num_guesses) in enumerate(sizes):
        vectors = config.modalities[photo:] if photo < 3 else ()
        photos.append(
            Evidence(
                neighbor_lat=random.uniform(-80, 80, num_neighbors),
                neighbor_lng=random.uniform(-180, 180, num_neighbors),
                neighbor_rank=np.arange(1.0, num_neighbors + 1),
                neighbor_similarity=random.uniform(0, 1, num_neighbors) if photo % 2 else None,
                guess_lat=random.uniform(-80, 80, num_guesses),
                guess_lng=random.uniform(-180, 180, num_guesses),
                guess_weight=random.uniform(0.5, 2, num_guesses),
                query_vectors={name: random.normal(size=dim) / dim**0.5 for name, dim in vectors},
                neighbor_vectors={
                    name: random.normal(size=(num_neighbors, dim)) / dim**0.5 for name, dim in vectors
                },
            )
        )
    return photos


class _Encoder(nn.Module):
    """`encode` with its arrays in order and its memory as a tuple."""

    def __init__(self, network: GeoTokenModel, names: list[str]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        memory = self.network.encode(dict(zip(self.names, arrays, strict=True)))
        items = _item_arrays(memory)
        assert memory.mask is not None
        return (*memory.keys, *memory.values, memory.mask, *items)


class _DecoderStep(nn.Module):
    """`step` with its past as tensors in, and its new keys and values as tensors out."""

    def __init__(self, network: GeoTokenModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        config = self.network.config
        num_layers, num_heads = config.num_decoder_layers, config.num_heads
        names = memory_names(config)
        memory = Memory(
            [given[name] for name in names[:num_layers]],
            [given[name] for name in names[num_layers : 2 * num_layers]],
            given["mask"],
            given.get("item_keys"),
            given.get("item_shift"),
        )
        fields = StepTensors(**{name: given[name] for name in StepTensors.__slots__})
        new: list[Tensor] = []
        heads = torch.arange(num_heads)
        places = given["nodes"][:, None, :] * num_heads + heads[:, None]  # (R, H, t)

        def recall(layer: int, q: Tensor, keys_values: Tensor) -> Tensor:
            new_k, new_v = keys_values.chunk(2, dim=1)
            new.extend((new_k, new_v))
            past = [given[name].view(-1, config.head_width) for name in past_names(layer)]  # (N * H, D / H)
            k, v = (one.index_select(0, places.flatten()).view(*places.shape, -1) for one in past)
            q, new_k, new_v = (one.view(-1, num_heads, 1, config.head_width) for one in (q, new_k, new_v))
            q = q * config.head_width**-0.5
            # The new position stands beside the past, so that nothing that was gathered is copied again.
            before = q @ k.transpose(2, 3) + given["absent"]  # (R, H, 1, t)
            weights = torch.cat([before, (q * new_k).sum(dim=-1, keepdim=True)], dim=-1).softmax(dim=-1)
            return (weights[..., :-1] @ v + weights[..., -1:] * new_v).flatten(1)

        log_probs = self.network.step(fields, memory, recall)
        return (log_probs, *new)


def _export_encoder(network: GeoTokenModel, path: Path) -> None:
    config = network.config
    arrays = _example(config)
    axes = {name: {0: "photos"} | ({1: "items"} if name.startswith("item_") else {}) for name in arrays}
    outputs = memory_names(config)
    for name in outputs:
        axes[name] = {0: "photos"} | ({1: "items"} if name.startswith("item_") else {})
        if not name.startswith("item_"):
            axes[name] |= {3 if name == "mask" else 2: "positions"}
    torch.onnx.export(
        _Encoder(network, list(arrays)),
        tuple(arrays.values()),
        str(path),
        input_names=list(arrays),
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )


def _export_decoder(network: GeoTokenModel, path: Path) -> None:
    config = network.config
    num_rows, num_past = 5, 2
    memory = network.encode(_example(config))
    items = _item_arrays(memory)
    num_items = items[0].shape[1] if items else 1
    assert memory.mask is not None
    names = memory_names(config)
    given = {
        "position": torch.tensor([num_past]),
        "token_rows": torch.arange(1, num_rows + 1),
        "pad": torch.tensor([[0, 1, 2], [3, 4, 0]]),
        "slot": torch.tensor([0, 1, 2, 3, 4]),
        "copied": torch.zeros(num_rows, num_items, dtype=torch.long),
        "match": torch.ones(num_rows, num_items, dtype=torch.bool),
        "offset": torch.rand(num_rows, num_items, 2),
        "orientation": torch.arange(num_rows) % 4,
        "world": torch.randn(num_rows, config.vocabulary_size),
        "nodes": torch.arange(num_rows * num_past).view(num_rows, num_past),
        "absent": torch.zeros(num_past),
        **dict(zip(names, (*memory.keys, *memory.values, memory.mask, *items), strict=True)),
    }
    layers = [past_names(layer) for layer in range(config.num_decoder_layers)]
    for pair in layers:
        given |= {name: torch.randn(num_rows * num_past, config.width) for name in pair}
    outputs = ["log_probs", *(f"new_{name}" for pair in layers for name in pair)]
    axes: dict[str, dict[int, str]] = {
        name: {0: "rows" if name.startswith("new_") else "nodes_held"}
        for pair in layers
        for one in pair
        for name in (one, f"new_{one}")
    }
    axes |= {name: {0: "photos", 2: "positions"} for name in names[: 2 * config.num_decoder_layers]}
    axes |= _STEP_AXES
    torch.onnx.export(
        _DecoderStep(network),
        (given, {}),
        str(path),
        input_names=list(given),
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )


def _item_arrays(memory: Memory) -> tuple[Tensor, ...]:
    """What the memory holds of the items, in the order of `memory_names`."""
    return tuple(array for array in (memory.item_keys, memory.item_shift) if array is not None)


def _example(config: ModelConfig) -> dict[str, Tensor]:
    """The arrays of two photos of ragged evidence."""
    evidence = random_evidence(config, np.random.default_rng(0))[:2]
    return {name: torch.from_numpy(a) for name, a in collate(evidence, config).arrays().items()}
