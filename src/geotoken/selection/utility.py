"""What an answer is worth when the truth lies at some distance from it.

Owns the utilities that minimum-Bayes-risk selection maximises; must not know posteriors or candidates.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import InputError

Floats = NDArray[np.float64]

Utility = Callable[[Floats], Floats]
"""From distances in km, any shape, to utilities of that shape; must never rise with the distance."""

THRESHOLDS_KM: Final = (1.0, 25.0, 200.0, 750.0, 2500.0)
"""The field's thresholds: street, city, region, country, continent."""


def within_km(radius_km: float) -> Utility:
    """Utility 1 for an answer within a radius of the truth (`<=`), else 0; its expectation is P(d <= r).

    Args:
        radius_km: Great-circle radius in km, > 0.

    Returns:
        The utility.

    Raises:
        InputError: The radius is not greater than 0.
    """
    if not radius_km > 0:
        raise InputError(f"radius_km is {radius_km}; give a radius greater than 0 km")

    def utility(distance_km: Floats) -> Floats:
        return (distance_km <= radius_km).astype(np.float64)

    return utility


def mixed_thresholds(distance_km: Floats) -> Floats:
    """Share of the thresholds 1, 25, 200, 750 and 2500 km that an answer meets.

    Args:
        distance_km: Distances in km, shape (...).

    Returns:
        Utilities in [0, 1], shape (...); the expectation is the mean of P(d <= r) over the thresholds.
    """
    met = np.zeros(distance_km.shape, dtype=np.int8)
    for threshold_km in THRESHOLDS_KM:
        met += distance_km <= threshold_km
    utility: Floats = met / len(THRESHOLDS_KM)
    return utility


def geoscore(distance_km: Floats) -> Floats:
    """GeoScore, the points of a round of GeoGuessr: 5000 exp(-d / 1492.7 km).

    Args:
        distance_km: Distances in km, shape (...).

    Returns:
        Points in (0, 5000], shape (...).

    References:
        Haas et al., "PIGEON: Predicting Image Geolocations" (CVPR 2024); Astruc et al.,
        "OpenStreetView-5M: The Many Roads to Global Visual Geolocation" (CVPR 2024).
    """
    points: Floats = 5000 * np.exp(-distance_km / 1492.7)
    return points
