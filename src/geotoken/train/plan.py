"""What a training takes before it is begun: shapes, memory, operations, hours.

Owns counting them on a network without memory; must not know stores. Letters: P positions, T tokens.
"""

import dataclasses
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from geotoken.model import Items, ModelConfig, make_batch
from geotoken.model.network import GeoTokenModel
from geotoken.train.config import LoopConfig

UTILIZATION: Final = 0.4
"""Share of the speed of large matrix products that training is assumed to reach."""
H100_TFLOPS: Final = 989.0
"""Dense bfloat16 operations of one NVIDIA H100 SXM, 10**12 a second.

References:
    NVIDIA H100 Tensor Core GPU data sheet: 1,979 with sparsity, half without.
"""
H100_GB: Final = 80
"""Memory of one H100."""

_COUNTED = 2  # rows that are counted; all counts grow with their number


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a training takes; the hours are estimates."""

    shapes: dict[str, tuple[int, ...]]
    """Shape of each large array of a micro-batch, by name."""
    num_rows: int
    """Training rows."""
    num_steps: int
    """Steps of the optimizer, unless it stops early."""
    num_parameters: int
    """Parameters of the network."""
    bytes_weights: int
    """Weights and their running mean."""
    bytes_gradients: int
    """Gradients."""
    bytes_optimizer: int
    """The two moments of AdamW."""
    bytes_activations: int
    """What the backward pass of one micro-batch keeps, estimated from float32; half with bf16-mixed."""
    flops_row: float
    """Operations of one row, forward and backward; a multiplication and an addition are two."""
    flops_step: float
    """Operations of one step of all processes together."""
    tokens_row: int
    """Positions that the network computes for one row: P of the evidence and T of the answer."""
    machine_tflops: float
    """Matrix products of this machine, 10**12 operations a second."""
    machine_measured: bool
    """Whether that was measured here, else it was given."""
    utilization: float
    """Share of it that is assumed."""
    machine_hours: float
    """Hours of the whole training on this machine, with one process."""
    h100_hours: float
    """Hours on one H100, if it reaches the same share of its peak in bfloat16 and data arrive in time."""

    @property
    def bytes_total(self) -> int:
        """Memory of one process, without the vectors of photos and what PyTorch itself takes."""
        return self.bytes_weights + self.bytes_gradients + self.bytes_optimizer + self.bytes_activations

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON-ready values."""
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        return {**dataclasses.asdict(self), "shapes": shapes, "bytes_total": self.bytes_total}


def make_plan(
    config: ModelConfig,
    loop: LoopConfig,
    num_rows: int,
    *,
    machine_tflops: float | None = None,
    num_processes: int = 1,
) -> Plan:
    """Count what a training takes.

    Args:
        config: The network.
        loop: The loop.
        num_rows: Training rows.
        machine_tflops: Matrix products of this machine, 10**12 operations a second; measured when None.
        num_processes: Processes that share a batch.

    Returns:
        The plan.
    """
    config = dataclasses.replace(config, world_prior=False)  # which is looked up, not computed
    flops_row, bytes_row = count_row(config)
    with torch.device("meta"):
        num_parameters = sum(one.numel() for one in GeoTokenModel(config).parameters())
    num_steps = loop.num_steps(num_rows)
    share = loop.batch_size // num_processes
    micro = min(loop.micro_batch or share, share)
    mixed = loop.precision != "32-true"
    measured = machine_tflops is None
    tflops = (
        matmul_tflops(torch.bfloat16 if mixed else torch.float32)
        if machine_tflops is None
        else machine_tflops
    )
    flops = flops_row * loop.batch_size * num_steps
    weights = 4 * num_parameters
    return Plan(
        shapes=_shapes(config, micro),
        num_rows=num_rows,
        num_steps=num_steps,
        num_parameters=num_parameters,
        bytes_weights=weights * (2 if loop.ema_decay else 1),
        bytes_gradients=weights,
        bytes_optimizer=2 * weights,
        bytes_activations=bytes_row * micro // (2 if mixed else 1),
        flops_row=flops_row,
        flops_step=flops_row * loop.batch_size,
        tokens_row=config.num_positions(config.num_neighbors + config.num_guesses) + config.scheme.length,
        machine_tflops=tflops,
        machine_measured=measured,
        utilization=UTILIZATION,
        machine_hours=flops / (tflops * 1e12 * UTILIZATION) / 3600,
        h100_hours=flops / (H100_TFLOPS * 1e12 * UTILIZATION) / 3600,
    )


@lru_cache(maxsize=8)
def count_row(config: ModelConfig) -> tuple[float, int]:
    """Count one training row.

    Args:
        config: The network.

    Returns:
        Operations forward and backward, counted on a network that has shapes but no numbers; and bytes that
        the backward pass keeps of the forward pass in float32, of a network without dropout.
    """
    arrays, tokens = _example(config)
    network = GeoTokenModel(config).eval()
    kept: dict[int, Tensor] = {}
    parameters = {one.untyped_storage().data_ptr() for one in network.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in parameters:
            kept[address] = tensor  # held, so that no other gets the same address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(arrays, tokens, complete=True)
    num_bytes = sum(one.untyped_storage().nbytes() for one in kept.values())
    network.to("meta")
    counter = FlopCounterMode(display=False)
    with counter:
        log_probs = network({n: a.to("meta") for n, a in arrays.items()}, tokens.to("meta"), complete=True)
        log_probs.clamp_min(-1e9).mean().backward()
    return counter.get_total_flops() / _COUNTED, num_bytes // _COUNTED


def matmul_tflops(dtype: torch.dtype, size: int = 2048, repeats: int = 3) -> float:
    """Measure large matrix products where training would run.

    Args:
        dtype: What they are computed in.
        size: Rows and columns of the square matrices.
        repeats: Products of which the quickest counts.

    Returns:
        10**12 operations a second.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    a = torch.randn(size, size, dtype=dtype, device=device)
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds[1:]) / 1e12


def _example(config: ModelConfig) -> tuple[dict[str, Tensor], Tensor]:
    """A batch in which nothing is absent."""
    places = np.zeros((_COUNTED, config.num_neighbors + config.num_guesses))
    items = Items(
        lat=places,
        lng=places,
        rank=np.ones(places.shape, dtype=np.int64),
        similarity=places,
        vectors={name: np.zeros((*places.shape, dim)) for name, dim in config.modalities},
    )
    query = {name: np.zeros((_COUNTED, dim)) for name, dim in config.modalities}
    batch = make_batch(items, query, config)
    arrays = {name: torch.from_numpy(array) for name, array in batch.arrays().items()}
    return arrays, torch.zeros((_COUNTED, config.scheme.length), dtype=torch.int64)


def _shapes(config: ModelConfig, micro: int) -> dict[str, tuple[int, ...]]:
    items = config.num_neighbors + config.num_guesses
    vectors: dict[str, tuple[int, ...]] = {f"query_{n}": (micro, dim) for n, dim in config.modalities}
    vectors |= {f"item_{name}": (micro, items, dim) for name, dim in config.modalities}
    length = config.scheme.length
    return {
        **vectors,
        "evidence": (micro, config.num_positions(items), config.width),
        "tokens": (micro, length),
        "log_probs": (micro, length, config.vocabulary_size),
    }
