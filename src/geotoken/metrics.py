"""Accuracy and calibration of answers whose truth is known.

Owns the metrics and their names; must not know how answers are found. Pure numpy.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geotoken.errors import DependencyError, InputError
from geotoken.geo import EARTH_RADIUS_KM, HALF_EARTH_KM, haversine_km

Floats = NDArray[np.float64]

THRESHOLDS_KM: Final = (1, 25, 200, 750, 2500)
"""The field's thresholds: street, city, region, country, continent."""

FARTHEST_KM: Final = HALF_EARTH_KM
"""Half the way around the Earth, 20,015 km: what a photo without an answer adds to a mean of distances."""

SPHERES_KM: Final = {"haversine": EARTH_RADIUS_KM, "haversine-6371": 6371.0, "haversine-6378": 6378.137}
"""Radius in km of the spheres on which the field measures: the mean one, that rounded, the equator's."""
GEODESIC: Final = "geodesic"
"""Distance on the ellipsoid of WGS84; needs the extra `geodesic`."""
FORMULAS: Final = (*SPHERES_KM, GEODESIC)
"""Ways to measure the distance of an answer from its truth."""


def accuracy(distance_km: ArrayLike) -> dict[str, float]:
    """Share of answers within each threshold, and the usual summaries.

    Args:
        distance_km: Great-circle distance of each answer to its truth, shape (N,), >= 0; infinity for a photo
            without an answer, which counts as wrong.

    Returns:
        acc_at_1km to acc_at_2500km in percent (distance <= threshold) and median_error_km.
    """
    distances = np.asarray(distance_km, dtype=np.float64)
    result = {f"acc_at_{r}km": 100 * float(np.mean(distances <= r)) for r in THRESHOLDS_KM}
    return result | {"median_error_km": float(np.median(distances))}


def geoscore(distance_km: Floats) -> Floats:
    """GeoScore, the points of a round of GeoGuessr: 5000 exp(-d / 1492.7 km).

    Args:
        distance_km: Distances in km, shape (...); infinity where there is no answer, which is worth 0.

    Returns:
        Points in [0, 5000], shape (...).

    References:
        Haas et al., "PIGEON: Predicting Image Geolocations" (CVPR 2024); Astruc et al.,
        "OpenStreetView-5M: The Many Roads to Global Visual Geolocation" (CVPR 2024).
    """
    points: Floats = 5000 * np.exp(-distance_km / 1492.7)
    return points


def distance_to_truth_km(
    lat: ArrayLike, lng: ArrayLike, true_lat: ArrayLike, true_lng: ArrayLike, formula: str = "haversine"
) -> Floats:
    """Distance of each answer to its truth, infinity where the answer is NaN.

    Args:
        lat: Latitudes of the answers in degrees, shape (N,).
        lng: Longitudes of the answers in degrees, shape (N,).
        true_lat: True latitudes in degrees, shape (N,).
        true_lng: True longitudes in degrees, shape (N,).
        formula: One of `FORMULAS`; great-circle distance on the mean sphere, R = 6371.0088 km, unless given.

    Returns:
        Distances in km, shape (N,).

    Raises:
        DependencyError: If the formula needs a library that is not installed.
        InputError: If there is no such formula.
    """
    if formula not in FORMULAS:
        raise InputError(f"formula (--distance) is {formula!r}; choose one of {', '.join(FORMULAS)}")
    answered = ~(np.isnan(np.asarray(lat, dtype=np.float64)) | np.isnan(np.asarray(lng, dtype=np.float64)))
    distance_km = np.full(answered.shape, np.inf)
    columns = [np.asarray(values, dtype=np.float64)[answered] for values in (lat, lng, true_lat, true_lng)]
    if formula == GEODESIC:
        distance_km[answered] = _geodesic_km(columns)
    else:
        distance_km[answered] = haversine_km(*columns) * (SPHERES_KM[formula] / EARTH_RADIUS_KM)
    return distance_km


def _geodesic_km(columns: Sequence[Floats]) -> list[float]:
    """Shortest way on the ellipsoid between two points, of their latitudes and longitudes, shape (N,) each.

    Raises:
        DependencyError: If the library is not installed.
    """
    try:
        from geographiclib.geodesic import Geodesic
    except ImportError as error:
        raise DependencyError(
            "the distance 'geodesic' needs geographiclib; install it with: pip install 'geotoken[geodesic]'"
        ) from error
    earth = Geodesic.WGS84
    return [earth.Inverse(*ends, Geodesic.DISTANCE)["s12"] / 1000 for ends in zip(*columns, strict=True)]


def coverage(credible_level: ArrayLike, probability: float) -> float:
    """Share of truths inside the credible region of a given probability.

    Args:
        credible_level: For each photo the interval (low, high) of probabilities at which the cell of its
            truth enters the region, shape (N, 2); the cell counts with the fraction of it that is inside.
        probability: Mass of the region, in (0, 1).

    Returns:
        Coverage in percent; nominal is 100 * probability.
    """
    return 100 * float(np.mean(covered(credible_level, probability)))


def covered(credible_level: ArrayLike, probability: float) -> Floats:
    """How far each truth lies inside the credible region of a given probability.

    Args:
        credible_level: As for `coverage`, shape (N, 2).
        probability: Mass of the region, in (0, 1).

    Returns:
        1 where the cell of the truth is inside, 0 where it is outside, and the fraction of the cell that is
        inside where the region ends in it, shape (N,).
    """
    levels = np.asarray(credible_level, dtype=np.float64)
    low, high = levels[:, 0], levels[:, 1]
    width = np.maximum(high - low, np.finfo(np.float64).tiny)
    inside: Floats = np.clip((probability - low) / width, 0.0, 1.0)
    return inside
