"""A small picture of a photo, without anything but its pixels.

Owns its size and format; must not know pages.
"""

import io
from typing import Final

from geotoken.errors import ImageError
from geotoken.images.read import read

SIDE: Final = 240
"""Longest side of a thumbnail in pixels."""

_QUALITY: Final = 72


def thumbnail(path: str) -> bytes | None:
    """Make the thumbnail of a photo.

    Args:
        path: The photo's file.

    Returns:
        An upright JPEG without metadata, at most `SIDE` pixels wide and high; None if the photo cannot be
        read (any more).
    """
    from PIL import Image

    try:
        pixels = read(path, min_side=SIDE).pixels
    except ImageError:
        return None
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()
