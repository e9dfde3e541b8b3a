"""How does the cost of decoding grow with photos, samples, beam width, neighbors and width?

ONNX Runtime on one thread, processor seconds of one run each after a warm-up, random weights and evidence as
in decode.py. One thing varies at a time; the rest is as in `BASE`. Needs [dev].

    python benchmarks/decode_growth.py --out benchmarks/results/decode_growth.json
"""

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import torch

from common import provenance, write_json
from decode import SEED, Counted, exported, make_evidence
from geotoken.decoding import DecodingOptions, decode
from geotoken.model import ModelConfig, OnnxModel
from geotoken.model.network import GeoTokenModel

BASE = {"photos": 8, "samples": 30, "beam_width": 5, "neighbors": 15, "width": 512}
VARIED = {
    "photos": (1, 8, 32),
    "samples": (5, 30, 100),
    "beam_width": (1, 5, 20),
    "neighbors": (5, 15, 45),
    "width": (256, 512),
}


def main() -> None:
    """Measure and write the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    models = {width: make_model(width) for width in VARIED["width"]}
    rows = [
        {"varies": name, "value": value} | measure(models, BASE | {name: value}, name)
        for name, values in VARIED.items()
        for value in values
    ]
    print(write_json([row | provenance() for row in rows], args.out), end="")


def make_model(width: int) -> OnnxModel:
    """The paper's model of another width, with heads and feed-forward in proportion."""
    torch.manual_seed(SEED)
    paper = ModelConfig.paper()
    config = dataclasses.replace(paper, width=width, num_heads=width // 64, feed_forward=2 * width)
    return exported(GeoTokenModel(config), num_threads=1)


def measure(models: dict[int, OnnxModel], given: dict[str, int], varies: str) -> dict[str, Any]:
    """Processor seconds of encoding and of one decoder: beam where its width varies, else samples."""
    model = models[given["width"]]
    evidence = make_evidence(model.config, given["photos"], given["neighbors"])
    if varies == "beam_width":
        options = DecodingOptions(decoder="beam", beam_width=given["beam_width"])
    else:
        options = DecodingOptions(decoder="sample", num_samples=given["samples"], seed=SEED)
    memory = model.encode(evidence[:1])
    decode(model, memory, DecodingOptions(decoder="greedy"))
    start = time.process_time()
    memory = model.encode(evidence)
    encoded = time.process_time()
    counted = Counted(model)
    decode(counted, memory, options)
    decoded = time.process_time()
    return {
        "decoder": options.decoder,
        "encode_cpu_seconds": encoded - start,
        "decode_cpu_seconds": decoded - encoded,
        "prefixes": sum(counted.rows),
    }


if __name__ == "__main__":
    main()
