"""The frozen image encoder: pixels in, unit vectors out, on ONNX Runtime.

Owns an encoder folder's format and its preprocessing; must not know files, galleries or places.
"""

import hashlib
import math
import operator
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError, reason_of
from geotoken.files import read_json, read_regular
from geotoken.graphs import open_graph
from geotoken.images.view import View

FORMAT_VERSION = 1
"""Version of the encoder folder this code reads: `encoder.onnx` and `encoder.json`."""

MAX_ONNX_BYTES = 2 << 30
"""An ONNX file cannot be longer: it is a protocol buffer."""

MAX_BATCH = 2
"""Photos of one shape given to the network at once; more are slower: they leave the processor's cache."""


class ImageEncoder(Protocol):
    """What turns photos into vectors; `Encoder` is one, a backbone of `geotoken.backbones` another."""

    @property
    def name(self) -> str:
        """Name recorded in galleries."""
        ...

    @property
    def dim(self) -> int:
        """Length D of the vectors."""
        ...

    @property
    def min_side(self) -> int:
        """Shorter side in pixels below which a photo loses detail the encoder could use."""
        ...

    @property
    def dtype(self) -> str:
        """What it computes in, such as "float32": vectors of two types differ by rounding."""
        ...

    @property
    def source(self) -> str:
        """Where the weights come from."""
        ...

    @property
    def license(self) -> str:
        """Licence of the weights."""
        ...

    def embed(self, photos: Sequence[NDArray[np.uint8]], *, for_gallery: bool = False) -> NDArray[np.float32]:
        """Embed B photos of shape (H, W, 3), uint8, to unit vectors of shape (B, D)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Content of `encoder.json`."""

    format_version: int
    """Version of the folder format."""
    name: str
    """Name of the encoder; galleries record it, for vectors of two encoders do not compare."""
    dim: int
    """Length D of the vectors."""
    views: tuple[View, ...]
    """Views of a photo, at least one."""
    mean: tuple[float, float, float]
    """Subtracted from each RGB channel, in units of 0..1."""
    std: tuple[float, float, float]
    """Divides each RGB channel afterwards."""
    source: str
    """Where the weights come from."""
    license: str
    """Licence of the weights (SPDX)."""
    onnx_sha256: str
    """Hash of `encoder.onnx`, 64 hexadecimal digits."""
    gallery_views: tuple[View, ...] = ()
    """Views of a photo that goes into a gallery, where time is cheap; empty: `views`."""


def check_pixels(photos: Sequence[NDArray[np.uint8]]) -> None:
    """Refuse what no encoder takes.

    Args:
        photos: B photos, each of shape (H, W, 3), uint8; sizes may differ.

    Raises:
        InputError: A photo has another shape or type, or no pixel.
    """
    for row, pixels in enumerate(photos):
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise InputError(
                f"photo {row} has shape {pixels.shape} and type {pixels.dtype}; give (H, W, 3) of uint8"
            )


class Encoder:
    """A frozen image encoder; made by `Encoder.load`."""

    def __init__(self, config: EncoderConfig, session: Any) -> None:
        self.config = config
        self._session = session
        self._mean = np.asarray(config.mean, dtype=np.float32) * 255
        self._scale = 1 / (np.asarray(config.std, dtype=np.float32) * 255)

    @classmethod
    def load(cls, folder: str | Path, *, num_threads: int | None = None) -> "Encoder":
        """Load an encoder folder.

        Args:
            folder: Folder with `encoder.json` and `encoder.onnx`.
            num_threads: CPU threads of the network; None takes one for each CPU this process may use.

        Returns:
            The encoder.

        Raises:
            ArtifactError: A file is missing or damaged, has an unknown entry, or is of a newer format.
            InputError: `num_threads` is less than 1.
        """
        if num_threads is not None and num_threads < 1:
            raise InputError(f"num_threads is {num_threads}; give a whole number of at least 1")
        folder = Path(folder)
        config = _read_config(folder / "encoder.json")
        weights = _read_bytes(folder / "encoder.onnx")
        return cls(config, _session(weights, folder / "encoder.onnx", config, num_threads))

    @property
    def name(self) -> str:
        """Name of the encoder."""
        return self.config.name

    @property
    def dim(self) -> int:
        """Length D of the vectors."""
        return self.config.dim

    @property
    def min_side(self) -> int:
        """Shorter side in pixels below which the encoder would miss detail; for `images.read`."""
        return max(view.side for view in (*self.config.views, *self.config.gallery_views))

    @property
    def dtype(self) -> str:
        """What it computes in: "float32"."""
        return "float32"

    @property
    def source(self) -> str:
        """Where the weights come from."""
        return self.config.source

    @property
    def license(self) -> str:
        """Licence of the weights (SPDX)."""
        return self.config.license

    def embed(self, photos: Sequence[NDArray[np.uint8]], *, for_gallery: bool = False) -> NDArray[np.float32]:
        """Embed photos; a photo's vector does not depend on the others in the call.

        Args:
            photos: B photos as upright RGB, each of shape (H, W, 3), uint8; sizes may differ.
            for_gallery: Whether to average over `gallery_views`, slower and a little better to be found by.

        Returns:
            Unit vectors, shape (B, D), float32.

        Raises:
            InputError: A photo has another shape or type.
            ArtifactError: The network fails, or gives something else than vectors.
        """
        vectors = self.project(photos, for_gallery=for_gallery)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(norms, np.finfo(np.float32).tiny)
        return vectors

    def project(
        self, photos: Sequence[NDArray[np.uint8]], *, for_gallery: bool = False
    ) -> NDArray[np.float32]:
        """Average the network's output over the views, without normalising: what a projection is fitted on.

        Args:
            photos: B photos as upright RGB, each of shape (H, W, 3), uint8; sizes may differ.
            for_gallery: Whether to average over `gallery_views`, slower and a little better to be found by.

        Returns:
            Vectors, shape (B, D), float32.

        Raises:
            InputError: A photo has another shape or type.
            ArtifactError: The network fails, or gives something else than vectors.
        """
        check_pixels(photos)
        total = np.zeros((len(photos), self.dim), dtype=np.float32)
        views = (for_gallery and self.config.gallery_views) or self.config.views
        for start in range(0, len(photos), MAX_BATCH):
            batch = photos[start : start + MAX_BATCH]
            known: dict[object, NDArray[np.float32]] = {}
            for view in views:
                total[start : start + MAX_BATCH] += self._project_view(view, batch, known)
        return total / np.float32(len(views))

    def _project_view(
        self, view: View, photos: Sequence[NDArray[np.uint8]], known: dict[object, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Outputs for one view of a batch, shape (B, D), not normalised.

        `known` gets the output of each photo and geometry: "squash" and "area" of a square photo are one.
        """
        keys = [
            (row, view.flip, view.geometry(pixels.shape[1], pixels.shape[0]))
            for row, pixels in enumerate(photos)
        ]
        images = {key: view.apply(photos[key[0]]) for key in keys if key not in known}
        for shape in sorted({image.shape for image in images.values()}):  # photos of one shape go together
            together = [key for key, image in images.items() if image.shape == shape]
            batch: NDArray[np.float32] = np.stack([images[key] for key in together]) - self._mean
            batch *= self._scale
            known.update(zip(together, self._run(batch.transpose(0, 3, 1, 2)), strict=True))
        return np.stack([known[key] for key in keys])

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs of the network for a batch of shape (B, 3, H', W'), shape (B, D).

        Raises:
            ArtifactError: It fails, or gives something else.
        """
        try:
            vectors: NDArray[np.float32] = self._session.run(
                ["vector"], {"pixels": np.ascontiguousarray(batch)}
            )[0]
        except Exception as error:  # whatever its operators raise
            reason = reason_of(error)
            raise ArtifactError(
                f"the network of the encoder {self.name} fails ({reason}); install the model again"
            ) from error
        if vectors.shape != (len(batch), self.dim) or not np.isfinite(vectors).all():
            raise ArtifactError(
                f"the network of the encoder {self.name} gives no vectors of {self.dim} finite numbers; "
                "install the model again"
            )
        return vectors


def _read_bytes(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_ONNX_BYTES)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ArtifactError:
    reason = getattr(error, "strerror", None) or error
    return ArtifactError(
        f"{path} cannot be read ({reason}); an encoder folder has encoder.json and encoder.onnx: "
        "install the model again"
    )


def _read_config(path: Path) -> EncoderConfig:
    try:
        entries = read_json(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise ArtifactError(f"{path} is not valid JSON ({error}); install the model again") from error
    if not isinstance(entries, dict) or "format_version" not in entries:
        raise ArtifactError(f"{path} has no format_version; it is not the description of an encoder")
    if entries["format_version"] != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format_version {entries['format_version']!r}, this geotoken reads {FORMAT_VERSION}; "
            "update geotoken or take a model of its time"
        )
    _check_keys(path, "", entries, EncoderConfig)
    try:
        views, gallery_views = (_views(path, entries.get(name, ())) for name in ("views", "gallery_views"))
        config = EncoderConfig(
            **{
                **entries,
                "views": views,
                "gallery_views": gallery_views,
                "mean": _channels(entries["mean"]),
                "std": _channels(entries["std"]),
            }
        )
        for number in (config.dim, *(view.side for view in (*views, *gallery_views))):
            operator.index(number)  # TypeError unless it is whole
    except (TypeError, ValueError, OverflowError) as error:
        raise ArtifactError(
            f"{path} has an entry of the wrong type ({error}); install the model again"
        ) from error
    in_range = all(map(math.isfinite, (*config.mean, *config.std))) and min(config.std) > 0
    if not views or not in_range or config.dim < 1:
        raise ArtifactError(
            f"{path} needs at least one view, finite mean, std > 0 and dim >= 1; install the model again"
        )
    return config


def _views(path: Path, entries: Sequence[dict[str, Any]]) -> tuple[View, ...]:
    for view in entries:
        _check_keys(path, "views: ", view, View)
    return tuple(View(**view) for view in entries)


def _check_keys(path: Path, where: str, entries: dict[str, Any], kind: type) -> None:
    """Compare entries with the fields of the dataclass `kind`.

    Raises:
        ArtifactError: An entry is unknown or missing.
    """
    known = {field.name: field.default is MISSING for field in fields(kind)}
    unknown = sorted(set(entries) - set(known))
    missing = [name for name, required in known.items() if required and name not in entries]
    for problem, names in (("unknown", unknown), ("missing", missing)):
        if names:
            raise ArtifactError(
                f"{path}: {where}{problem} {', '.join(map(str, names))}; the entries are {', '.join(known)}"
            )


def _channels(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _session(weights: bytes, path: Path, config: EncoderConfig, num_threads: int | None) -> Any:
    """Open a network on the CPU.

    Raises:
        ArtifactError: It is not the network that `config` describes.
    """
    if hashlib.sha256(weights).hexdigest() != config.onnx_sha256:
        raise ArtifactError(
            f"{path} is not the file that encoder.json describes (sha256); install the model again"
        )
    session = open_graph(path, num_threads, "install the model again", content=weights)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if (
        [i.name for i in inputs] != ["pixels"]
        or [o.name for o in outputs] != ["vector"]
        or outputs[0].shape[-1:] != [config.dim]
    ):
        raise ArtifactError(
            f"{path} must have one input `pixels` and one output `vector` of {config.dim} numbers a photo; "
            "install the model again"
        )
    return session
