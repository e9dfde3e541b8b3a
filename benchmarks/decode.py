"""What does decoding with the transformer cost, against a loop without a cache, and against the machine?

Stages `encode`, `greedy`, `sample` and `beam` on random weights (or those of --weights) and random evidence
with every neighbor and vector present; `encode` is not part of the others. Backends: `naive` (naive.py),
`torch`, `onnx`. Beside each figure stands its roofline: the sum over steps of the larger of FLOPs at the rate
of a plain matrix product and bytes (weights of the layers, keys and values of the evidence) at the rate of a
memory copy, both rates measured in this run. Needs [dev].

    python benchmarks/decode.py --config paper --batch 8 --samples 30 --beam 5 --json
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import provenance, write_json
from geotoken.decoding import DecodingOptions, decode
from geotoken.evidence import Evidence
from geotoken.model import ModelConfig, OnnxModel
from geotoken.model.network import GeoTokenModel, TorchModel, export_onnx, load_network
from geotoken.protocol import TokenModel
from naive import NaiveDecoder

SEED = 0
CONFIGS = {"paper": ModelConfig.paper, "compact": ModelConfig.compact}
STAGES = ("encode", "greedy", "sample", "beam")


class Counted:
    """A model that notes how many hypotheses each step scored: the distinct prefixes."""

    def __init__(self, model: TokenModel) -> None:
        self.model, self.scheme, self.rows = model, model.scheme, []

    def encode(self, evidence: list[Evidence]) -> Any:
        """As the model does."""
        return self.model.encode(evidence)

    def step(self, tokens: Any, memory: Any, cache: Any) -> np.ndarray:
        """As the model does."""
        self.rows.append(cache.num_rows)
        return self.model.step(tokens, memory, cache)


def main() -> None:
    """Measure and print."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    network = load_network(args.weights) if args.weights else GeoTokenModel(CONFIGS[args.config]()).eval()
    evidence = make_evidence(network.config, args.batch, args.neighbors)
    options = {
        "greedy": DecodingOptions(decoder="greedy"),
        "sample": DecodingOptions(
            decoder="sample", num_samples=args.samples, temperature=args.temperature, seed=SEED
        ),
        "beam": DecodingOptions(decoder="beam", beam_width=args.beam),
    }
    about = {
        "config": args.weights.name if args.weights else args.config,
        "batch": args.batch,
        "samples": args.samples,
        "beam": args.beam,
        "temperature": args.temperature,
        "neighbors": len(evidence[0].neighbor_lat),
        "threads": args.threads,
        "torch": torch.__version__,
        "seed": SEED,
    } | provenance()
    rows = []
    for backend, dtype, stage, run, repeats in measurements(network, evidence, options, args):
        if backend == "naive":  # no warm-up: its loops are long; its work is that of unshared hypotheses
            scored = unshared_rows(stage, args, network.config)
            repeats = 1 if stage in ("sample", "beam") else min(repeats, 3)
        else:
            scored = run()
        cost = work(network.config, stage, evidence, scored, 2 if dtype == "bfloat16" else 4)
        wall, cpu = [], []
        for _ in range(repeats):
            start = time.perf_counter(), time.process_time()
            run()
            wall.append(time.perf_counter() - start[0])
            cpu.append(time.process_time() - start[1])
        row = {"stage": stage, "backend": backend, "dtype": dtype, "seconds": statistics.median(wall)}
        row |= {"cpu_seconds": statistics.median(cpu), "repeats": repeats}
        rows.append(row | {"load": round(os.getloadavg()[0], 1)} | cost)
        print(f"{stage} {backend} {dtype}: {row['seconds']:.2f} s", file=sys.stderr)
    rates = {dtype: machine_rates(dtype) for dtype in {row["dtype"] for row in rows}}
    slow = {row["stage"]: row["seconds"] for row in rows if row["backend"] == "naive"}
    for row in rows:
        flops_per_s, bytes_per_s = rates[row["dtype"]]
        floor = sum(max(f / flops_per_s, b / bytes_per_s) for f, b in row.pop("steps"))
        row |= {"roofline_seconds": floor, "times_roofline": row["seconds"] / floor}
        row |= {"flops_per_s": flops_per_s, "bytes_per_s": bytes_per_s}
        if row["stage"] in slow and row["backend"] != "naive":
            row["times_faster_than_naive"] = slow[row["stage"]] / row["seconds"]
    text = write_json([row | about for row in rows], args.out)
    if args.json:
        print(text, end="")
        return
    for row in rows:
        faster = row.get("times_faster_than_naive")
        print(
            f"{row['stage']:<7}{row['backend']:<6}{row['dtype']:<9}{1e3 * row['seconds']:>9.0f} ms"
            f"{row['times_roofline']:>7.1f}x roofline" + (f"{faster:>8.1f}x naive" if faster else "")
        )


def measurements(
    network: GeoTokenModel,
    evidence: list[Evidence],
    options: dict[str, DecodingOptions],
    args: argparse.Namespace,
) -> Iterator[tuple[str, str, str, Callable[[], Any], int]]:
    """Every backend, precision and stage, with what is to be timed and how often."""
    if "naive" in args.backends:
        slow = NaiveDecoder(network, evidence)
        stages: dict[str, Callable[[], Any]] = {
            "encode": lambda: NaiveDecoder(network, evidence),
            "greedy": slow.greedy,
            "sample": lambda: slow.sample(args.samples),
            "beam": lambda: slow.beam(args.beam),
        }
        for stage in args.stages:
            yield "naive", "float32", stage, stages[stage], args.repeats
    models: list[tuple[str, str, Callable[[], TokenModel]]] = []
    if "torch" in args.backends:
        models += [("torch", dtype, lambda d=dtype: TorchModel(network, dtype=d)) for dtype in args.dtypes]
    if "onnx" in args.backends:
        models += [("onnx", "float32", lambda: exported(network, args.threads))]
    for backend, dtype, make in models:
        model = make()
        memory = model.encode(evidence)
        for stage in args.stages:
            if stage == "encode":
                yield backend, dtype, stage, lambda m=model: m.encode(evidence), args.repeats
            else:
                yield backend, dtype, stage, _decoding(model, memory, options[stage]), args.repeats


def _decoding(model: TokenModel, memory: Any, options: DecodingOptions) -> Callable[[], list[int]]:
    """Decode, and tell how many hypotheses each step scored."""

    def run() -> list[int]:
        counted = Counted(model)
        decode(counted, memory, options)
        return counted.rows

    return run


def exported(network: GeoTokenModel, num_threads: int) -> OnnxModel:
    """The network in ONNX Runtime."""
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(network, Path(folder))
        return OnnxModel.load(Path(folder), num_threads)


def work(
    config: ModelConfig, stage: str, evidence: list[Evidence], scored: list[int], size: int
) -> dict[str, Any]:
    """FLOPs and bytes of each step of a stage that scores some hypotheses a step, with numbers of some bytes.

    This is the work of a decoder with a cache, also for the naive loop, which does much more.
    """
    width, hidden = config.width, config.feed_forward
    num_photos, num_neighbors = len(evidence), len(evidence[0].neighbor_lat)
    positions = config.num_positions(num_neighbors)
    if stage == "encode":
        weights = config.num_encoder_layers * (4 * width**2 + 2 * width * hidden)
        weights += config.num_decoder_layers * 2 * width**2
        attention = config.num_encoder_layers * 4 * positions * width
        flops = num_photos * positions * (2 * weights + attention)
        return {"steps": [(flops, size * weights)], "rows_per_step": None, "flops": flops}
    weights = config.num_decoder_layers * (6 * width**2 + 2 * width * hidden)
    shared = num_photos * positions * config.num_decoder_layers * 2 * width
    steps = []
    for position, num_rows in enumerate(scored):
        attention = config.num_decoder_layers * 4 * width * (positions + position + 1)
        steps.append((num_rows * (2 * weights + attention), size * (weights + shared)))
    return {"steps": steps, "rows_per_step": scored, "flops": sum(flops for flops, _ in steps)}


def unshared_rows(stage: str, args: argparse.Namespace, config: ModelConfig) -> list[int]:
    """Hypotheses of each step if none were shared."""
    many = {"encode": 0, "greedy": 1, "sample": args.samples, "beam": args.beam}[stage]
    return [args.batch, *[args.batch * many] * (config.scheme.length - 1)]


def machine_rates(dtype: str) -> tuple[float, float]:
    """FLOPs a second of a matrix product, bytes a second (read, written) of a copy: best of several."""
    kind = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    a, b = (torch.randn(1024, 1024, dtype=kind) for _ in range(2))
    source, target = torch.ones(2, 64 << 20, dtype=torch.uint8)
    product, copy = [], []
    for _ in range(20):
        start = time.perf_counter()
        a @ b
        product.append(time.perf_counter() - start)
    for _ in range(10):
        start = time.perf_counter()
        target.copy_(source)
        copy.append(time.perf_counter() - start)
    return 2 * 1024**3 / min(product), 2 * len(source) / min(copy)


def make_evidence(config: ModelConfig, num_photos: int, num_neighbors: int | None) -> list[Evidence]:
    """Random evidence with every neighbor and vector, the same for every backend."""
    random = np.random.default_rng(SEED)
    count = num_neighbors or config.num_neighbors
    photos = []
    for _ in range(num_photos):
        lat, lng = random.uniform(-60, 70), random.uniform(-180, 170)
        photos.append(
            Evidence(
                neighbor_lat=lat + random.normal(0, 3, count),
                neighbor_lng=lng + random.normal(0, 3, count),
                neighbor_rank=np.minimum(np.arange(1.0, count + 1), config.num_neighbors),
                neighbor_similarity=np.sort(random.uniform(0.4, 0.9, count))[::-1],
                query_vectors={n: random.normal(size=d) / d**0.5 for n, d in config.modalities},
                neighbor_vectors={n: random.normal(size=(count, d)) / d**0.5 for n, d in config.modalities},
            )
        )
    return photos


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", choices=sorted(CONFIGS), default="paper")
    parser.add_argument("--weights", type=Path, help="folder of a trained network instead of random weights")
    parser.add_argument("--batch", type=int, default=8, help="photos")
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--neighbors", type=int, help="neighbors of each photo; the model's number if absent")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--backends", nargs="+", choices=("naive", "torch", "onnx"))
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "bfloat16"), help="of torch")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    args.backends = args.backends or ["naive", "torch", "onnx"]
    args.dtypes = args.dtypes or ["float32", "bfloat16"]
    return args


if __name__ == "__main__":
    main()
