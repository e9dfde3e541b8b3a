"""What is it worth to know the country, and is a wrong country noticed?

Locates the query photos of seen places (docs/experiments.md) three times: anywhere, in the true country, and
in a wrong one drawn from the countries of the other photos. The true country is that of the place nearest to
the true point.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np

from common import provenance, write_json
from geotoken.metrics import accuracy, distance_to_truth_km
from geotoken.pipeline import Failure, LocateOptions, Locator
from geotoken.places import nearest
from geotoken.regions import Region
from queries import SEEN_KM


def main() -> None:
    """Measure and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("queries", type=Path, help="folder with metadata.csv and images/")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="only so many photos, drawn at random")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    with (args.queries / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if float(row["nearest_gallery_km"]) <= SEEN_KM]
    if args.limit is not None:
        rows = [rows[i] for i in rng.permutation(len(rows))[: args.limit]]
    lat, lng = (np.array([float(row[name]) for row in rows]) for name in ("lat", "lng"))
    true = np.array([place.country_code for place in nearest(lat, lng)])
    wrong = np.array([rng.choice(true[true != code]) for code in true])
    regions = {code: Region.country(code) for code in np.unique(true)}
    locator = Locator.from_pretrained(args.model)
    result: dict[str, object] = {"n": len(rows), "seed": args.seed, "num_countries": len(regions)}
    answers = {
        name: np.full((len(rows), 3), np.nan) for name in ("anywhere", "true_country", "wrong_country")
    }
    outside = 0
    for i, row in enumerate(rows):
        for name, code in (("anywhere", None), ("true_country", true[i]), ("wrong_country", wrong[i])):
            region = None if code is None else regions[code]
            start = time.perf_counter()
            (found,) = locator.locate_many([args.queries / row["image"]], LocateOptions(within=region))
            if isinstance(found, Failure):
                continue
            elapsed_ms = 1000 * (time.perf_counter() - start)
            answers[name][i] = (
                distance_to_truth_km(found.lat, found.lng, lat[i], lng[i]),
                found.region_probability if region is not None else 1.0,
                elapsed_ms,
            )
            outside += region is not None and not bool(region.contains(found.lat, found.lng))
        if i % 100 == 99:
            print(f"{i + 1} of {len(rows)}", file=sys.stderr, flush=True)
    for name, columns in answers.items():
        distance_km, probability, elapsed_ms = columns.T
        result[name] = accuracy(distance_km) | {
            "median_region_probability": float(np.nanmedian(probability)),
            "median_ms": float(np.nanmedian(elapsed_ms)),
        }
    result["answers_outside_their_region"] = outside
    print(write_json(provenance(args.queries / "metadata.csv") | result, args.out), end="")


if __name__ == "__main__":
    main()
