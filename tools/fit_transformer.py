"""Train the transformer that knows neighbors and guesses by their coordinates alone, on an evidence table.

Owns the recipe: real cases, simulated ones (simulate_evidence.py), what is dropped, and the network's shape.
Needs PyTorch ([dev]). Dimension letters: B rows, E items, T tokens.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geotoken.geo import from_xyz
from geotoken.model import ModelConfig
from geotoken.model.batch import EvidenceBatch, Items, make_batch
from geotoken.model.network import GeoTokenModel
from geotoken.prior import WorldPrior
from geotoken.train.config import LoopConfig
from geotoken.train.decoder import DecoderConfig, DecoderStage
from geotoken.train.draws import Draws
from geotoken.train.dropout import DropoutConfig
from geotoken.train.loop import StepReport, fit
from simulate_evidence import Cases, scatter, simulate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MODEL = ModelConfig(
    width=64,
    num_encoder_layers=2,
    num_decoder_layers=2,
    num_heads=4,
    feed_forward=128,
    dropout=0.1,
    similarity_embedding=False,
    num_guesses=4,
    head="kernel",
    world_prior=True,
)
LOOP = LoopConfig(
    steps=700,
    batch_size=256,
    learning_rate=2e-3,
    warmup_steps=100,
    clip_norm=1.0,
    ema_decay=0.99,
    weight_decay=0.05,
    validate_every=700,
    accelerator="cpu",
)
KERNEL_SHARES = {0.15: 0.25, 0.5: 0.2, 1.5: 0.16, 5.0: 0.15, 15.0: 0.09, 50.0: 0.06, 150.0: 0.07, 500.0: 0.02}
NUM_SIMULATED = 100_000
REAL_SHARE = 0.25
"""Share of training rows that are real cases as they are."""
WITH_GUESS, WITH_ALL_NEIGHBORS, ONLY_FIRST, NO_NEIGHBORS, DROPPED = 0.6, 0.4, 0.1, 0.03, 0.15


class CaseRows:
    """Cases as `geotoken.train.cases.Cases` asks, with evidence dropped by chance in training."""

    def __init__(self, cases: Cases, config: ModelConfig) -> None:
        self.config = config
        self.lat, self.lng = from_xyz(cases.truth)
        self.owner = np.arange(len(self.lat))
        lat, lng = from_xyz(cases.xyz)
        self._lat, self._lng = np.where(cases.present, lat, np.nan), np.where(cases.present, lng, np.nan)

    def evidence(self, rows: Ints, rng: Draws | None) -> EvidenceBatch:
        """The evidence of B cases; all of it if there is no randomness."""
        lat, lng = self._lat[rows], self._lng[rows]
        if rng is not None:
            lat = np.where(_kept(rng, lat.shape[1]), lat, np.nan)
        guess = np.full(lat.shape, np.nan)
        guess[:, -1] = np.where(np.isnan(lat[:, -1]), np.nan, 1.0)
        return make_batch(Items(lat=lat, lng=lng, guess_weight=guess), {}, self.config)


def _kept(rng: Draws, num_items: int) -> NDArray[np.bool_]:
    """Which items stay, shape (B, E): as in fit_network.py."""
    draws = rng.by_row(num_items + 4)
    last = num_items - 1
    each, chance = draws[:, :last], draws[:, num_items:]
    kept = (each > DROPPED) | (chance[:, :1] < WITH_ALL_NEIGHBORS)
    first = np.where(chance[:, 1:2] < ONLY_FIRST, draws[:, last : last + 1] * last + 1, np.inf)
    kept &= np.arange(last) < first
    kept &= chance[:, 2:3] > NO_NEIGHBORS
    return np.concatenate([kept, chance[:, 3:4] < WITH_GUESS], axis=1)


def train(
    cases: Cases,
    points: Floats,
    prior: WorldPrior,
    seed: int = 0,
    *,
    model: ModelConfig = MODEL,
    loop: LoopConfig = LOOP,
    num_simulated: int = NUM_SIMULATED,
    judged: Cases | None = None,
    say: Callable[[StepReport], None] | None = None,
) -> GeoTokenModel:
    """Fit a network."""
    rng = np.random.default_rng(seed)
    drawn = simulate(cases, scatter(points, KERNEL_SHARES, rng), num_simulated, rng)
    real = rng.integers(len(cases.truth), size=int(num_simulated * REAL_SHARE / (1 - REAL_SHARE)))
    judged = cases.rows(np.arange(1)) if judged is None else judged
    parts = [drawn, cases.rows(real), judged]
    together = Cases(*(np.concatenate([getattr(p, n) for p in parts]) for n in Cases.__slots__))
    held_out = np.arange(len(together.truth)) >= len(together.truth) - len(judged.truth)
    torch.manual_seed(seed)
    network = GeoTokenModel(model, prior if model.world_prior else None)
    config = DecoderConfig(first_weight=1.0, last_weight=1.0, greedy_rows=0)
    stage = DecoderStage(network, CaseRows(together, model), config, DropoutConfig(), held_out=held_out)
    with tempfile.TemporaryDirectory() as folder:
        fit(stage, replace(loop, seed=seed), Path(folder), on_step=say)
    return network.eval()
