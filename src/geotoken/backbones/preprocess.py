"""From a photo to the pixels a backbone was trained on, as its `preprocessor_config.json` says.

Owns reading that file and doing what it says with Pillow and numpy; must not know networks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geotoken.errors import ArtifactError, reason_of
from geotoken.files import read_json

_RESAMPLE = {0, 1, 2, 3, 4, 5}  # the numbers of PIL.Image.Resampling, which the hub's format uses
_REFUSED = ("do_pad", "do_flip_channel_order", "do_reduce_labels", "max_num_patches")
_MAX_SIDE = 2048
_MAX_ASPECT = 4.0  # of what is resized before the centre is cut out; the ends of a panorama are never seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Resize, crop the centre, scale to 0..1, standardise."""

    size: tuple[int, int]
    """Height and width in pixels that a photo is resized to; of its shorter side if `keep_aspect`."""
    keep_aspect: bool
    """Whether the shorter side gets `size` and the longer one follows."""
    crop: tuple[int, int] | None
    """Height and width in pixels of the centre that is kept; all when None."""
    resample: int
    """Filter, a number of `PIL.Image.Resampling`."""
    scale: float
    """What a sample of 0..255 is multiplied with."""
    mean: tuple[float, float, float]
    """Subtracted from each RGB channel afterwards."""
    std: tuple[float, float, float]
    """Divides each RGB channel at last."""

    def __post_init__(self) -> None:
        sides = (*self.size, *(self.crop or ()))
        if not all(isinstance(side, int) and 1 <= side <= _MAX_SIDE for side in sides):
            raise ValueError(f"sides are {sides}; allowed: whole numbers from 1 to {_MAX_SIDE}")
        if self.crop and (self.crop[0] > self.size[0] or self.crop[1] > self.size[1]):
            raise ValueError(f"the crop {self.crop} is larger than the size {self.size}")
        if self.keep_aspect and not self.crop:
            raise ValueError("it keeps the aspect but crops nothing, so photos would differ in shape")
        if self.resample not in _RESAMPLE or self.scale <= 0 or min(self.std) <= 0:
            raise ValueError("resample, rescale_factor or image_std is out of range")

    @classmethod
    def load(cls, path: Path) -> "Preprocessing":
        """Read a `preprocessor_config.json` of an image model.

        Args:
            path: The file.

        Returns:
            What it says.

        Raises:
            ArtifactError: It is missing, is not valid, or asks for something that is not done here.
        """
        try:
            entries = read_json(path)
            size, keep_aspect = _size(entries)
            return cls(
                size=size,
                keep_aspect=keep_aspect,
                crop=_height_width(entries["crop_size"]) if _crops(entries) else None,
                resample=int(entries["resample"]),
                scale=float(entries.get("rescale_factor", 1 / 255)) if _does(entries, "do_rescale") else 1.0,
                mean=_channels(entries["image_mean"]) if _does(entries, "do_normalize") else (0.0, 0.0, 0.0),
                std=_channels(entries["image_std"]) if _does(entries, "do_normalize") else (1.0, 1.0, 1.0),
            )
        except KeyError as error:
            raise ArtifactError(f"{path} lacks {error}; take a backbone from its authors") from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            reason = getattr(error, "strerror", None) or reason_of(error)
            raise ArtifactError(
                f"{path} cannot be used ({reason}); give a folder of an image model in the hub's format"
            ) from error

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width in pixels of what `apply` returns."""
        return self.crop or self.size

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Prepare one photo.

        Args:
            pixels: Upright RGB, shape (H, W, 3), uint8.

        Returns:
            Standardised channels, shape (3, H', W'), float32.
        """
        if self.keep_aspect:
            pixels = _center(pixels, *(round(_MAX_ASPECT * min(pixels.shape[:2])),) * 2)
        height, width = self._resized(*pixels.shape[:2])
        photo = Image.fromarray(pixels).resize((width, height), Image.Resampling(self.resample))
        view = np.asarray(photo)
        if self.crop:
            view = _center(view, *self.crop)
        channels = view.astype(np.float32) * np.float32(self.scale)
        channels -= np.asarray(self.mean, np.float32)
        channels /= np.asarray(self.std, np.float32)
        return np.ascontiguousarray(channels.transpose(2, 0, 1))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if not self.keep_aspect:
            return self.size
        short, long = sorted((height, width))
        longer = int(self.size[0] * long / short)
        return (self.size[0], longer) if height <= width else (longer, self.size[0])


def _center(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The centre of a photo, no larger than asked for."""
    top = max(0, (pixels.shape[0] - height) // 2)
    left = max(0, (pixels.shape[1] - width) // 2)
    return pixels[top : top + height, left : left + width]


def _size(entries: Mapping[str, Any]) -> tuple[tuple[int, int], bool]:
    """Size, and whether it is that of the shorter side; an older format has one number for both.

    Raises:
        ValueError: Photos are prepared in a way that is not known here.
    """
    refused = [name for name in _REFUSED if entries.get(name)]
    if refused:
        raise ValueError(f"{refused[0]} is not supported")
    if not _does(entries, "do_resize"):
        raise ValueError("do_resize is off, so photos would differ in shape")
    size = entries["size"]
    if isinstance(size, dict) and "shortest_edge" in size:
        if len(size) > 1:
            raise ValueError(f"size {size} is not supported")
        return (size["shortest_edge"], size["shortest_edge"]), True
    if isinstance(size, int):
        return (size, size), _crops(entries)
    return _height_width(size), False


def _crops(entries: Mapping[str, Any]) -> bool:
    return bool(entries.get("do_center_crop", "crop_size" in entries))


def _does(entries: Mapping[str, Any], name: str) -> bool:
    return bool(entries.get(name, True))


def _height_width(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size["height"], size["width"])


def _channels(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue
