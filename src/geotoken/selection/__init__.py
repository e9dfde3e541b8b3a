"""Selection of one answer from what decoding found.

Owns the methods and the utilities they serve; must not know models, images or output formats.
"""

from geotoken.selection.choose import METHODS, Selected, select
from geotoken.selection.utility import (
    THRESHOLDS_KM,
    Utility,
    geoscore,
    mixed_thresholds,
    within_km,
)

__all__ = [
    "METHODS",
    "THRESHOLDS_KM",
    "Selected",
    "Utility",
    "geoscore",
    "mixed_thresholds",
    "select",
    "within_km",
]
