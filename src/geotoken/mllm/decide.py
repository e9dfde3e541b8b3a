"""From what a multimodal model said to the answer: pool, free and fuse.

Owns what each mode makes of the words; must not know where these came from, a server or a table.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geotoken.evidence import Evidence, guess_evidence
from geotoken.geo import haversine_km
from geotoken.mixture import MixtureModel
from geotoken.pipeline import LocateOptions, Locator
from geotoken.prediction import Opinion, Prediction, Said, remarks


def decide(
    locator: Locator, own: Prediction, opinion: Opinion, options: LocateOptions, weight: float = 1.0
) -> Prediction:
    """Let an opinion decide an answer.

    Args:
        locator: What has located the photo.
        own: Its own answer.
        opinion: What the multimodal model said.
        options: How the photo was located; for fuse, how it is decoded again.
        weight: fuse: trust in all votes together, > 0; 1 is that of a typical good guess.

    Returns:
        The new answer; the own one, with the reason and a remark, where the opinion cannot decide.
    """
    good = [said for said in opinion.answers if said.lat is not None]
    if not good:
        said = next((said.problem for said in opinion.answers if said.problem), "")
        return _stay(own, opinion, opinion.problem or said or "it said nothing")
    if opinion.mode == "fuse":
        return replace(_fuse(locator, own, good, options, weight), opinion=opinion, own=own)
    lat, lng = _agreed(good)
    if own.region is not None and not own.region.contains(lat, lng).all():
        return _stay(own, opinion, "its answer is outside of the region asked for")
    changed = own if (lat, lng) == (own.lat, own.lng) else locator.answer_at(own, lat, lng)
    return replace(changed, opinion=opinion, own=own)


def points(said: Sequence[Said]) -> list[tuple[float, float]]:
    """The places of usable answers.

    Args:
        said: Answers.

    Returns:
        (lat, lng) in degrees of each that has a place.
    """
    return [(one.lat, one.lng) for one in said if one.lat is not None and one.lng is not None]


def _fuse(
    locator: Locator, own: Prediction, said: Sequence[Said], options: LocateOptions, weight: float
) -> Prediction:
    """Decode again with the votes as guesses that share one weight: one model is but one witness.

    Transformers know no weights worth the name, so they are told one vote: that nearest to all others.
    """
    votes = points(said) if isinstance(locator.model, MixtureModel) else [_agreed(said)]
    guesses = guess_evidence([(lat, lng, weight / len(votes)) for lat, lng in votes])
    evidence = Evidence.merge([own.evidence or Evidence(), guesses])
    found = locator.locate_evidence(evidence, replace(options, guesses=(), exclude=None), name=own.image)
    return replace(
        found,
        neighbors=own.neighbors,
        gps=own.gps,
        warnings=remarks(found.lat, found.lng, own.gps, found.region_probability),
    )


def _agreed(said: Sequence[Said]) -> tuple[float, float]:
    """The place of the least mean distance to all votes; of equal ones the first."""
    lat, lng = np.array(points(said)).T
    total_km = haversine_km(lat[:, None], lng[:, None], lat[None, :], lng[None, :]).sum(axis=1)
    best = int(np.argmin(total_km))
    return float(lat[best]), float(lng[best])


def _stay(own: Prediction, opinion: Opinion, problem: str) -> Prediction:
    remark = f"the multimodal model did not decide this answer: {problem}"
    return replace(own, opinion=replace(opinion, problem=problem), own=own, warnings=(*own.warnings, remark))
