"""How long does the closed-form posterior of one photo take: 20 neighbors, epsilon 1e-4, the bundled weights?

With similarities, and without: then a network weighs the neighbors, over a finer prior.

Neighbors are drawn around places of the world prior, half of them near the place, half anywhere. Encoding the
evidence and expanding the tree both count; the median over photos is reported.

    python benchmarks/posterior.py --json --out benchmarks/results/posterior.json
"""

import argparse
import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from common import provenance, write_json
from geotoken import cells
from geotoken.artifact import load_artifact
from geotoken.decoding import posterior
from geotoken.evidence import Evidence
from geotoken.mixture import MixtureModel

SEED = 20


def make_evidence(model: MixtureModel, num_photos: int, num_neighbors: int) -> list[Evidence]:
    """Neighbors of imaginary photos, some agreeing, some anywhere."""
    rng = np.random.default_rng(SEED)
    lat, lng = cells.to_lat_lng(
        rng.choice(model.prior.cell_ids, (num_photos, num_neighbors), p=model.prior.mass)
    )
    near = rng.uniform(size=lat.shape) < 0.5
    spread_deg = rng.choice([0.01, 0.3, 5.0], lat.shape)
    lat = np.clip(np.where(near, lat[:, :1] + rng.normal(0, 1, lat.shape) * spread_deg, lat), -85, 85)
    lng = np.where(near, lng[:, :1] + rng.normal(0, 1, lat.shape) * spread_deg, lng)
    lng = (lng + 180) % 360 - 180
    rank = np.arange(1.0, num_neighbors + 1)
    similarity = np.sort(rng.uniform(0.2, 0.7, lat.shape), axis=1)[:, ::-1]
    return [
        Evidence(neighbor_lat=a, neighbor_lng=b, neighbor_rank=rank, neighbor_similarity=s)
        for a, b, s in zip(lat, lng, similarity, strict=True)
    ]


def measure(
    model: MixtureModel, cases: list[Evidence], args: argparse.Namespace, stage: str
) -> dict[str, Any]:
    """Time of one kind of evidence."""
    wall, cpu, num_cells = [], [], []
    for evidence in cases:
        start = time.perf_counter(), time.process_time()
        found = posterior(model, [evidence], args.epsilon)[0]
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
        num_cells.append(len(found.cell_id))
    return {
        "stage": stage,
        "photos": args.photos,
        "neighbors": args.neighbors,
        "epsilon": args.epsilon,
        "seed": SEED,
        "seconds": statistics.median(wall[2:]),  # the first two warm up
        "cpu_seconds": statistics.median(cpu[2:]),
        "num_cells": statistics.median(num_cells[2:]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=50)
    parser.add_argument("--neighbors", type=int, default=20)
    parser.add_argument("--epsilon", type=float, default=1e-4)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a line")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    artifact = load_artifact("mini")
    model = MixtureModel.load(artifact.folder / "mixture", artifact.scheme)
    cases = make_evidence(model, args.photos + 2, args.neighbors)
    ranked = [dataclasses.replace(one, neighbor_similarity=None) for one in cases]
    rows = [measure(model, cases, args, "posterior"), measure(model, ranked, args, "posterior_ranked")]
    text = write_json([row | provenance() for row in rows], args.out)
    if args.json:
        print(text, end="")
    else:
        for row in rows:
            print(
                f"{row['stage']}: {1e3 * row['seconds']:.1f} ms a photo ({1e3 * row['cpu_seconds']:.1f} CPU)"
            )


if __name__ == "__main__":
    main()
