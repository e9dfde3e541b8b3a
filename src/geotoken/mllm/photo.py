"""The photo as it is sent: upright pixels of a chosen size, and nothing else of the file.

Owns its size and format; must not know requests.
"""

import io
from pathlib import Path
from typing import Final

from geotoken.images.read import read

_QUALITY: Final = 85


def picture(path: str, side: int) -> bytes:
    """Make the picture of a photo that is sent.

    Args:
        path: The photo's file.
        side: Longest side in pixels at most; a smaller photo keeps its size.

    Returns:
        An upright JPEG without metadata.

    Raises:
        ImageError: If the photo cannot be read (any more).
    """
    from PIL import Image

    image = Image.fromarray(read(Path(path), min_side=side).pixels)
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
