"""Selection of one answer from what decoding found.

Owns the methods and the utilities they serve; must not know models, images or output formats.
"""

from geotoken.selection.choose import METHODS, SCORED, Selected, select
from geotoken.selection.utility import Utility, geoscore, mixed_thresholds, weighted_thresholds, within_km

__all__ = [
    "METHODS",
    "SCORED",
    "Selected",
    "Utility",
    "geoscore",
    "mixed_thresholds",
    "select",
    "weighted_thresholds",
    "within_km",
]
