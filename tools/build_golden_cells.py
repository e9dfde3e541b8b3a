"""Writes tests/golden/cells.json with Google's s2geometry: points with their cells, cells with their shapes.

Owns the choice of points; must not use geotoken, whose cells the file checks.

    python tools/build_golden_cells.py tests/golden/cells.json
"""

import argparse
import json
import math
import random
from pathlib import Path
from typing import Any

import s2geometry as s2

EARTH_RADIUS_KM = 6371.0088
EDGE_LATS = (-90.0, -89.999999, -45.0, -math.degrees(math.atan(math.sqrt(0.5))), -1e-9, 0.0, 45.0, 90.0)
EDGE_LNGS = (-180.0, -179.999999, -135.0, -90.0, -45.0, 0.0, 1e-9, 45.0, 90.0, 135.0, 180.0)


def describe_point(lat: float, lng: float) -> dict[str, Any]:
    """A point with the names of its cells, levels 0 to 30."""
    leaf = s2.S2CellId(s2.S2LatLng.FromDegrees(lat, lng))
    return {"lat": lat, "lng": lng, "cell_hex": [leaf.parent(level).ToToken() for level in range(31)]}


def describe_cell(cell_id: Any) -> dict[str, Any]:
    """A cell with its place in the hierarchy, its corners and its area."""
    cell = s2.S2Cell(cell_id)
    center = cell_id.ToLatLng()
    corners = [s2.S2LatLng(cell.GetVertex(k)) for k in range(4)]
    return {
        "cell_hex": cell_id.ToToken(),
        "level": cell_id.level(),
        "face": cell_id.face(),
        "positions": [cell_id.child_position(level) for level in range(1, cell_id.level() + 1)],
        "center": [center.lat().degrees(), center.lng().degrees()],
        "corners": [[corner.lat().degrees(), corner.lng().degrees()] for corner in corners],
        "area_km2": cell.ExactArea() * EARTH_RADIUS_KM**2,
    }


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description="Write S2 test vectors.")
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    rng = random.Random(20)
    points = [(lat, lng) for lat in EDGE_LATS for lng in EDGE_LNGS]
    points += [(math.degrees(math.asin(rng.uniform(-1, 1))), rng.uniform(-180, 180)) for _ in range(32)]
    leaves = [s2.S2CellId(s2.S2LatLng.FromDegrees(lat, lng)) for lat, lng in points[-31:]]
    cells = [s2.S2CellId.FromFacePosLevel(face, 0, 0) for face in range(6)]
    cells += [leaf.parent(level) for level, leaf in enumerate(leaves)]
    rows = [("points", [describe_point(*p) for p in points]), ("cells", [describe_cell(c) for c in cells])]
    parts = [f'"{name}": [\n' + ",\n".join(map(json.dumps, entries)) + "\n]" for name, entries in rows]
    out.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
