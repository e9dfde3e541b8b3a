"""Parts of the Earth that an answer may be limited to: countries, boxes, circles, polygons, unions.

Owns which points and cells lie in a region; must not know tokens, models or decoding.
"""

from geotoken.regions.region import Region
from geotoken.regions.shape import INSIDE, OUTSIDE, PARTIAL, Relations

__all__ = ["INSIDE", "OUTSIDE", "PARTIAL", "Region", "Relations"]
