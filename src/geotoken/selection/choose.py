"""One answer from the candidates and the posterior.

Owns the list of selection methods; must not know the decoder or the model behind them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geotoken.decoding import Candidates, Posterior
from geotoken.errors import InputError
from geotoken.geo import check_lat_lng, haversine_km
from geotoken.regions import Region
from geotoken.selection.mbr import maximize
from geotoken.selection.utility import Utility, mixed_thresholds

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The answer for one photo; it need not be the center of a leaf."""

    lat: float
    """Latitude in degrees."""
    lng: float
    """Longitude in degrees."""
    candidate: int | None = None
    """Row of the answer among the candidates; None if it is none of them."""
    expected_utility: float | None = None
    """Expected utility under the posterior; None unless the method is mbr."""


@dataclass(frozen=True, slots=True)
class _Task:
    """All that a method may look at."""

    candidates: Candidates
    posterior: Posterior | None
    utility: Utility
    extra: tuple[Floats, Floats]
    region: Region | None
    scores: Floats | None


def select(
    method: str,
    candidates: Candidates,
    posterior: Posterior | None = None,
    *,
    utility: Utility = mixed_thresholds,
    extra: tuple[ArrayLike, ArrayLike] | None = None,
    region: Region | None = None,
    scores: Floats | None = None,
) -> Selected:
    """Choose the answer for one photo.

    - `log_prob`: the likeliest candidate.
    - `medoid`: the candidate of the least mean distance to all, each weighted as the sample of the posterior
      that it is: by how often it was drawn, or by its probability where the decoder does not draw.
    - `mbr`: the point of the highest expected utility under the whole posterior, found among the
      candidates, the peaks of the posterior at several scales, and `extra`.
    - those of `SCORED`: the candidate of the highest score; of equal ones the likeliest.

    Args:
        method: One of `METHODS`.
        candidates: Finished hypotheses, C of them, likeliest first.
        posterior: The posterior of the photo; needed by mbr only.
        utility: What mbr maximises the expectation of.
        extra: Latitudes and longitudes in degrees, each of shape (N,), that mbr may also answer with, such
            as those of the neighbors.
        region: Where mbr must answer; candidates and posterior must lie in it already. Anywhere if None.
        scores: How good each candidate is, shape (C,); needed by the methods of `SCORED` only.

    Returns:
        The answer.

    Raises:
        InputError: The method is unknown, mbr was given no posterior or a method of `SCORED` no scores, or an
            extra point is out of range.
    """
    if method not in METHODS:
        raise InputError(f"select (--select) is {method!r}; choose one of {', '.join(METHODS)}")
    points = check_lat_lng(*((), ()) if extra is None else extra)
    if region is not None:
        inside = region.contains(*points)
        points = (points[0][inside], points[1][inside])
    if method in SCORED and (scores is None or np.shape(scores) != candidates.lat.shape):
        raise InputError(f"select (--select) {method!r} needs scores; give one for each candidate")
    return _CHOOSE[method](_Task(candidates, posterior, utility, points, region, scores))


def _log_prob(task: _Task) -> Selected:
    return _candidate(task.candidates, int(np.argmax(task.candidates.log_prob)))


def _medoid(task: _Task) -> Selected:
    candidates = task.candidates
    if candidates.num_samples is not None:
        weights = candidates.num_samples.astype(np.float64)
    else:
        weights = np.exp(candidates.log_prob - candidates.log_prob.max())
    lat, lng = candidates.lat, candidates.lng
    distance_km = haversine_km(lat[:, None], lng[:, None], lat[None, :], lng[None, :])  # (C, C)
    return _candidate(candidates, int(np.argmin(distance_km @ weights)))


def _scored(task: _Task) -> Selected:
    candidates, scores = task.candidates, task.scores
    assert scores is not None  # checked by `select`
    return _candidate(candidates, int(np.lexsort((-candidates.log_prob, -scores))[0]))


def _mbr(task: _Task) -> Selected:
    if task.posterior is None:
        raise InputError(
            "select (--select) 'mbr' needs the posterior; give it, or select 'log_prob' or 'medoid'"
        )
    candidates = task.candidates
    lat = np.concatenate([candidates.lat, task.extra[0]])
    lng = np.concatenate([candidates.lng, task.extra[1]])
    best = maximize(task.posterior, task.utility, lat, lng, task.region)
    return Selected(
        lat=best.lat,
        lng=best.lng,
        candidate=best.row if 0 <= best.row < len(candidates.lat) else None,
        expected_utility=best.expected_utility,
    )


def _candidate(candidates: Candidates, row: int) -> Selected:
    return Selected(lat=float(candidates.lat[row]), lng=float(candidates.lng[row]), candidate=row)


SCORED = ("similarity", "reward")
"""Methods that need scores of the candidates, which a trained part of the model gives."""

_CHOOSE: dict[str, Callable[[_Task], Selected]] = {
    "log_prob": _log_prob,
    "medoid": _medoid,
    "mbr": _mbr,
    **dict.fromkeys(SCORED, _scored),
}

METHODS = tuple(_CHOOSE)
"""Names of the selection methods."""
