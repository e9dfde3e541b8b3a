"""One way to show a photo to the network.

Owns how a photo is cut and resized; must not know what is computed from it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geotoken.errors import ArtifactError

RESIZE_POLICIES = ("squash", "crop", "area")
"""A view squashes a photo to a square, cuts its centre square, or keeps its aspect at a square's area."""

_MULTIPLE = 32  # total stride of the network: the sides of an "area" view are multiples of it
_MAX_ASPECT = 2.0  # beyond this an "area" view squashes, so that a panorama costs no more than a photo


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One way to show a photo to the network; a photo's vector is the mean over its views, normalised."""

    side: int
    """Side of the square view in pixels, or of the square of equal area."""
    resize: str
    """One of `RESIZE_POLICIES`."""
    flip: bool = False
    """Whether the view is mirrored left to right."""

    def __post_init__(self) -> None:
        if self.resize not in RESIZE_POLICIES:
            raise ArtifactError(
                f"encoder view has resize = {self.resize!r}; known: {', '.join(RESIZE_POLICIES)}"
            )
        if not 32 <= self.side <= 1024:
            raise ArtifactError(f"encoder view has side = {self.side}; allowed: 32 to 1024")

    def geometry(self, width: int, height: int) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
        """What the view takes of a photo; views of one geometry and flip are one and the same.

        Args:
            width: Of the photo, in pixels.
            height: Of the photo, in pixels.

        Returns:
            Width and height of the view, and the box of the photo it shows: left, top, right, bottom.
        """
        box = (0.0, 0.0, float(width), float(height))
        size = (self.side, self.side)
        if self.resize == "crop":
            short = min(width, height)
            left, top = (width - short) / 2, (height - short) / 2
            box = (left, top, left + short, top + short)
        elif self.resize == "area":
            stretch = float(np.clip(width / height, 1 / _MAX_ASPECT, _MAX_ASPECT)) ** 0.5
            size = (self._whole(stretch), self._whole(1 / stretch))
        return size, box

    def _whole(self, factor: float) -> int:
        """A side that the network's stride divides, in pixels."""
        return max(1, round(self.side * factor / _MULTIPLE)) * _MULTIPLE

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize a photo to this view.

        Args:
            pixels: RGB, shape (H, W, 3), uint8.

        Returns:
            RGB, shape (H', W', 3), uint8; H' = W' = side unless `resize` is "area".
        """
        height, width = pixels.shape[:2]
        size, box = self.geometry(width, height)
        view = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)
        return np.asarray(view)[:, ::-1] if self.flip else np.asarray(view)
