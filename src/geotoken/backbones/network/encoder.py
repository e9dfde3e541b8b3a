"""A backbone as an encoder: photos in, unit vectors out, in batches, on a processor or a GPU.

Owns a backbone folder's format and its arithmetic; must not know files of photos, galleries or places.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from geotoken.alignment.network.head import ProjectionHead
from geotoken.backbones.catalog import PREPROCESSING_NAME
from geotoken.backbones.load import BACKBONE_FORMAT, ENCODER_NAME, check_files, weight_files
from geotoken.backbones.network.tower import Tower
from geotoken.backbones.preprocess import Preprocessing
from geotoken.errors import ArtifactError, InputError
from geotoken.files import read_json
from geotoken.hub import origin
from geotoken.images.embed import check_pixels

HEAD_NAME: Final = "head.safetensors"
"""A projection after the backbone, if a folder has one."""

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What a backbone computes in."""

BATCH_SIZE: Final = {"cpu": 8, "cuda": 64}
"""Photos in one pass unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig:
    """Content of `encoder.json` in a folder that holds a backbone."""

    format_version: int = BACKBONE_FORMAT
    """Version of the folder format."""
    name: str
    """Name of the encoder, with a hash of its weights; galleries and feature stores record it."""
    dim: int
    """Length D of the vectors."""
    source: str
    """Where the weights come from."""
    license: str
    """Licence of the weights."""
    sha256: str
    """Hash of all weights in the order of `hash_weights`, 64 hexadecimal digits."""


class BackboneEncoder:
    """A backbone, and perhaps a head, as an encoder; made by `BackboneEncoder.load`."""

    def __init__(
        self,
        config: BackboneConfig,
        tower: Tower,
        preprocessing: Preprocessing,
        *,
        head: ProjectionHead | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.config = config
        self._tower = tower
        self._preprocessing = preprocessing
        self._head = None if head is None else head.eval().to(tower.device)
        self._batch_size = batch_size or BATCH_SIZE.get(tower.device.type, BATCH_SIZE["cuda"])

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int | None = None,
        num_threads: int | None = None,
    ) -> "BackboneEncoder":
        """Load a folder in the hub's format, with or without an `encoder.json` and a head.

        Args:
            folder: Folder with `config.json`, `preprocessor_config.json` and `model.safetensors`.
            device: Such as "cpu" or "cuda:1"; a GPU if there is one when None.
            dtype: One of `DTYPES`; when None, bfloat16 on a GPU and float32 elsewhere. Heads are float32.
            batch_size: Photos in one pass; see `BATCH_SIZE`.
            num_threads: CPU threads, of the whole process; all when None.

        Returns:
            The encoder.

        Raises:
            ArtifactError: A file is missing or damaged, or it is no image model that can be used.
            InputError: An option is out of range.
        """
        for name, value in (("batch_size", batch_size), ("num_threads", num_threads)):
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; give a whole number of at least 1")
        if dtype is not None and dtype not in DTYPES:
            raise InputError(f"dtype is {dtype!r}; choose one of {', '.join(DTYPES)}")
        where = _device(device)
        if num_threads is not None:
            torch.set_num_threads(num_threads)
        root = check_files(Path(folder))
        preprocessing = Preprocessing.load(root / PREPROCESSING_NAME)
        kind = DTYPES[dtype] if dtype else torch.float32 if where.type == "cpu" else torch.bfloat16
        tower = Tower.load(root, device=where, dtype=kind)
        tower.check_size(preprocessing.out_size)
        head = ProjectionHead.load(root / HEAD_NAME) if (root / HEAD_NAME).is_file() else None
        if head is not None and head.widths[0] != tower.dim:
            raise ArtifactError(
                f"{root / HEAD_NAME} takes vectors of {head.widths[0]} numbers, but the backbone gives "
                f"{tower.dim}; take the backbone it was trained on"
            )
        config = _config(root, tower.dim if head is None else head.widths[-1])
        return cls(config, tower, preprocessing, head=head, batch_size=batch_size)

    @property
    def name(self) -> str:
        """Name of the encoder."""
        return self.config.name

    @property
    def dim(self) -> int:
        """Length D of the vectors."""
        return self.config.dim

    @property
    def dtype(self) -> str:
        """What the network computes in: one of `DTYPES`."""
        return self._tower.dtype

    @property
    def source(self) -> str:
        """Where the weights come from."""
        return self.config.source

    @property
    def license(self) -> str:
        """Licence of the weights."""
        return self.config.license

    @property
    def min_side(self) -> int:
        """Shorter side in pixels below which detail would be missed; for `images.read`.

        Twice the side of the network's view: `read` averages whole pixels down to no less than that, and what
        the filter of the preprocessing then sees is close to the photo in full.
        """
        return 2 * max(self._preprocessing.size)

    def embed(self, photos: Sequence[NDArray[np.uint8]], *, for_gallery: bool = False) -> NDArray[np.float32]:
        """Embed photos; a photo's vector depends on the others in the call by rounding only.

        Args:
            photos: B photos as upright RGB, each of shape (H, W, 3), uint8; sizes may differ.
            for_gallery: Has no effect; the bundled encoder looks longer at photos of a gallery.

        Returns:
            Unit vectors, shape (B, D), float32.

        Raises:
            InputError: A photo has another shape or type.
        """
        check_pixels(photos)
        vectors = np.empty((len(photos), self.dim), dtype=np.float32)
        for start in range(0, len(photos), self._batch_size):
            batch = photos[start : start + self._batch_size]
            views = np.stack([self._preprocessing.apply(pixels) for pixels in batch])
            vectors[start : start + len(batch)] = self._forward(torch.from_numpy(views)).cpu().numpy()
        return vectors

    @torch.inference_mode()
    def _forward(self, views: torch.Tensor) -> torch.Tensor:
        """Unit vectors, shape (B, D), float32."""
        vectors = self._tower(views).float()
        if self._head is not None:
            vectors = self._head(vectors)
        return normalize(vectors, dim=1)


def write_encoder(folder: Path, *, source: str, license_name: str, label: str) -> BackboneConfig:
    """Write `encoder.json` into a folder that has all its other files.

    Args:
        folder: Folder in the hub's format, perhaps with a head.
        source: Where the weights come from.
        license_name: Their licence.
        label: What the name of the encoder begins with.

    Returns:
        What was written.

    Raises:
        ArtifactError: The folder is not a backbone.
    """
    encoder = BackboneEncoder.load(folder, device="cpu")
    digest = encoder.config.sha256
    config = BackboneConfig(
        name=f"{label}-{digest[:8]}",
        dim=encoder.dim,
        source=source,
        license=license_name,
        sha256=digest,
    )
    (folder / ENCODER_NAME).write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
    return config


def hash_weights(folder: Path) -> str:
    """Hash all weights of a backbone and its head: the sha256 of the files' own, one after the other.

    Args:
        folder: The folder.

    Returns:
        64 hexadecimal digits.
    """
    head = folder / HEAD_NAME
    total = hashlib.sha256()
    for path in [*weight_files(folder), *([head] if head.is_file() else [])]:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _config(root: Path, dim: int) -> BackboneConfig:
    """What the folder says about itself, or what can be said of a bare one.

    Raises:
        ArtifactError: What it says cannot be used, or is about other weights.
    """
    path, digest = root / ENCODER_NAME, hash_weights(root)
    if not path.is_file():
        hub_id = origin(root)
        label = hub_id.repo_id.split("/")[1] if hub_id else root.resolve().name
        source = f"{hub_id} on the hub" if hub_id else "a local folder"
        return BackboneConfig(
            name=f"{label}-{digest[:8]}", dim=dim, source=source, license="see the backbone", sha256=digest
        )
    try:
        entries = read_json(path)
        config = BackboneConfig(**entries)
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{path} cannot be used ({error}); install the model again") from error
    if unlike := [f.name for f in fields(config) if type(getattr(config, f.name)) is not f.type]:
        raise ArtifactError(f"{path}: {unlike[0]} is of the wrong type; install the model again")
    if config.format_version != BACKBONE_FORMAT or config.dim != dim or config.sha256 != digest:
        raise ArtifactError(
            f"{path} does not describe the weights beside it (format, dim or sha256); install the model again"
        )
    return config


def _device(device: str | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        where = torch.device(device)
        torch.empty(1, device=where)
    except (RuntimeError, AssertionError) as error:  # PyTorch asserts that it was built for the device
        reason = str(error).splitlines()[0]
        raise InputError(f"device is {device!r}, which is not here ({reason}); choose cpu or cuda") from error
    return where
