"""How many distinct prefixes do samples of a trained transformer have?

Trains a compact transformer for a few minutes on an evidence table (neighbors by their coordinates alone),
then draws samples for photos of owners it was not trained on, and notes how many hypotheses each step scored.
The training is only long enough for the model to know what follows what. Needs [dev].
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from common import provenance, write_json
from decode import Counted
from fit_mixture import owner_folds
from geotoken.decoding import DecodingOptions, decode
from geotoken.evaluate.evidence_table import EvidenceTable, load_evidence_table
from geotoken.model import ModelConfig
from geotoken.model.batch import collate
from geotoken.model.network import GeoTokenModel, TorchModel

SEED = 0
BATCH_SIZE = 64
LEARNING_RATE = 5e-4


def train(table: EvidenceTable, rows: np.ndarray, seconds: float) -> tuple[GeoTokenModel, dict[str, float]]:
    """Train on some rows until the time is over; the network, its steps and the mean loss of the last 50."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    network = GeoTokenModel(ModelConfig.compact()).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    targets = torch.from_numpy(network.config.scheme.encode(table.lat, table.lng))
    losses: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        chosen = rng.choice(rows, BATCH_SIZE, replace=False)
        batch = collate([table.cases[i] for i in chosen], network.config)
        arrays = {name: torch.from_numpy(array) for name, array in batch.arrays().items()}
        wanted = targets[torch.from_numpy(chosen)]
        log_probs = network.decode(wanted, network.encode(arrays), arrays)  # (B, T, V)
        loss = -log_probs.gather(2, wanted[..., None]).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return network.eval(), {"steps": len(losses), "loss_nats": float(np.mean(losses[-50:]))}


def main() -> None:
    """Train, sample, print or write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("evidence", type=Path, help="evidence table, Parquet")
    parser.add_argument("--seconds", type=float, default=150, help="time for training")
    parser.add_argument("--batch", type=int, default=8, help="photos sampled together")
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    table = load_evidence_table(args.evidence, guesses=False)
    fold = owner_folds(table.owner, 5, SEED)
    network, training = train(table, np.flatnonzero(fold != 0), args.seconds)
    held_out = np.flatnonzero(fold == 0)
    rows: list[dict[str, Any]] = []
    for name, weights in (("trained", network), ("random", GeoTokenModel(network.config).eval())):
        for temperature in (0.7, 1.0):
            options = DecodingOptions(
                decoder="sample", num_samples=args.samples, temperature=temperature, seed=SEED
            )
            scored = []
            for start in range(0, len(held_out) - args.batch + 1, args.batch):
                model = Counted(TorchModel(weights))
                decode(model, [table.cases[i] for i in held_out[start : start + args.batch]], options)
                scored.append(model.rows)
            rows.append(
                {
                    "weights": name,
                    "temperature": temperature,
                    "samples_together": args.batch * args.samples,
                    "rows_per_step": np.mean(scored, axis=0).round(1).tolist(),
                }
            )
    result = {"num_photos": len(held_out), "training": training, "sampling": rows}
    print(write_json(provenance(args.evidence) | result, args.out), end="")


if __name__ == "__main__":
    main()
