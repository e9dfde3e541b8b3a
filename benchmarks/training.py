"""What does a training step of the decoder cost, and what would a GPU make of it?

Stages of a step through the real loop (`geotoken.train`), on random weights and random evidence with every
neighbor and vector present: `rows` (loss and gradients of one micro-batch) and `optimizer` (clipping and
AdamW, once a step). A step of the recipe's batch is as many micro-batches as it takes, and one `optimizer`.
Beside it stand the rate of a plain matrix product, measured before and after in the same precision, and the
hours of the recipe on this machine and on one H100. On a busy machine, `--clock cpu --threads 1` counts the
time that the process computed, of steps and matrix products alike. Needs [dev].

    python benchmarks/training.py --config configs/paper.toml --micro-batch 8
"""

import argparse
import dataclasses
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import provenance, write_json
from geotoken.model import EvidenceBatch, Items, ModelConfig, make_batch
from geotoken.model.network import GeoTokenModel
from geotoken.train.decoder import DecoderStage
from geotoken.train.draws import Draws
from geotoken.train.plan import H100_GB, H100_TFLOPS, make_plan
from geotoken.train.run import Run
from geotoken.train.settings import DecoderSettings

SEED = 0
NUM_ROWS = 4_100_000
"""Photos of MP-16, for the hours of a whole training."""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
DTYPES = {"float32": "32-true", "bfloat16": "bf16-mixed"}


class RandomCases:
    """Evidence of random numbers; the same for every row, for only its shape matters here."""

    def __init__(self, config: ModelConfig, num_cases: int) -> None:
        random = np.random.default_rng(SEED)
        self.config = config
        self.lat, self.lng = random.uniform(-60, 60, num_cases), random.uniform(-180, 180, num_cases)
        self.owner = np.arange(num_cases)
        shape = (num_cases, config.num_neighbors)
        self.items = Items(
            lat=random.uniform(-60, 60, shape),
            lng=random.uniform(-180, 180, shape),
            similarity=random.uniform(0, 1, shape),
            vectors={name: random.normal(size=(*shape, dim)) for name, dim in config.modalities},
        )
        self.query = {name: random.normal(size=(num_cases, dim)) for name, dim in config.modalities}
        self.batch = make_batch(self.items, self.query, config)

    def evidence(self, rows: Any, rng: Any) -> EvidenceBatch:
        """The evidence of as many rows; rows beyond those made are not asked for."""
        return self.batch


def main() -> None:
    """Measure and print."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    results = [measure(args, dtype) for dtype in args.dtypes]
    print(write_json(results, args.out), end="")


def measure(args: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """One precision."""
    clock = CLOCKS[args.clock]
    flags = {"loop": {"precision": DTYPES[dtype], "accelerator": "cpu", "micro_batch": args.micro_batch}}
    settings = DecoderSettings.resolve(args.config, flags)
    torch.manual_seed(SEED)
    network = GeoTokenModel(settings.model)
    cases = RandomCases(settings.model, args.micro_batch)
    held_out = np.zeros(args.micro_batch, dtype=bool)
    held_out[-1] = True
    stage = DecoderStage(network, cases, settings.decoder, settings.dropout, held_out=held_out)
    stage.train_rows = np.arange(args.micro_batch)
    kind = torch.float32 if dtype == "float32" else torch.bfloat16
    peaks = [matmul_tflops(kind, clock)]
    with tempfile.TemporaryDirectory() as folder:
        run = Run("decoder", network, NUM_ROWS, settings.loop, Path(folder), {})
        rows_s, optimizer_s = [], []
        for step in range(args.repeats + 1):
            began = clock()
            run.begin_step()
            draws = Draws(SEED, step, 0, args.micro_batch)
            loss, _ = stage.loss(run.wrapped, np.arange(args.micro_batch), draws)
            run.backward(loss)
            computed = clock()
            run.end_step()
            rows_s.append(computed - began)
            optimizer_s.append(clock() - computed)
    peaks.append(matmul_tflops(kind, clock))
    seconds, optimizer = statistics.median(rows_s[1:]), statistics.median(optimizer_s[1:])
    peak = statistics.mean(peaks)
    plan = make_plan(settings.model, settings.loop, NUM_ROWS, machine_tflops=peak)
    whole_batch = dataclasses.replace(settings.loop, micro_batch=0, precision="bf16-mixed")
    whole = make_plan(settings.model, whole_batch, NUM_ROWS, machine_tflops=peak)
    num_parts = settings.loop.batch_size / args.micro_batch
    step_s = seconds * num_parts + optimizer
    tflops = plan.flops_step / step_s / 1e12
    return {
        "config": args.config.stem,
        "dtype": dtype,
        "micro_batch": args.micro_batch,
        "batch": settings.loop.batch_size,
        "parameters": plan.num_parameters,
        "positions_row": plan.tokens_row,
        "gflop_row": round(plan.flops_row / 1e9, 3),
        "seconds": {"rows": round(seconds, 4), "optimizer": round(optimizer, 4), "step": round(step_s, 1)},
        "rows_per_s": round(settings.loop.batch_size / step_s, 2),
        "tokens_per_s": round(plan.tokens_row * settings.loop.batch_size / step_s, 1),
        "tflops": round(tflops, 4),
        "matmul_tflops": round(peak, 4),
        "share_of_matmul": round(tflops / peak, 3),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "recipe": {
            "rows": NUM_ROWS,
            "steps": plan.num_steps,
            "hours_here": round(plan.num_steps * step_s / 3600),
            "h100": {
                "assumed_tflops": H100_TFLOPS,
                "assumed_share": plan.utilization,
                "hours": round(plan.h100_hours, 1),
                "assumed_memory_gb": H100_GB,
                "memory_gb": round(whole.bytes_total / 1e9, 1),
            },
        },
        "torch": torch.__version__,
        "threads": args.threads,
        "clock": args.clock,
        "load_average": round(os.getloadavg()[0], 2),
        "seed": SEED,
    } | provenance()


def matmul_tflops(dtype: torch.dtype, clock: Callable[[], float], size: int = 2048) -> float:
    """The best of three products of large square matrices, 10**12 operations a second."""
    a = torch.randn(size, size, dtype=dtype)
    seconds = []
    for _ in range(4):
        began = clock()
        a @ a
        seconds.append(clock() - began)
    return 2 * size**3 / min(seconds[1:]) / 1e12


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("configs/paper.toml"))
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
