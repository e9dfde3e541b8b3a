"""Where else a photo may have been taken: the likeliest areas apart from the answer.

Owns how areas are told apart; must not know how they are shown.
"""

from typing import Final, NamedTuple

import numpy as np

from geotoken import cells
from geotoken.decoding import Posterior
from geotoken.geo import haversine_km
from geotoken.places import Place, nearest

RADIUS_KM: Final = 200.0
"""An area is a disk of this radius; areas do not overlap."""
MIN_PROBABILITY: Final = 0.005
"""Less likely areas are not listed."""

_AREA_LEVEL, _SPOT_LEVEL, _NUM_CELLS = 6, 10, 60


class Area(NamedTuple):
    """A disk on Earth."""

    lat: float
    """Latitude of its center in degrees: the likeliest spot."""
    lng: float
    """Longitude of its center in degrees."""
    probability: float
    """Probability that the photo was taken in it."""
    place: Place
    """Name of the center."""


def other_areas(posterior: Posterior, lat: float, lng: float, num_areas: int = 4) -> list[Area]:
    """The likeliest areas that overlap neither each other nor the one around the answer.

    Args:
        posterior: The posterior of the photo.
        lat: Latitude of the answer in degrees.
        lng: Longitude of the answer in degrees.
        num_areas: Areas wanted at most.

    Returns:
        Areas of at least `MIN_PROBABILITY`, likeliest first.
    """
    spots = posterior.cut(min(_SPOT_LEVEL, posterior.scheme.level))
    centers = [(lat, lng)]
    for cell_id in posterior.cells(min(_AREA_LEVEL, posterior.scheme.level))[0][:_NUM_CELLS]:
        if len(centers) > num_areas:
            break
        first, last = np.searchsorted(spots.cell_id, [cells.range_min(cell_id), cells.range_max(cell_id)])
        likeliest = first + int(np.argmax(spots.probability[first : max(last, first + 1)]))
        spot_lat, spot_lng = cells.to_lat_lng(spots.cell_id[likeliest])
        taken_lat, taken_lng = np.array(centers).T
        if haversine_km(taken_lat, taken_lng, spot_lat, spot_lng).min() > 2 * RADIUS_KM:
            centers.append((float(spot_lat), float(spot_lng)))
    found = [
        Area(*center, posterior.probability_within_km(*center, RADIUS_KM), nearest(*center)[0])
        for center in centers[1:]
    ]
    likely = [area for area in found if area.probability >= MIN_PROBABILITY]
    return sorted(likely, key=lambda area: -area.probability)
