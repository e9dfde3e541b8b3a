"""The reward network as an ONNX graph, with the proof that it computes what PyTorch does.

Owns the graph's inputs and outputs, by name; must not know training. Dimension letters: B photos,
C candidates, E items.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from geotoken.metrics import THRESHOLDS_KM
from geotoken.model.network.export import OPSET, write_proven
from geotoken.reward.batch import RewardBatch, describe
from geotoken.reward.config import RewardConfig
from geotoken.reward.network.network import RewardNetwork
from geotoken.reward.network.weights import save_reward_network
from geotoken.reward.runtime import GRAPH_FILE, RewardModel

TOLERANCE: Final = 1e-5
"""Largest difference of a probability that is taken as rounding."""


def export_reward(network: RewardNetwork, folder: Path) -> float:
    """Write weights and graph, prove that they agree, and only then put them in place.

    Args:
        network: The network.
        folder: An existing folder for reward.json, reward.safetensors and reward.onnx.

    Returns:
        The largest difference found of a probability.

    Raises:
        ArtifactError: If graph and PyTorch differ by more than `TOLERANCE`; nothing is written then.
    """

    def write(scratch: Path) -> None:
        save_reward_network(network, scratch)
        _export(network, scratch / GRAPH_FILE)

    def compare(scratch: Path) -> float:
        return largest_difference(network, RewardModel.load(scratch))

    return write_proven(network, folder, write, compare, TOLERANCE)


def largest_difference(network: RewardNetwork, exported: RewardModel, seed: int = 0) -> float:
    """Compare graph and PyTorch on random cases of other sizes than the graph was made with.

    Args:
        network: The network, in evaluation mode.
        exported: The graph.
        seed: Seed of the cases.

    Returns:
        The largest difference of a probability.
    """
    worst = 0.0
    for number, sizes in enumerate(((4, 7, 9), (1, 1, 1), (2, 30, 24))):
        batch = random_batch(network.config, sizes, seed + number)
        with torch.no_grad():
            ours = torch.sigmoid(network(as_tensors(batch, network.config))).numpy()
        ours = np.maximum.accumulate(ours, axis=-1)
        worst = max(worst, float(np.abs(ours - exported.judge(batch)).max()))
    return worst


def as_tensors(batch: RewardBatch, config: RewardConfig) -> dict[str, Tensor]:
    """What the network reads of a batch.

    Args:
        batch: Candidates and evidence.
        config: The configuration.

    Returns:
        The arrays of `describe` as tensors, by name.
    """
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in describe(batch, config).items()}


def random_batch(config: RewardConfig, sizes: tuple[int, int, int], seed: int = 0) -> RewardBatch:
    """Random candidates and evidence, of which about a third are absent.

    Args:
        config: The configuration.
        sizes: Numbers of photos B, candidates C and items E.
        seed: Seed of all numbers.

    Returns:
        The batch; the first photo has nothing but one candidate.
    """
    random = np.random.default_rng(seed)
    num_photos, num_candidates, num_items = sizes
    one, other = (num_photos, num_candidates), (num_photos, num_items)
    mask, item_mask, known = (random.random(shape) < 0.7 for shape in (one, other, other))
    mask[:, 0], item_mask[0] = True, False
    guess = item_mask & (random.random(other) < 0.2)
    neighbor = item_mask & ~guess
    compared = neighbor[..., None] & (random.random((*other, len(config.modalities))) < 0.7)
    return RewardBatch(
        lat=random.uniform(-80, 80, one),
        lng=random.uniform(-180, 180, one),
        log_prob=-20 * random.random(one),
        within=np.sort(random.random((*one, len(THRESHOLDS_KM))), axis=-1),
        mask=mask,
        item_lat=random.uniform(-80, 80, other),
        item_lng=random.uniform(-180, 180, other),
        item_mask=item_mask,
        item_guess=guess,
        item_rank=np.where(neighbor, np.arange(1.0, num_items + 1), 0.0),
        item_similarity=np.where(neighbor & known, random.uniform(0, 1, other), 0.0),
        item_similarity_known=neighbor & known,
        item_log_weight=np.where(guess, random.normal(size=other), 0.0),
        item_cosine=np.where(compared, random.uniform(-1, 1, compared.shape), 0.0),
        item_cosine_known=compared,
    )


class _Graph(nn.Module):
    """The network with its inputs in order."""

    def __init__(self, network: RewardNetwork, names: list[str]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *arrays: Tensor) -> Tensor:
        logits: Tensor = self.network(dict(zip(self.names, arrays, strict=True)))
        return logits


def _export(network: RewardNetwork, path: Path) -> None:
    inputs: Mapping[str, Tensor] = as_tensors(random_batch(network.config, (3, 5, 6)), network.config)
    axes = {name: {0: "photos", 1: "items" if name.startswith("item") else "candidates"} for name in inputs}
    axes["relation"][2] = "items"
    torch.onnx.export(
        _Graph(network, list(inputs)).eval(),  # else the exporter leaves the network in training mode
        tuple(inputs.values()),
        str(path),
        input_names=list(inputs),
        output_names=["logits"],
        dynamic_axes=axes | {"logits": {0: "photos", 1: "candidates"}},
        opset_version=OPSET,
        dynamo=False,
    )
