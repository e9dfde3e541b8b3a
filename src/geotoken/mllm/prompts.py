"""What a multimodal model is told and asked, made of an answer of geotoken and a template of a version.

Owns the questions; must not know how they are sent. Nothing of the file but its pixels, and nothing of who
took it or the neighbors, gets into a prompt.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any, Final

from geotoken.geo import haversine_km
from geotoken.places import nearest
from geotoken.prediction import Prediction
from geotoken.words import distance, place_phrase

VERSION: Final = "v1"
"""Folder of the templates; answers to another version are not those to this one."""

MIN_APART_KM: Final = 1.0
"""A candidate nearer than this to one that is listed is left out: to a reader they are one place."""

_REASON: Final = {"type": "string"}
_NUMBER: Final = {"type": ["number", "null"]}
_PLACE: Final = {"reason": _REASON, "latitude": _NUMBER, "longitude": _NUMBER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about one photo."""

    text: str
    """The prompt."""
    schema: dict[str, Any]
    """JSON schema of the answer."""
    candidates: tuple[tuple[float, float], ...] = ()
    """(lat, lng) in degrees of the candidates that may be chosen, in the order of their numbers."""


def question(mode: str, own: Prediction, top_k: int) -> Question:
    """Ask about a photo that geotoken has located.

    Args:
        mode: One of `geotoken.mllm.options.MODES`.
        own: Geotoken's own answer.
        top_k: Candidates and neighbors told at most, at least 1; the first candidate is the own answer.

    Returns:
        The question.
    """
    if mode == "fuse":  # it must not know what its answer is joined with, or that would count twice
        return Question(text=_template(mode).substitute(), schema=_schema(_PLACE))
    candidates = _candidates(own, top_k)
    told = "\n".join(
        f"{number}. {_point(lat, lng)}, log-probability {log_prob:.1f}, "
        f"radius {distance(own.posterior.radius_km(lat, lng, 0.5))}"
        for number, (lat, lng, log_prob) in enumerate(candidates, start=1)
    )
    if mode == "pool":
        return Question(
            text=_template(mode).substitute(candidates=told),
            schema=_schema({"reason": _REASON, "candidate": {"type": "integer"}}),
            candidates=tuple((lat, lng) for lat, lng, _ in candidates),
        )
    found = own.neighbors
    neighbors = "\n".join(
        f"- {_point(float(found.lat[i]), float(found.lng[i]))}, similarity {found.similarity[i]:.2f}"
        for i in range(min(top_k, len(found)))
    )
    return Question(
        text=_template(mode).substitute(candidates=told, neighbors=neighbors or "- none"),
        schema=_schema(_PLACE),
    )


def _candidates(own: Prediction, top_k: int) -> list[tuple[float, float, float]]:
    """(lat, lng, log-probability): the own answer, then what the decoder found, each apart from the rest."""
    found = own.candidates
    rows = zip(found.lat.tolist(), found.lng.tolist(), found.log_prob.tolist(), strict=True)
    listed: list[tuple[float, float, float]] = []
    for lat, lng, log_prob in ((own.lat, own.lng, own.log_prob), *rows):
        apart = all(float(haversine_km(lat, lng, *one[:2])) >= MIN_APART_KM for one in listed)
        if apart and len(listed) < top_k:
            listed.append((lat, lng, log_prob))
    return listed


def _point(lat: float, lng: float) -> str:
    return f"{lat:.5f}, {lng:.5f}, {place_phrase(nearest(lat, lng)[0])}"


def _schema(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


@cache
def _template(mode: str) -> Template:
    path = files("geotoken.mllm") / "templates" / VERSION / f"{mode}.txt"
    return Template(path.read_text(encoding="utf-8"))
