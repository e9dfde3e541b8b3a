"""How much memory does sampling with the transformer take over its weights? Linux only.

Resident memory at its highest while evidence is encoded and decoded, less what the process held with the
model loaded. Random weights and evidence as in decode.py. Needs [dev].

    python benchmarks/decode_memory.py --config paper --batch 64 --samples 30 --backend onnx
"""

import argparse
import ctypes
import os
import tempfile
from pathlib import Path

import torch

from common import provenance, write_json
from decode import CONFIGS, SEED, make_evidence
from geotoken.decoding import DecodingOptions, decode
from geotoken.model import OnnxModel
from geotoken.model.network import GeoTokenModel, TorchModel, export_onnx


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
    if args.backend == "torch":
        model: TorchModel | OnnxModel = TorchModel(network)
    else:
        with tempfile.TemporaryDirectory() as folder:
            export_onnx(network, Path(folder))
            model = OnnxModel.load(Path(folder), args.threads)
    num_weights = sum(parameter.numel() for parameter in network.parameters())
    if args.backend == "onnx":
        del network
    ctypes.CDLL(None).malloc_trim(0)  # give back what the export freed, so that the run cannot hide in it
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
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
        "peak_bytes_over_model": _status("VmHWM") - before,
    }
    print(write_json([row | provenance()], args.out), end="")


def _status(name: str) -> int:
    """A line of the process's status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
