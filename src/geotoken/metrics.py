"""Accuracy and calibration of answers whose truth is known.

Owns the metrics and their names; must not know how answers are found. Pure numpy.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geotoken.geo import haversine_km

Floats = NDArray[np.float64]

THRESHOLDS_KM: Final = (1, 25, 200, 750, 2500)
"""The field's thresholds: street, city, region, country, continent."""


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


def distance_to_truth_km(lat: ArrayLike, lng: ArrayLike, true_lat: ArrayLike, true_lng: ArrayLike) -> Floats:
    """Great-circle distance of each answer to its truth, infinity where the answer is NaN.

    Args:
        lat: Latitudes of the answers in degrees, shape (N,).
        lng: Longitudes of the answers in degrees, shape (N,).
        true_lat: True latitudes in degrees, shape (N,).
        true_lng: True longitudes in degrees, shape (N,).

    Returns:
        Distances in km (haversine, R = 6371.0088 km), shape (N,).
    """
    answered = ~(np.isnan(np.asarray(lat, dtype=np.float64)) | np.isnan(np.asarray(lng, dtype=np.float64)))
    distance_km = np.full(answered.shape, np.inf)
    columns = (np.asarray(values, dtype=np.float64)[answered] for values in (lat, lng, true_lat, true_lng))
    distance_km[answered] = haversine_km(*columns)
    return distance_km


def coverage(credible_level: ArrayLike, probability: float) -> float:
    """Share of truths inside the credible region of a given probability.

    Args:
        credible_level: For each photo the interval (low, high) of probabilities at which the cell of its
            truth enters the region, shape (N, 2); the cell counts with the fraction of it that is inside.
        probability: Mass of the region, in (0, 1).

    Returns:
        Coverage in percent; nominal is 100 * probability.
    """
    levels = np.asarray(credible_level, dtype=np.float64)
    low, high = levels[:, 0], levels[:, 1]
    width = np.maximum(high - low, np.finfo(np.float64).tiny)
    return 100 * float(np.mean(np.clip((probability - low) / width, 0.0, 1.0)))
