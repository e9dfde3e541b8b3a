"""Training of geotoken on a world, within a budget of minutes, to be resumed later.

Owns the clock; must not know the worlds.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from geotoken.model import ModelConfig, OnnxModel
from geotoken.model.network import GeoTokenModel, export_onnx
from geotoken.train.cases import Cases
from geotoken.train.config import LoopConfig
from geotoken.train.decoder import DecoderConfig, DecoderStage
from geotoken.train.dropout import DropoutConfig
from geotoken.train.loop import StepReport, fit

EVEN = DecoderConfig(
    first_weight=1.0, last_weight=1.0, validation_share=0.04, validation_rows=512, greedy_rows=0
)
"""All tokens count alike, so that the loss is the likelihood."""


def train(
    cases: Cases, model: ModelConfig, loop: LoopConfig, folder: Path, minutes: float
) -> tuple[OnnxModel, dict[str, Any]] | None:
    """Train stage 3, or go on with it, and export the result.

    Args:
        cases: What to train on.
        model: The network.
        loop: How to train; its seed also gives the first weights.
        folder: Where checkpoints are kept.
        minutes: Wall time after which training stops, to be resumed by the same call.

    Returns:
        The model of the best validation on ONNX Runtime, and how training went; None if time was up before
        the last step.
    """
    torch.manual_seed(loop.seed)
    stage = DecoderStage(GeoTokenModel(model), cases, EVEN, DropoutConfig())
    began, clock = time.time(), folder / "seconds.txt"
    with _alarm(60 * minutes):
        outcome = fit(stage, loop, folder, resume=(folder / "last.ckpt").exists(), on_step=_say)
    seconds = time.time() - began + (float(clock.read_text()) if clock.exists() else 0.0)
    clock.write_text(f"{seconds}\n")
    if outcome.interrupted:
        print(f"step {outcome.step} of {outcome.num_steps}: run again to go on", file=sys.stderr)
        return None
    network = stage.module
    assert isinstance(network, GeoTokenModel)
    export_onnx(network, folder)
    how = {
        "steps": outcome.num_steps,
        "best_step": outcome.best_step,
        "validation_nll": outcome.best["nll_km2"],
        "parameters": sum(p.numel() for p in network.parameters()),
        "rows": stage.num_rows,
        "seconds": seconds,
        "threads": torch.get_num_threads(),
    }
    return OnnxModel.load(folder, num_threads=torch.get_num_threads()), how


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Ask this process to end its training after some time."""
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _say(report: StepReport) -> None:
    if report.step % 100 == 0 or report.step == report.num_steps:
        print(
            f"step {report.step} of {report.num_steps}  loss {report.loss:.4f}  "
            f"validation {report.validation:.4f}  {report.rows_per_s:.0f} rows/s",
            file=sys.stderr,
            flush=True,
        )
