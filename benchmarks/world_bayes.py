"""How near does geotoken come to the best that is possible, in a world whose exact posterior is known?

Trains stage 3 on photos of a world of look-alike places (docs/worlds.md), and asks it about new photos of the
same places: its density at the truth, and its accuracy at each threshold when it answers for that threshold,
beside those of the exact posterior on the same photos. Needs [dev].

    python benchmarks/world_bayes.py --work runs/world_bayes --out benchmarks/results/world_bayes.json

Training stops after --minutes and is resumed by the same command; nothing is written before its end.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import provenance, write_json
from geotoken.metrics import THRESHOLDS_KM, accuracy, distance_to_truth_km
from geotoken.model import ModelConfig
from geotoken.model.config import HEADS
from geotoken.train.config import LoopConfig
from worlds.cases import MODALITY, Gallery, WorldCases
from worlds.judge import Judged, judge
from worlds.lookalike import LookalikeConfig, LookalikeWorld, Photos
from worlds.oracle import Optimum, ambiguity, optimum
from worlds.training import train

WORLD = LookalikeConfig()
NUM_PHOTOS = 160_000
MODEL = ModelConfig(
    width=64,
    num_encoder_layers=2,
    num_decoder_layers=2,
    num_heads=4,
    feed_forward=128,
    dropout=0.0,
    modalities=((MODALITY, WORLD.dim),),
    relative_similarity=True,
    head="kernel",
)
LOOP = LoopConfig(
    steps=1200,
    batch_size=128,
    learning_rate=3e-3,
    warmup_steps=100,
    clip_norm=1.0,
    ema_decay=0.995,
    validate_every=200,
    save_every=100,
    accelerator="cpu",
)


def main() -> None:
    """Train, judge and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--minutes", type=float, default=40.0, help="wall time of training in one go")
    parser.add_argument("--steps", type=int, default=LOOP.steps)
    parser.add_argument("--head", choices=HEADS, default=MODEL.head)
    parser.add_argument("--photos", type=int, default=2000, help="photos asked about")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    about = provenance()
    world = LookalikeWorld(WORLD)
    gallery, trained, asked = world.draw_gallery(), world.draw(NUM_PHOTOS, 1), world.draw(args.photos, 2)
    retrieved = Gallery.of(gallery.feature, gallery.lat, gallery.lng, gallery.owner)
    cases, new = (
        WorldCases(retrieved, photos.feature, photos.lat, photos.lng, photos.owner)
        for photos in (trained, asked)
    )
    network = dataclasses.replace(MODEL, head=args.head)
    done = train(cases, network, dataclasses.replace(LOOP, steps=args.steps), args.work, args.minutes)
    if done is None:
        sys.exit(1)
    model, how = done
    judged = judge(model, new, args.photos)
    log_posterior = world.log_posterior(asked.feature)
    best = optimum(log_posterior, world.lat, world.lng, WORLD.scatter_km, (asked.lat, asked.lng))
    report = {
        "world": dataclasses.asdict(WORLD) | ambiguity(log_posterior),
        "same_place_share": float(np.mean(gallery.place[new.neighbors] == asked.place[:, None])),
        "photos": args.photos,
        "head": args.head,
        **compare(judged, best, asked),
        "nearest_neighbor": nearest(new),
        "training": how,
        "seconds_a_photo": judged.seconds,
        **about,
    }
    sys.stdout.write(write_json(report, args.out))


def compare(judged: Judged, best: Optimum, asked: Photos) -> dict[str, Any]:
    """Figures of geotoken and of the optimum, and what lies between them."""
    lat, lng = asked.lat, asked.lng
    ours = judged.best_at_each("disk", lat, lng)
    bayes = {
        f"acc_at_{r}km": accuracy(distance_to_truth_km(*best.best[r], lat, lng))[f"acc_at_{r}km"]
        for r in THRESHOLDS_KM
    }
    return {
        "geotoken": {
            "nll": float(judged.nll.mean()),
            "at_each": ours,
            "at_each_as_proposed": judged.best_at_each("mbr", lat, lng),
            **{name: judged.accuracy(name, lat, lng) for name in judged.answers if "km" not in name},
            **judged.coverage(),
        },
        "bayes": {
            "nll": float(best.nll.mean()),
            "at_each": bayes,
            "mbr": accuracy(distance_to_truth_km(*best.mbr, lat, lng)),
        },
        "gap": {
            "nll": float((judged.nll - best.nll).mean()),
            "nll_standard_error": float((judged.nll - best.nll).std() / len(lat) ** 0.5),
            **{name: bayes[name] - ours[name] for name in ours},
        },
    }


def nearest(cases: WorldCases) -> dict[str, float]:
    """Accuracy of the nearest neighbor's place."""
    row = cases.neighbors[:, 0]
    found = cases.gallery.lat[row], cases.gallery.lng[row]
    return accuracy(distance_to_truth_km(*found, cases.lat, cases.lng))


if __name__ == "__main__":
    main()
