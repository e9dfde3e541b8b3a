"""How well does the plainest encoder do on the query photos, so that the bundled one has something to beat?

EfficientNet-Lite0 at 224 pixels, average pooling, PCA to 256 with half whitening fitted on gallery photos;
the answer is the nearest gallery photo. Same halves and groups as queries.py. Needs [dev].
"""

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import export_encoder
from common import provenance, write_json
from geotoken.images.embed import Encoder
from geotoken.images.read import read
from geotoken.images.view import View
from geotoken.metrics import accuracy, distance_to_truth_km
from queries import SEEN_KM, UNSEEN_KM, halves

REFERENCE = export_encoder.Recipe(
    variant=0,
    views=(View(side=224, resize="squash"),),
    taps=((export_encoder.HEAD, 1.0, 1.0),),
    dim=256,
    power=0.5,
)
EXAMPLES = Path(__file__).parents[1] / "examples" / "attribution.csv"


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    """Numbers of one column, shape (N,)."""
    return np.array([float(row[name]) for row in rows])


def main() -> None:
    """Measure and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder with gallery/ and queries/")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    excluded = set(export_encoder.column(EXAMPLES, "source_image"))
    tables = {}
    for name in ("gallery", "queries"):
        with (args.photos / name / "metadata.csv").open(encoding="utf-8", newline="") as file:
            tables[name] = [row for row in csv.DictReader(file) if row["image"] not in excluded]
    gallery, queries = tables["gallery"], tables["queries"]
    pixels = [read(args.photos / "gallery" / row["image"]).pixels for row in gallery]
    with tempfile.TemporaryDirectory() as folder:
        places = np.arange(len(pixels))
        export_encoder.export(REFERENCE, pixels, places, Path(folder), half=False)
        encoder = Encoder.load(folder)
    known = np.concatenate([encoder.embed([one]) for one in pixels])
    asked = np.concatenate(
        [encoder.embed([read(args.photos / "queries" / r["image"]).pixels]) for r in queries]
    )
    nearest = (asked @ known.T).argmax(axis=1)
    distance_km = distance_to_truth_km(
        column(gallery, "lat")[nearest],
        column(gallery, "lng")[nearest],
        column(queries, "lat"),
        column(queries, "lng"),
    )
    half, away_km = halves(queries), column(queries, "nearest_gallery_km")
    result = {}
    for name in ("look", "report"):
        for group, mask in (("seen", away_km <= SEEN_KM), ("unseen", away_km > UNSEEN_KM)):
            chosen = distance_km[mask & (half == name)]
            result[f"{name}_{group}"] = {"n": len(chosen), **accuracy(chosen)}
    print(write_json(provenance(args.photos / "queries" / "metadata.csv") | result, args.out), end="")


if __name__ == "__main__":
    main()
