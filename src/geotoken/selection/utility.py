"""What an answer is worth when the truth lies at some distance from it.

Owns the utilities that minimum-Bayes-risk selection maximises; must not know posteriors or candidates.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken import metrics
from geotoken.errors import InputError
from geotoken.metrics import THRESHOLDS_KM

Floats = NDArray[np.float64]

Utility = Callable[[Floats], Floats]
"""From distances in km, any shape, to utilities of that shape; must never rise with the distance."""


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
    return partial(_within, radius_km)


def weighted_thresholds(weights: Sequence[float]) -> Utility:
    """Utility of meeting the thresholds 1, 25, 200, 750 and 2500 km, each worth its weight.

    Args:
        weights: Weight of each threshold, length 5, not negative, not all 0; only their ratios matter.

    Returns:
        The utility, in [0, 1]; its expectation is the weighted mean of P(d <= r) over the thresholds.

    Raises:
        InputError: There are not five weights, one is negative or not finite, or all are 0.
    """
    values = np.asarray(weights, dtype=np.float64)
    if (
        values.shape != (len(THRESHOLDS_KM),)
        or not np.isfinite(values).all()
        or not values.max() > 0 <= values.min()
    ):
        raise InputError(
            f"the weights of the thresholds are {list(weights)}; give {len(THRESHOLDS_KM)} numbers, none "
            "negative and not all 0"
        )
    # Thresholds are nested: the number met says which, namely the widest ones.
    worth = np.concatenate([[0.0], np.cumsum(values[::-1])]) / values.sum()
    return partial(_weighted, worth)


def parse_utility(text: str) -> Utility:
    """Read the value of `--utility`.

    Args:
        text: "thresholds", "geoscore", "within=KM", or the weights of the five thresholds, as "6,20,3,1,1".

    Returns:
        The utility; it can be sent to another process, as all of this module can.

    Raises:
        InputError: If it is none of these.
    """
    named = {"thresholds": mixed_thresholds, "geoscore": geoscore}
    if text in named:
        return named[text]
    try:
        if text.startswith("within="):
            return within_km(float(text.removeprefix("within=")))
        return weighted_thresholds([float(part) for part in text.split(",")])
    except ValueError:
        raise InputError(
            f"--utility is {text!r}; give thresholds, geoscore, within=KM, or five weights such as 6,20,3,1,1"
        ) from None


def _within(radius_km: float, distance_km: Floats) -> Floats:
    return (distance_km <= radius_km).astype(np.float64)


def _weighted(worth: Floats, distance_km: Floats) -> Floats:
    """Worth of answers at given distances in km, shape (...), as an array of that shape."""
    met = np.zeros(distance_km.shape, dtype=np.int8)
    for threshold_km in THRESHOLDS_KM:
        met += distance_km <= threshold_km
    found: Floats = worth[met]
    return found


mixed_thresholds: Final = weighted_thresholds((1, 1, 1, 1, 1))
"""Share of the thresholds 1, 25, 200, 750 and 2500 km that an answer meets."""


geoscore: Final[Utility] = metrics.geoscore
"""Points of a round of GeoGuessr; see `geotoken.metrics.geoscore`."""
