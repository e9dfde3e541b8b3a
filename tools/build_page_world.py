"""Build src/geotoken/serve/static/world/, what the page of `geotoken serve` draws its world from.

Owns the choice of lines, names and towns; must not know how the page draws them.

    python tools/build_page_world.py

Reads what is shipped already: data/outline.json (Natural Earth, see tools/build_outline.py) and the gazetteer
(GeoNames). The files are GeoJSON, which MapLibre reads in its own thread.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from shapely.geometry import mapping

from geotoken import places
from geotoken.geo import to_xyz
from geotoken.regions.polygons import wrap

ROOT: Final = Path(__file__).parents[1]
WORLD: Final = ROOT / "src/geotoken/serve/static/world"
OUTLINE: Final = ROOT / "src/geotoken/data/outline.json"
NUM_TOWNS: Final = 2500
APART_KM: Final = 12.0
"""Of two towns nearer than this the smaller has no label."""
MIN_POINTS: Final = 4
"""Of a ring."""

Feature = dict[str, Any]


def main() -> None:
    """Run the tool."""
    outline = json.loads(OUTLINE.read_text(encoding="utf-8"))
    steps = outline["steps_per_degree"]
    rings = [decode(text, steps) for text in outline["land"]]
    borders = [decode(text, steps) for text in outline["borders"]]
    WORLD.mkdir(parents=True, exist_ok=True)
    write(
        "land.json", collection([piece for ring in rings if len(ring) >= MIN_POINTS for piece in land(ring)])
    )
    write("borders.json", collection([shape("MultiLineString", borders)]))
    write("labels.json", collection(country_labels(outline["countries"]) + town_labels()))


def decode(text: str, steps_per_degree: int) -> list[tuple[float, float]]:
    """A line of data/outline.json as points, longitude first."""
    numbers, value, shift = [], 0, 0
    for letter in text:
        five = ord(letter) - 63
        value |= (five & 31) << shift
        shift += 5
        if five < 32:
            numbers.append(~(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    points = np.cumsum(np.array(numbers).reshape(-1, 2), axis=0) / steps_per_degree
    return [(lng, lat) for lng, lat in points.round(2).tolist()]


def land(ring: list[tuple[float, float]]) -> list[Feature]:
    """A ring of land as polygons that end at the antimeridian; one around a pole reaches to it."""
    points = np.array(ring)
    points[:, 0] = np.unwrap(points[:, 0], period=360)
    if abs(points[-1, 0] - points[0, 0]) > 180:
        pole = np.copysign(90.0, points[:, 1].mean())
        points = np.concatenate([points, [[points[-1, 0], pole], [points[0, 0], pole]]])
    parts = wrap(points - [360 * np.round((points[:, 0].min() + points[:, 0].max()) / 720), 0])
    return [
        shape("Polygon", [[(round(lng, 2), round(lat, 2)) for lng, lat in edge] for edge in part])
        for part in mapping(parts)["coordinates"]
    ]


def country_labels(rows: list[list[Any]]) -> list[Feature]:
    """Names of countries; `rank` grows as the country gets smaller."""
    return [
        point(lat, lng, {"name": name, "kind": "country", "rank": rank})
        for rank, (name, lat, lng, _) in enumerate(rows)
    ]


def town_labels() -> list[Feature]:
    """Names of the largest towns, none very near a larger one; `rank` grows as the town gets smaller."""
    gazetteer = places._load()  # the order of population is not public
    order = np.argsort(-gazetteer.radius_km, kind="stable")[: 3 * NUM_TOWNS]
    xyz = to_xyz(gazetteer.lat[order], gazetteer.lng[order])  # (N, 3)
    chosen: list[int] = []
    for row in range(len(order)):
        if len(chosen) == NUM_TOWNS:
            break
        if not chosen or float((xyz[chosen] @ xyz[row]).max()) < np.cos(APART_KM / 6371):
            chosen.append(row)
    return [
        point(
            float(gazetteer.lat[order[row]]),
            float(gazetteer.lng[order[row]]),
            {"name": gazetteer.names[order[row]].decode(), "kind": "town", "rank": rank},
        )
        for rank, row in enumerate(chosen)
    ]


def point(lat: float, lng: float, properties: dict[str, Any]) -> Feature:
    """A feature at a point in degrees."""
    return shape("Point", [round(lng, 3), round(lat, 3)], properties)


def shape(kind: str, coordinates: Any, properties: dict[str, Any] | None = None) -> Feature:
    """A feature of GeoJSON."""
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "properties": properties or {}, "geometry": geometry}


def collection(features: list[Feature]) -> dict[str, Any]:
    """A collection of GeoJSON."""
    return {"type": "FeatureCollection", "features": features}


def write(name: str, document: Any) -> None:
    """Write a file as small as JSON can be."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
    (WORLD / name).write_text(text, encoding="utf-8")
    print(f"{name}: {len(text.encode()):,} bytes")


if __name__ == "__main__":
    main()
