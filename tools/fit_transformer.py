"""Train the transformer that knows neighbors and guesses by their coordinates alone, on an evidence table.

Owns the recipe: real cases, simulated ones (simulate_evidence.py), what is dropped, and the network's shape.
Needs PyTorch ([dev]). Dimension letters: B rows, E items, T tokens.
"""

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from build_mini import KERNEL_SHARES, NUM_NEIGHBORS, gallery_cases, gps_points
from density_prior import density_prior
from geotoken.artifact import FORMAT_VERSION, KIND
from geotoken.evaluate.evidence_table import load_evidence_table
from geotoken.gallery import Gallery
from geotoken.geo import from_xyz, to_xyz
from geotoken.manifest import write_manifest
from geotoken.model import ModelConfig
from geotoken.model.batch import EvidenceBatch, Items, make_batch
from geotoken.model.network import GeoTokenModel, export_onnx, load_network, save_network
from geotoken.prior import WorldPrior
from geotoken.train.config import LoopConfig
from geotoken.train.decoder import DecoderConfig, DecoderStage
from geotoken.train.draws import Draws
from geotoken.train.dropout import DropoutConfig
from geotoken.train.loop import StepReport, fit
from simulate_evidence import Cases, imagine, pack, scatter, simulate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Say = Callable[[StepReport], None] | None

MODEL = ModelConfig(
    width=64,
    num_encoder_layers=2,
    num_decoder_layers=2,
    num_heads=4,
    feed_forward=128,
    dropout=0.0,
    num_guesses=4,
    relative_similarity=True,
    head="kernel",
    world_prior=True,
)
FIRST = LoopConfig(
    steps=2400,
    batch_size=128,
    learning_rate=2e-3,
    warmup_steps=100,
    clip_norm=1.0,
    ema_decay=0.99,
    validate_every=800,
    accelerator="cpu",
)
LOOP = replace(FIRST, steps=500, learning_rate=1e-3, warmup_steps=50, validate_every=500)
EVEN = DecoderConfig(first_weight=1.0, last_weight=1.0, greedy_rows=0)
"""All tokens count alike, so that the loss is the likelihood."""
MAX_LOSS = 5e-6
"""Nats that merging four cells of the world prior may cost; it is coarser than that of the mixture."""
OTHERS_FILE = "gallery_cases.npz"
NUM_JUDGED = 1000
"""Imagined cases that judge the first training."""
REAL_SHARE = 0.25
"""Share of training rows that are real cases as they are."""
OTHER_SHARE = 0.15
"""Share of training rows that are real cases of another kind."""
WITH_GUESS, WITH_ALL_NEIGHBORS, ONLY_FIRST, NO_NEIGHBORS, DROPPED = 0.6, 0.4, 0.1, 0.03, 0.15


class CaseRows:
    """Cases as `geotoken.train.cases.Cases` asks, with evidence dropped by chance in training."""

    def __init__(self, cases: Cases, config: ModelConfig) -> None:
        self.config = config
        self.lat, self.lng = from_xyz(cases.truth)
        self.owner = np.arange(len(self.lat))
        lat, lng = from_xyz(cases.xyz)
        self._lat, self._lng = np.where(cases.present, lat, np.nan), np.where(cases.present, lng, np.nan)
        self._similarity = cases.similarity

    def evidence(self, rows: Ints, rng: Draws | None) -> EvidenceBatch:
        """The evidence of B cases; all of it if there is no randomness."""
        lat, lng = self._lat[rows], self._lng[rows]
        if rng is not None:
            lat = np.where(_kept(rng, lat.shape[1]), lat, np.nan)
        guess = np.full(lat.shape, np.nan)
        guess[:, -1] = np.where(np.isnan(lat[:, -1]), np.nan, 1.0)
        items = Items(lat=lat, lng=lng, similarity=self._similarity[rows], guess_weight=guess)
        return make_batch(items, {}, self.config)


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


def pretrain(
    points: Floats,
    prior: WorldPrior,
    *,
    model: ModelConfig = MODEL,
    loop: LoopConfig = FIRST,
    say: Say = None,
) -> GeoTokenModel:
    """Fit a network to imagined cases.

    Args:
        points: Where photos are taken, unit vectors, shape (G, 3).
        prior: The world prior.
        model: Shape of the network.
        loop: How to train; its seed also gives the cases.
        say: Called after each logged step.

    Returns:
        The network.
    """
    rng = np.random.default_rng(loop.seed)
    places = scatter(points, KERNEL_SHARES, rng)
    drawn = imagine(places, model.num_neighbors, loop.steps * loop.batch_size + NUM_JUDGED, rng)
    torch.manual_seed(loop.seed)
    return _fit(GeoTokenModel(model, prior), drawn, NUM_JUDGED, loop, say)


def fine_tune(
    network: GeoTokenModel,
    cases: Cases,
    points: Floats,
    *,
    others: Cases | None = None,
    loop: LoopConfig = LOOP,
    say: Say = None,
) -> GeoTokenModel:
    """Fit a network to real cases, and to as many made of them as training takes.

    Args:
        network: The network to begin with; it stays as it is.
        cases: Real cases.
        points: Where photos are taken, unit vectors, shape (G, 3).
        others: Real cases of another kind, of which nothing is simulated.
        loop: How to train; its seed also gives the simulated cases.
        say: Called after each logged step.

    Returns:
        The network.
    """
    rng = np.random.default_rng(loop.seed)
    num_rows = loop.steps * loop.batch_size
    parts = [cases.rows(rng.integers(len(cases.truth), size=int(REAL_SHARE * num_rows)))]
    if others is not None:
        parts.append(others.rows(rng.integers(len(others.truth), size=int(OTHER_SHARE * num_rows))))
    num_simulated = num_rows - sum(len(part.truth) for part in parts)
    parts.append(simulate(cases, scatter(points, KERNEL_SHARES, rng), num_simulated, rng))
    parts.append(cases.rows(np.arange(1)))  # judged by one case, for nothing is chosen by it
    torch.manual_seed(loop.seed)
    return _fit(copy.deepcopy(network), Cases.join(parts), 1, loop, say)


def _fit(network: GeoTokenModel, cases: Cases, num_judged: int, loop: LoopConfig, say: Say) -> GeoTokenModel:
    """Train on all cases but the last ones, which are for validation."""
    held_out = np.arange(len(cases.truth)) >= len(cases.truth) - num_judged
    rows = CaseRows(cases, network.config)
    stage = DecoderStage(network, rows, EVEN, DropoutConfig(), held_out=held_out)
    with tempfile.TemporaryDirectory() as folder:
        fit(stage, loop, Path(folder), on_step=say)
    with torch.no_grad():
        network.embedding.guess_weight.weight.zero_()  # all guesses had one weight, so others mean nothing
    return network.eval()


def gallery_cases_of(model: Path, size: int = 8000) -> Cases:
    """Photos of a model's gallery as queries, with similarities.

    Photos from Flickr are left out: benchmarks are made of those.
    """
    gallery = Gallery.load(model / "gallery")
    data = gallery_cases(gallery, WorldPrior.load(model / "mixture" / "prior.npz"))
    elsewhere = np.array(["flickr.com" not in str(url) for url in gallery.table.source_url])
    weight = data.weight * elsewhere[data.row]
    rows = np.random.default_rng(0).choice(len(weight), size, p=weight / weight.sum())
    return pack(data.cases, data.truth, NUM_NEIGHBORS).rows(rows)


def _say(report: StepReport) -> None:
    if report.step % 100 == 0:
        print(
            f"step {report.step} of {report.num_steps}  loss {report.loss:.4f}",
            file=sys.stderr,
            flush=True,
        )


def main() -> None:
    """Train on imagined cases, or go on from there and put the transformer into a model folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gps_points", type=Path, help="geoclip wheel, or its unpacked folder")
    parser.add_argument("--model", type=Path, required=True, help="model folder with gallery and mixture")
    parser.add_argument("--first", type=Path, required=True, help="folder of the training on imagined cases")
    parser.add_argument("--evidence", type=Path, help="evidence table, to go on with")
    args = parser.parse_args()
    torch.set_num_threads(1)
    points = to_xyz(*gps_points(args.gps_points))
    if args.evidence is None:
        args.first.mkdir(parents=True)
        network = pretrain(points, density_prior(points, KERNEL_SHARES, MAX_LOSS), say=_say)
        save_network(network, args.first)
        gallery_cases_of(args.model).save(args.first / OTHERS_FILE)
        return
    table = load_evidence_table(args.evidence, guesses=True)
    cases = pack(table.cases, to_xyz(table.lat, table.lng), NUM_NEIGHBORS)
    others = Cases.load(args.first / OTHERS_FILE)
    network = fine_tune(load_network(args.first), cases, points, others=others, say=_say)
    folder = args.model / "transformer"
    folder.mkdir(exist_ok=True)
    print(f"graphs at most {export_onnx(network, folder):.1e} nats from PyTorch")
    save_network(network, folder)
    write_manifest(args.model, kind=KIND, format_version=FORMAT_VERSION)


if __name__ == "__main__":
    main()
