"""The photo as it is sent: upright pixels of a chosen size, and nothing else of the file.

Owns its size and format; must not know requests.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from geotoken.images.read import read

_QUALITY: Final = 85


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo ready to be sent."""

    jpeg: bytes
    """Upright JPEG without metadata."""
    sha256: str
    """Hash of the photo's file, 64 hexadecimal digits; it is not sent."""
    num_pixels: int
    """Width times height of the JPEG."""


def picture(path: str, side: int) -> Picture:
    """Make the picture of a photo that is sent.

    Args:
        path: The photo's file.
        side: Longest side in pixels at most; a smaller photo keeps its size.

    Returns:
        The picture.

    Raises:
        ImageError: If the photo cannot be read (any more).
    """
    from PIL import Image

    photo = read(Path(path), min_side=side)
    image = Image.fromarray(photo.pixels)
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return Picture(file.getvalue(), photo.sha256, image.width * image.height)
