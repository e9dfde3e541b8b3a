"""How does geotoken compare with other ways from the same features to a place?

A world of photos whose vectors blend the location vectors, by GeoCLIP's real encoder, of its real places
(docs/worlds.md), divided by blocks of 25 km. For each seed, which draws photos, split and first weights, all
baselines and geotoken learn from the same photos and answer the same new ones. Needs [dev] and the wheel of
geoclip.

    pip download --no-deps geoclip==1.3.0
    python benchmarks/world_geoclip.py --geoclip geoclip-1.3.0-py3-none-any.whl --work runs/world_geoclip \
        --out benchmarks/results/world_geoclip.json

What a seed has given is kept in the folder of --work, so that the command can be run again to go on.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines import (
    Baseline,
    Budget,
    FlatCells,
    GpsGallery,
    HierarchicalCells,
    Labelled,
    NearestNeighbor,
    Regression,
)
from common import provenance, write_json
from geotoken.metrics import accuracy, distance_to_truth_km
from geotoken.model import ModelConfig
from geotoken.train.config import LoopConfig
from worlds.cases import MODALITY, Gallery, WorldCases
from worlds.judge import judge
from worlds.location_vectors import LocationVectors
from worlds.mixed import MixedConfig, MixedWorld, Part, mixed_world
from worlds.training import train

WORLD = MixedConfig()
BUDGET = Budget()
MODEL = ModelConfig(
    width=64,
    num_encoder_layers=2,
    num_decoder_layers=2,
    num_heads=4,
    feed_forward=128,
    dropout=0.1,
    modalities=((MODALITY, WORLD.dim),),
    relative_similarity=True,
    head="kernel_only",
)
LOOP = LoopConfig(
    steps=600,
    batch_size=128,
    learning_rate=3e-3,
    warmup_steps=100,
    clip_norm=1.0,
    ema_decay=0.995,
    validate_every=200,
    save_every=100,
    accelerator="cpu",
)
CELLS = (5, 25)
"""Least and most photos of a class of the flat partition."""
WIDE_CELLS = (20, 80)
"""Those of another one, whose classes have more photos each."""
LEVELS = ((20, 800), (10, 150), (5, 25))
"""Those of the three partitions of the hierarchy."""


def main() -> None:
    """Train, judge and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--geoclip", type=Path, required=True, help="wheel of geoclip 1.3.0")
    parser.add_argument("--work", type=Path, required=True, help="folder of what is kept")
    parser.add_argument("--minutes", type=float, default=40.0, help="wall time of training in one go")
    parser.add_argument("--steps", type=int, default=LOOP.steps)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--photos", type=int, default=2000, help="photos asked about, of each seed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    about = provenance(args.geoclip)
    loop = dataclasses.replace(LOOP, steps=args.steps)
    places = LocationVectors(args.geoclip, args.work / "vectors.npy")
    seeds = []
    for seed in args.seeds:
        folder = args.work / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        world = mixed_world(places.lat, places.lng, places.vectors, dataclasses.replace(WORLD, seed=seed))
        found = baselines(world, places, seed, args.photos, folder / "baselines.json")
        loop = dataclasses.replace(loop, seed=seed)
        ours = kept(
            folder / "geotoken.json",
            lambda w=world, o=loop, f=folder: geotoken(w, o, f, args.minutes, args.photos),
        )
        seeds.append({"seed": seed, "sizes": sizes(world), "baselines": found, "geotoken": ours})
    report = {
        "world": dataclasses.asdict(WORLD),
        "photos": args.photos,
        "budget": dataclasses.asdict(BUDGET),
        "mean": mean([{**one["baselines"], **one["geotoken"]["answers"]} for one in seeds]),
        "seeds": seeds,
        **about,
    }
    sys.stdout.write(write_json(report, args.out))


def kept(path: Path, make: Any) -> Any:
    """What a file holds; made first if it is absent."""
    if not path.exists():
        write_json(make(), path)
    return json.loads(path.read_text(encoding="utf-8"))


def baselines(
    world: MixedWorld, places: LocationVectors, seed: int, num_photos: int, path: Path
) -> dict[str, Any]:
    """Accuracy of every baseline, and the time it took; those that the file holds are not trained again."""
    budget = dataclasses.replace(BUDGET, seed=seed)
    gallery = (world.train.lat, world.train.lng)
    methods: dict[str, Baseline] = {
        "nearest_neighbor": NearestNeighbor(),
        "gps_gallery": GpsGallery(places.of, gallery, budget),
        "flat_cells": FlatCells(CELLS, budget),
        "flat_cells_wide": FlatCells(WIDE_CELLS, budget),
        "hierarchical_cells": HierarchicalCells(LEVELS, budget),
        "regression": Regression(budget),
    }
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    lat, lng = world.test.lat[:num_photos], world.test.lng[:num_photos]
    for name in [name for name in methods if name not in found]:
        began = time.perf_counter()
        methods[name].fit(labelled(world.train), labelled(world.validation))
        distance_km = distance_to_truth_km(*methods[name].answer(world.test.feature[:num_photos]), lat, lng)
        found[name] = accuracy(distance_km) | {"seconds": time.perf_counter() - began}
        write_json(found, path)
        print(f"seed {seed}: {name} {found[name]}", file=sys.stderr, flush=True)
    return found


def geotoken(
    world: MixedWorld, loop: LoopConfig, folder: Path, minutes: float, num_photos: int
) -> dict[str, Any]:
    """Accuracy of geotoken with every decoder and selection, its NLL and coverage."""
    gallery = Gallery.of(world.train.feature, world.train.lat, world.train.lng, world.train.block)
    done = train(cases(gallery, world.train), MODEL, loop, folder, minutes)
    if done is None:
        sys.exit(1)
    model, how = done
    part = Part(*(getattr(world.test, f.name)[:num_photos] for f in dataclasses.fields(Part)))
    judged = judge(model, cases(gallery, part), num_photos, at_each=False)
    return {
        "answers": {name: judged.accuracy(name, part.lat, part.lng) for name in judged.answers},
        "nll": float(judged.nll.mean()),
        **judged.coverage(),
        "training": how,
        "seconds_a_photo": judged.seconds,
    }


def cases(gallery: Gallery, part: Part) -> WorldCases:
    """Photos with neighbors, none of them from their own block."""
    return WorldCases(gallery, part.feature, part.lat, part.lng, part.block, MODEL.num_neighbors)


def labelled(part: Part) -> Labelled:
    """Photos as baselines take them."""
    return Labelled(part.feature, part.lat, part.lng)


def sizes(world: MixedWorld) -> dict[str, int]:
    """Photos in each part."""
    return {name: len(getattr(world, name).lat) for name in ("train", "validation", "test")}


def mean(seeds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over seeds of every figure of every method."""
    found: dict[str, dict[str, float]] = {}
    for method in [name for name in seeds[0] if all(name in one for one in seeds)]:
        found[method] = {}
        for name in (n for n in seeds[0][method] if n != "seconds"):
            values = [one[method][name] for one in seeds]
            found[method][name] = float(np.mean(values))
            found[method][f"{name}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return found


if __name__ == "__main__":
    main()
