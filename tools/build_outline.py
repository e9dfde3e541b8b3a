"""Build src/geotoken/data/outline.json, the coasts, borders and country names that maps are drawn on.

Owns the selection and simplification; must not know how the outline is drawn.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python tools/build_outline.py package/countries-50m.json src/geotoken/data/outline.json

The source is Natural Earth (https://www.naturalearthdata.com, public domain) as TopoJSON. An arc, the line
between two places where countries meet, is simplified once, so that neighbors still fit each other.

The file: `land` and `borders` are lists of lines, rings in `land`. A line is a string: steps from point to
point in hundredths of a degree, longitude then latitude, each as in Google's "Encoded Polyline Algorithm
Format". `countries` are [name, latitude, longitude, area in square degrees] of a point inside, largest first.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import LineString, Polygon

Points = NDArray[np.float64]

TOLERANCE_DEG = 0.02
"""How far a simplified line may stray from the original, about 2 km."""
STEPS_PER_DEGREE = 100
MIN_AREA_SQ_DEG = 0.002
"""Smaller islands are left out."""
MIN_LABEL_SQ_DEG = 0.005


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("topology", type=Path, help="countries-50m.json of world-atlas")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    topology = json.loads(args.topology.read_text(encoding="utf-8"))
    arcs = [simplify(arc) for arc in to_degrees(topology)]
    countries = topology["objects"]["countries"]["geometries"]
    uses = np.zeros(len(arcs), dtype=np.int64)
    for country in countries:
        for polygon in polygons(country):
            for ring in polygon:
                uses[[arc if arc >= 0 else ~arc for arc in ring]] += 1
    land = [
        ring
        for piece in topology["objects"]["land"]["geometries"]
        for polygon in polygons(piece)
        for ring in (join(arcs, numbers) for numbers in polygon)
        if len(ring) >= 4 and Polygon(ring).area >= MIN_AREA_SQ_DEG
    ]
    document = {
        "format": 1,
        "source": "Natural Earth, public domain",
        "steps_per_degree": STEPS_PER_DEGREE,
        "land": [encode(ring) for ring in land],
        "borders": [encode(arc) for arc, count in zip(arcs, uses, strict=True) if count > 1],
        "countries": labels(countries, arcs),
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
    args.out.write_text(text, encoding="utf-8")
    num_points = sum(map(len, land))
    print(f"{len(land)} rings of {num_points} points, {len(document['countries'])} countries, {len(text)} B")


def to_degrees(topology: dict[str, Any]) -> list[Points]:
    """The arcs of a TopoJSON document in degrees, each of shape (M, 2), longitude first."""
    transform = topology["transform"]
    return [np.cumsum(arc, axis=0) * transform["scale"] + transform["translate"] for arc in topology["arcs"]]


def simplify(arc: Points) -> Points:
    """An arc with fewer points; its ends stay."""
    return np.asarray(LineString(arc).simplify(TOLERANCE_DEG).coords)


def polygons(geometry: dict[str, Any]) -> list[list[list[int]]]:
    """The polygons of a TopoJSON geometry, each a list of rings of arc numbers."""
    if geometry["type"] == "Polygon":
        return [geometry["arcs"]]
    return list(geometry.get("arcs", []))


def join(arcs: list[Points], numbers: list[int]) -> Points:
    """A ring from its arcs, shape (M, 2); a number below zero is an arc backwards."""
    parts = [arcs[n] if n >= 0 else arcs[~n][::-1] for n in numbers]
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])


def encode(line: Points) -> str:
    """A line as a string; points that fall together become one."""
    steps = np.rint(line * STEPS_PER_DEGREE).astype(np.int64)
    steps = np.diff(steps, axis=0, prepend=[[0, 0]])
    steps = np.concatenate([steps[:1], steps[1:][steps[1:].any(axis=1)]])
    letters = []
    for step in steps.reshape(-1).tolist():
        value = ~(step << 1) if step < 0 else step << 1
        while value >= 32:
            letters.append(chr((32 | (value & 31)) + 63))
            value >>= 5
        letters.append(chr(value + 63))
    return "".join(letters)


def labels(countries: list[dict[str, Any]], arcs: list[Points]) -> list[tuple[str, float, float, float]]:
    """Name, point and size of each country, largest first; the point lies in its largest part."""
    rows = []
    for country in countries:
        parts = [Polygon(join(arcs, polygon[0])).buffer(0) for polygon in polygons(country)]
        largest = max(parts, key=lambda part: part.area, default=Polygon())
        if largest.area >= MIN_LABEL_SQ_DEG:
            center = (
                largest.centroid if largest.contains(largest.centroid) else largest.representative_point()
            )
            name = country["properties"]["name"]
            rows.append((name, round(center.y, 2), round(center.x, 2), round(largest.area, 2)))
    return sorted(rows, key=lambda row: -row[3])


if __name__ == "__main__":
    main()
