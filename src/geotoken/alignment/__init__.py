"""One space for photos, places and their names: what stage 1 of training learns, and its use.

Owns the aligned vectors; PyTorch is needed only in `geotoken.alignment.network`.
"""

from geotoken.alignment.config import AlignmentConfig
from geotoken.alignment.runtime import Alignment

__all__ = ["Alignment", "AlignmentConfig"]
