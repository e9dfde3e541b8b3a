"""What simple rules make of the same evidence, to stand beside a model.

Owns the rules; must not know models.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.evaluate.records import Row, failed_row
from geotoken.evaluate.run import Case
from geotoken.evidence import Evidence
from geotoken.geo import haversine_km

Floats = NDArray[np.float64]
Point = tuple[float, float]

VOTE_SCALES_KM: Final = (1, 25, 200, 750, 2500)
"""Scales of the kernels of the vote, of equal weight."""


GUESS_SHARE: Final = 0.3
"""Weight of a guess in the vote, beside 1 for all neighbors together."""


def vote(lat: Floats, lng: Floats) -> int:
    """The neighbor with the most weighted kernel votes of all neighbors, itself among them.

    Args:
        lat: Latitude of each neighbor in degrees, best first, shape (K,); K > 0.
        lng: Longitude of each in degrees, shape (K,).

    Returns:
        Its position; neighbor j votes with 1/sqrt(rank) times the sum of exp(-distance / scale).
    """
    return _most_voted(lat, lng, 1 / np.sqrt(np.arange(1, len(lat) + 1)))


def vote_with_guess(evidence: Evidence) -> Point:
    """The neighbor or guess with the most weighted kernel votes.

    Args:
        evidence: At least one neighbor; its first guess, if any, votes with `GUESS_SHARE`.

    Returns:
        Latitude and longitude in degrees. Neighbors vote as in `vote`, with a total weight of 1.
    """
    lat = np.concatenate([evidence.neighbor_lat, evidence.guess_lat[:1]])
    lng = np.concatenate([evidence.neighbor_lng, evidence.guess_lng[:1]])
    weight = 1 / np.sqrt(np.arange(1, len(evidence.neighbor_lat) + 1))
    weight = np.append(weight / weight.sum(), np.full(len(evidence.guess_lat[:1]), GUESS_SHARE))
    best = _most_voted(lat, lng, weight)
    return float(lat[best]), float(lng[best])


def _most_voted(lat: Floats, lng: Floats, weight: Floats) -> int:
    """The point with the most votes of all, each of a weight."""
    distance_km = haversine_km(lat[:, None], lng[:, None], lat[None], lng[None])
    return int(np.argmax(sum(np.exp(-distance_km / scale) @ weight for scale in VOTE_SCALES_KM)))


def baseline_rows(cases: Sequence[Case]) -> dict[str, list[Row]]:
    """Predictions of every rule that the evidence allows.

    Args:
        cases: Photos with evidence.

    Returns:
        Rows of `nearest_neighbor`, `five_scale_vote` and, if any photo has a guess, `guess` and
        `five_scale_vote_with_guess`, by name. A photo that lacks what a rule needs is one that failed.
    """
    rules: dict[str, Callable[[Evidence], Point | None]] = {
        "nearest_neighbor": _nearest,
        "five_scale_vote": _voted,
    }
    if any(case.evidence is not None and len(case.evidence.guess_lat) for case in cases):
        rules |= {"guess": _guessed, "five_scale_vote_with_guess": _voted_with_guess}
    return {name: [_row(case, rule) for case in cases] for name, rule in rules.items()}


def _row(case: Case, rule: Callable[[Evidence], Point | None]) -> Row:
    known = case.image, case.owner, case.lat, case.lng
    point = None if case.evidence is None else rule(case.evidence)
    if point is None:
        return failed_row(*known, "the evidence for this rule is missing")
    return {**failed_row(*known, ""), "status": "ok", "error": None, "lat": point[0], "lng": point[1]}


def _nearest(evidence: Evidence) -> Point | None:
    return _neighbor(evidence, 0) if len(evidence.neighbor_lat) else None


def _voted(evidence: Evidence) -> Point | None:
    if not len(evidence.neighbor_lat):
        return None
    return _neighbor(evidence, vote(evidence.neighbor_lat, evidence.neighbor_lng))


def _voted_with_guess(evidence: Evidence) -> Point | None:
    return vote_with_guess(evidence) if len(evidence.neighbor_lat) else None


def _guessed(evidence: Evidence) -> Point | None:
    if not len(evidence.guess_lat):
        return None
    return float(evidence.guess_lat[0]), float(evidence.guess_lng[0])


def _neighbor(evidence: Evidence, row: int) -> Point:
    return float(evidence.neighbor_lat[row]), float(evidence.neighbor_lng[row])
