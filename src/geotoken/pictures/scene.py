"""What the map of one answer shows, as JSON-ready values.

Owns the choice and the form, read by templates/map.js; must not know pages.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from geotoken.pictures.tree import encode_tree, thin
from geotoken.places import largest_near
from geotoken.prediction import RADIUS_FRACTIONS, Prediction
from geotoken.words import place_name, printable

MAX_CELLS: Final = 12_000
"""Cells of one map; a posterior of more is drawn with the least likely ones merged."""

_LABEL_RADII_KM: Final = (1500.0, 400.0, 100.0, 25.0)
_LABELS_A_RADIUS: Final = 12


def scene(answer: Prediction, region: Mapping[str, Any] | str | None = None) -> dict[str, Any]:
    """What the map of one answer shows.

    Args:
        answer: The answer.
        region: GeoJSON geometry that the answer was held to, drawn as an outline, or the id of the element
            of the page that has it; None for none.

    Returns:
        `answer` [lat, lng], `place`, `radii` [[share, km]], `levels` of the slider, `tree` (see
        `encode_tree`), `candidates` [[lat, lng, probability of the leaf]], `neighbors`
        [[lat, lng, similarity, credit]], `labels` [[settlement, lat, lng, km around the answer]], `region`.
    """
    scheme = answer.posterior.scheme
    found, near = answer.candidates, answer.neighbors
    return {
        "answer": _point(answer.lat, answer.lng),
        "place": printable(place_name(answer.place)),
        "radii": [[share, round(answer.radius_km(share), 4)] for share in RADIUS_FRACTIONS],
        "levels": [scheme.level_at(num_tokens) for num_tokens in range(1, scheme.length + 1)],
        "tree": encode_tree(thin(answer.posterior, MAX_CELLS)),
        "candidates": [
            [*_point(found.lat[i], found.lng[i]), float(f"{math.exp(found.log_prob[i]):.3g}")]
            for i in range(len(found.lat))
        ],
        "neighbors": [
            [*_point(near.lat[i], near.lng[i]), round(float(near.similarity[i]), 3), credit(answer, i)]
            for i in range(len(near))
        ],
        "labels": _labels(answer),
        "region": region if isinstance(region, str) else dict(region) if region else None,
    }


def credit(answer: Prediction, i: int) -> str:
    """Licence and author of a neighbor, in one line.

    Args:
        answer: The answer.
        i: Position of the neighbor, from 0.

    Returns:
        Such as "CC BY 2.0 · Jane Doe"; empty if neither is known.
    """
    near = answer.neighbors
    return " · ".join(printable(part) for part in (near.license[i], near.attribution[i]) if part)


def _point(lat: float, lng: float) -> list[float]:
    return [round(float(lat), 6), round(float(lng), 6)]


def _labels(answer: Prediction) -> list[list[Any]]:
    """The largest settlements around the answer, first those that a wide view shows."""
    found = largest_near(answer.lat, answer.lng, _LABEL_RADII_KM, _LABELS_A_RADIUS)
    return [[name, round(lat, 3), round(lng, 3), radius_km] for name, lat, lng, radius_km in found]
