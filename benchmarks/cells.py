"""How many points a second become cells and tokens, and back, on one core.

Owns the timing of `geotoken.cells` and `geotoken.tokens`; must not assert anything.

    python benchmarks/cells.py --json --out benchmarks/results/cells.json
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import median_seconds, provenance, write_json
from geotoken import cells
from geotoken.tokens import TokenScheme

SEED = 20


def measure(num_points: int, repeats: int) -> list[dict[str, Any]]:
    """Time each stage on uniformly random points at level 20."""
    rng = np.random.default_rng(SEED)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, num_points)))
    lng = rng.uniform(-180, 180, num_points)
    scheme = TokenScheme()
    cell_ids = cells.from_lat_lng(lat, lng, scheme.level)
    tokens = scheme.encode(lat, lng)
    stages: dict[str, Callable[[], Any]] = {
        "from_lat_lng": lambda: cells.from_lat_lng(lat, lng, scheme.level),
        "to_lat_lng": lambda: cells.to_lat_lng(cell_ids),
        "encode": lambda: scheme.encode(lat, lng),
        "decode": lambda: scheme.decode(tokens),
    }
    machine = provenance() | {"seed": SEED, "threads": 1}
    rows = []
    for stage, run in stages.items():
        seconds = median_seconds(run, repeats)
        row = {"stage": stage, "points": num_points, "seconds": seconds, "points_per_s": num_points / seconds}
        rows.append({**row, **machine})
    return rows


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description="Speed of cells and tokens on one core.")
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    parser.add_argument("--out", type=Path, help="also write the JSON list to this file")
    args = parser.parse_args()
    rows = measure(args.points, args.repeats)
    text = write_json(rows, args.out)
    if args.json:
        print(text, end="")
    else:
        for row in rows:
            print(f"{row['stage']:<14}{row['points_per_s'] / 1e6:6.2f} M points/s")


if __name__ == "__main__":
    main()
