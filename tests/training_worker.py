"""A process that trains the tiny decoder; run by tests, alone or by torchrun.

python training_worker.py FOLDER N [--resume]: the process kills itself when it computes the N-th loss; with 0
it lives.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from geotoken.model.network import GeoTokenModel
from geotoken.train.config import LoopConfig
from geotoken.train.decoder import DecoderConfig, DecoderStage
from geotoken.train.dropout import DropoutConfig
from geotoken.train.loop import fit
from training_cases import NearCases, tiny_config


def train(folder, last_loss=0, *, resume=False, epochs=3):
    torch.manual_seed(int(os.environ.get("RANK", "0")) + 1000 * resume)  # only checkpoints and DDP can agree
    config = tiny_config()
    cases = NearCases(config)
    dropout = DropoutConfig(neighbor=0.2, modality=0.2, query=0.2, similarity=0.2)
    settings = DecoderConfig(validation_share=0.2, smoothing=0.1)
    stage = DecoderStage(GeoTokenModel(config), cases, settings, dropout)
    loss, calls = stage.loss, []

    def count(*given):
        calls.append(None)
        if len(calls) == last_loss:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(*given)

    stage.loss = count
    loop = LoopConfig(
        epochs=epochs,
        batch_size=24,
        micro_batch=5,
        learning_rate=0.005,
        warmup_steps=2,
        ema_decay=0.9,
        log_every=1,
        save_every=2,
        accelerator="cpu",
        seed=3,
    )
    return fit(stage, loop, folder, resume=resume)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), int(sys.argv[2]), resume="--resume" in sys.argv)
