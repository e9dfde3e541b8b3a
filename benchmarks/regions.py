"""How fast cells and points are placed in regions, and how well the countries hold their own settlements.

Owns the timing of `geotoken.regions` and one measure of its borders; must not assert anything.

    python benchmarks/regions.py --json --out benchmarks/results/regions.json
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import median_seconds, provenance, write_json
from geotoken import Region, cells, places
from geotoken.regions import PARTIAL, countries

SEED = 20
REGIONS = ("country=PE", "country=CA", "country=RU", "near=-12.05,-77.03,80", "bbox=170,-20,-170,10")
SPREAD_DEG = 0.5


def cells_of_all_levels(lat: np.ndarray, lng: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A cell of a random level 0..30 around each point, shape (N,)."""
    leaves = cells.from_lat_lng(lat, lng)
    levels = rng.integers(0, cells.MAX_LEVEL + 1, len(leaves))
    return np.concatenate([cells.parent(leaves[levels == level], level) for level in range(31)])


def measure(num_cells: int, repeats: int) -> list[dict[str, Any]]:
    """Time the stages on cells along the edge of each region and on cells all over the Earth."""
    rng = np.random.default_rng(SEED)
    rows: list[dict[str, Any]] = []
    seconds = median_seconds(countries._load.__wrapped__, repeats)
    rows.append({"stage": "read", "region": "all countries", "seconds": seconds})
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, num_cells)))
    lng = rng.uniform(-180, 180, num_cells)
    for text in REGIONS:
        region = Region.parse(text)
        seconds = median_seconds(lambda text=text: Region.parse(text), repeats)
        rows.append({"stage": "make", "region": text, "seconds": seconds})
        edge = np.concatenate([ring for polygon in region.to_geojson()["coordinates"] for ring in polygon])
        edge = edge[rng.integers(0, len(edge), num_cells)] + rng.normal(size=(num_cells, 2)) * SPREAD_DEG
        edge_lng, edge_lat = edge[:, 0], np.clip(edge[:, 1], -90, 90)
        for where, points in (("edge", (edge_lat, edge_lng)), ("world", (lat, lng))):
            ids = cells_of_all_levels(*points, rng)
            stages: dict[str, Callable[[], Any]] = {
                "relation": lambda ids=ids, region=region: region.relation(ids),
                "contains": lambda points=points, region=region: region.contains(*points),
            }
            for stage, run in stages.items():
                row = {"stage": stage, "region": text, "where": where, "num": num_cells}
                rows.append(row | {"seconds": median_seconds(run, repeats)})
            rows[-2]["partial"] = float((region.relation(ids) == PARTIAL).mean())
    return rows


def settlements_at_home() -> dict[str, Any]:
    """Share of the settlements of the place names that lie in the region of their own country."""
    gazetteer = places._load()
    country = np.repeat(gazetteer.division_countries, np.diff(gazetteer.division_starts))
    num_inside = 0
    for row, code in enumerate(gazetteer.country_codes):
        own = country == row
        num_inside += int(Region.country(code).contains(gazetteer.lat[own], gazetteer.lng[own]).sum())
    return {
        "stage": "settlements",
        "num": len(country),
        "inside": num_inside,
        "share": num_inside / len(country),
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description="Speed of regions on one core.")
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    parser.add_argument("--out", type=Path, help="also write the JSON list to this file")
    args = parser.parse_args()
    about = provenance() | {"seed": SEED, "threads": 1}
    rows = [row | about for row in [*measure(args.cells, args.repeats), settlements_at_home()]]
    text = write_json(rows, args.out)
    if args.json:
        print(text, end="")
        return
    for row in rows[:-1]:
        what = f"{row['stage']:<10}{row['region']:<26}{row.get('where', ''):<7}"
        print(f"{what}{row['seconds'] * 1e3:8.2f} ms")
    print(f"settlements in their own country: {rows[-1]['share']:.2%} of {rows[-1]['num']}")


if __name__ == "__main__":
    main()
