"""How well does a bundled model locate web photos of places in and out of its gallery?

Runs the whole pipeline on the query photos of a data folder (docs/experiments.md), which no part of the model
has seen. They are split by place into two halves: `look` may be looked at during development, `report` once.
No photo of one half lies within 5 km of a photo of the other. Places with a gallery photo within 5 km are
"seen", those farther than 25 km "unseen".
"""

import argparse
import csv
import hashlib
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from common import provenance, write_json
from geotoken.evaluate.run import leaf_nll
from geotoken.geo import EARTH_RADIUS_KM, to_xyz
from geotoken.metrics import accuracy, coverage, distance_to_truth_km
from geotoken.pipeline import Failure, LocateOptions, Locator

SEEN_KM, UNSEEN_KM = 5.0, 25.0
FAILED = {
    "failed": 1.0,
    **dict.fromkeys(("lat", "lng", "nearest_lat", "nearest_lng", "nll"), np.nan),
    **dict.fromkeys(("radius_50_km", "radius_90_km"), 0.0),
    **dict.fromkeys(("credible_low", "credible_high"), 1.0),
}
"""What a photo without an answer counts as: wrong, and outside of every region."""
RADIUS_BOUNDS_KM = (0, 25, 200, 750, 2500, 5000, 20100)


def halves(rows: list[dict[str, str]]) -> np.ndarray:
    """Half of the queries that each photo belongs to, "look" or "report", shape (N,).

    Photos linked by steps of at most `SEEN_KM` are one place and stay together; the hash of the place's first
    image name decides.
    """
    points = to_xyz(*(np.array([float(row[name]) for row in rows]) for name in ("lat", "lng")))
    chord = 2 * np.sin(SEEN_KM / EARTH_RADIUS_KM / 2)
    place = connected_components(np.linalg.norm(points[:, None] - points, axis=2) <= chord)[1]
    names = np.array([row["image"] for row in rows])
    first = [min(names[place == number]) for number in range(place.max() + 1)]
    odd = [int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 for name in first]
    return np.where(odd, "report", "look")[place]


def locate_all(locator: Locator, data: Path, rows: list[dict[str, str]]) -> list[dict[str, float]]:
    """Answers, radii and calibration of each query."""
    found = []
    answers = locator.locate_many([data / row["image"] for row in rows], LocateOptions())
    for row, answer in zip(rows, answers, strict=True):
        lat, lng = float(row["lat"]), float(row["lng"])
        if isinstance(answer, Failure):
            found.append(FAILED)
            continue
        low, high = answer.posterior.credible_level_of(lat, lng)
        found.append(
            {
                "failed": 0.0,
                "lat": answer.lat,
                "lng": answer.lng,
                "nearest_lat": float(answer.neighbors.lat[0]),
                "nearest_lng": float(answer.neighbors.lng[0]),
                "radius_50_km": answer.radius_km(0.5),
                "radius_90_km": answer.radius_km(0.9),
                "credible_low": low,
                "credible_high": high,
                "nll": leaf_nll(locator.model, answer.neighbors.to_evidence(), lat, lng),
            }
        )
        if len(found) % 200 == 0:
            print(f"{len(found)} of {len(rows)}", file=sys.stderr, flush=True)
    return found


def columns_of(
    rows: list[dict[str, str]], found: list[dict[str, float]]
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Columns of the answers, and the distances of nearest neighbor and answer from the truth in km."""
    truth = (np.array([float(r["lat"]) for r in rows]), np.array([float(r["lng"]) for r in rows]))
    column = {name: np.array([f[name] for f in found]) for name in FAILED}
    nearest_km = distance_to_truth_km(column["nearest_lat"], column["nearest_lng"], *truth)
    return column, nearest_km, distance_to_truth_km(column["lat"], column["lng"], *truth)


def summarise(rows: list[dict[str, str]], found: list[dict[str, float]]) -> dict[str, Any]:
    """Accuracy and calibration of one group of queries."""
    column, nearest_km, answer_km = columns_of(rows, found)
    levels = np.stack([column["credible_low"], column["credible_high"]], axis=1)
    return {
        "n": len(rows),
        "failed": int(column["failed"].sum()),
        "nearest_neighbor": accuracy(nearest_km),
        "mixture_mbr": accuracy(answer_km),
        "coverage_50": coverage(levels, 0.5),
        "coverage_90": coverage(levels, 0.9),
        "within_radius_50": 100 * float(np.mean(answer_km <= column["radius_50_km"])),
        "within_radius_90": 100 * float(np.mean(answer_km <= column["radius_90_km"])),
        "nll": float(np.nanmean(column["nll"])),
        "median_radius_50_km": float(np.median(column["radius_50_km"])),
    }


def reliability(rows: list[dict[str, str]], found: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Share of truths within the stated radii, by how large the 50 % radius is."""
    column, _, answer_km = columns_of(rows, found)
    table = []
    for low, high in pairwise(RADIUS_BOUNDS_KM):
        inside = (column["radius_50_km"] >= low) & (column["radius_50_km"] < high)
        if inside.any():
            table.append(
                {
                    "radius_50_km": [low, high],
                    "n": int(inside.sum()),
                    "within_radius_50": 100 * float(np.mean((answer_km <= column["radius_50_km"])[inside])),
                    "within_radius_90": 100 * float(np.mean((answer_km <= column["radius_90_km"])[inside])),
                    "median_error_km": float(np.median(answer_km[inside])),
                }
            )
    return table


def main() -> None:
    """Locate the queries of one half and write the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("queries", type=Path, help="folder with metadata.csv and images/")
    parser.add_argument("--half", choices=("look", "report"), default="look")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with (args.queries / "metadata.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    rows = [row for row, half in zip(table, halves(table), strict=True) if half == args.half]
    locator = Locator.from_pretrained(args.model)
    found = locate_all(locator, args.queries, rows)
    distance_km = np.array([float(row["nearest_gallery_km"]) for row in rows])
    groups = {
        "all": np.ones(len(rows), dtype=bool),
        "seen": distance_km <= SEEN_KM,
        "unseen": distance_km > UNSEEN_KM,
    }
    result: dict[str, Any] = {
        "half": args.half,
        "encoder": locator.encoder.name,
        "gallery": locator.gallery.size,
    }
    for name, mask in groups.items():
        index = np.flatnonzero(mask)
        result[name] = summarise([rows[i] for i in index], [found[i] for i in index])
    result["reliability"] = reliability(rows, found)
    print(write_json(provenance(args.queries / "metadata.csv") | result, args.out), end="")


if __name__ == "__main__":
    main()
