"""How much memory does sampling with the transformer take over its weights? Linux only.

Resident memory at its highest while evidence is encoded and decoded, less what the process held with the
model loaded. Random weights and evidence as in decode.py. Needs [dev].

    python benchmarks/decode_memory.py --config paper --batch 64 --samples 30 --backend onnx
"""

import argparse
import ctypes
import os
from pathlib import Path

import torch

from common import memory_bytes, provenance, write_json
from decode import CONFIGS, SEED, exported, make_evidence
from geotoken.decoding import DecodingOptions, decode
from geotoken.model.network import GeoTokenModel, TorchModel


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", choices=sorted(CONFIGS), default="paper")
    parser.add_argument("--batch", type=int, default=64, help="photos")
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--backend", choices=("torch", "onnx"), default="onnx")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    network = GeoTokenModel(CONFIGS[args.config]()).eval()
    evidence = make_evidence(network.config, args.batch, None)
    model = TorchModel(network) if args.backend == "torch" else exported(network, args.threads)
    num_weights = sum(parameter.numel() for parameter in network.parameters())
    if args.backend == "onnx":
        del network
    ctypes.CDLL(None).malloc_trim(0)  # give back what the export freed, so that the run cannot hide in it
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = memory_bytes("VmRSS")
    decode(model, evidence, DecodingOptions(decoder="sample", num_samples=args.samples, seed=SEED))
    row = {
        "stage": "sample",
        "backend": args.backend,
        "dtype": "float32",
        "config": args.config,
        "batch": args.batch,
        "samples": args.samples,
        "weight_bytes": 4 * num_weights,
        "bytes_with_model": before,
        "peak_bytes_over_model": memory_bytes("VmHWM") - before,
    }
    print(write_json([row | provenance()], args.out), end="")


if __name__ == "__main__":
    main()
