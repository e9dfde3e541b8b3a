"""What the user gets for a photo, and its form as JSON.

Owns `Prediction` and the `locate --json` contract; must not know how an answer is found.
"""

import math
from dataclasses import dataclass
from typing import Any

from geotoken import cells
from geotoken.decoding import Candidates, CellProbability, Posterior
from geotoken.evidence import Evidence
from geotoken.gallery import Neighbors
from geotoken.geo import haversine_km
from geotoken.places import Place
from geotoken.regions import Region
from geotoken.words import DOUBTFUL, percent

RADIUS_FRACTIONS = (0.5, 0.9)
"""Shares of the posterior whose radius is always reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer of a multimodal language model, as understood."""

    text: str = ""
    """What it wrote; long text loses its end."""
    lat: float | None = None
    """Latitude of the place that it named or chose, in degrees; None if the answer cannot be used."""
    lng: float | None = None
    """Longitude of that place, in degrees."""
    candidate: int | None = None
    """Number of the candidate that it chose, from 1; None where it was not asked to choose."""
    problem: str = ""
    """Why the answer cannot be used; empty if it can."""

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON-ready values; what it does not have is left out."""
        values = {"text": self.text, "lat": self.lat, "lng": self.lng, "candidate": self.candidate}
        return {k: v for k, v in {**values, "problem": self.problem}.items() if v not in (None, "")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a multimodal language model said of a photo, and whether it decided the answer."""

    mode: str
    """How it was asked: pool, free or fuse."""
    model: str
    """Name of the model."""
    answers: tuple[Said, ...] = ()
    """What it said, one a vote."""
    problem: str = ""
    """Why the answer is geotoken's own; empty if the model's words decided it."""
    num_requests: int = 0
    """Requests sent about this photo, repetitions included."""
    num_cached: int = 0
    """Votes that were known from an earlier run."""
    cost: float | None = None
    """Price of these requests, in the currency of the prices given; None without prices."""

    def to_dict(self) -> dict[str, Any]:
        """The opinion as JSON-ready values, per docs/locate.schema.json."""
        return {
            "mode": self.mode,
            "model": self.model,
            "used": not self.problem,
            **({"reason": self.problem} if self.problem else {}),
            "answers": [said.to_dict() for said in self.answers],
            "num_requests": self.num_requests,
            "num_cached": self.num_cached,
            **({} if self.cost is None else {"cost": self.cost}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The answer for one photo, how sure it is, and the evidence."""

    image: str
    """Name of the photo as given."""
    lat: float
    """Latitude of the answer in degrees."""
    lng: float
    """Longitude of the answer in degrees."""
    tokens: tuple[int, ...]
    """Tokens of the leaf that contains the answer, length T."""
    levels: tuple[CellProbability, ...]
    """The cells around the answer, one a token from the face to the leaf, with their probabilities."""
    candidates: Candidates
    """What the decoder found, likeliest first."""
    posterior: Posterior
    """The whole distribution over places."""
    neighbors: Neighbors
    """The retrieved gallery photos, most similar first."""
    place: Place
    """Name of the place."""
    region: Region | None = None
    """Where the photo was said to have been taken; all other fields are given that it was."""
    region_probability: float | None = None
    """Probability that the evidence alone gives the region, in [0, 1]; None without a region."""
    warnings: tuple[str, ...] = ()
    """Remarks for the reader."""
    evidence: Evidence | None = None
    """What the answer was found with."""
    gps: tuple[float, float] | None = None
    """(lat, lng) in degrees that the file's EXIF claims; never evidence, only a remark."""
    opinion: Opinion | None = None
    """What a multimodal language model said; None if none was asked."""
    own: "Prediction | None" = None
    """The answer without that opinion; None if no such model was asked."""

    @property
    def cell_id(self) -> int:
        """The leaf cell that contains the answer."""
        return int(cells.from_lat_lng(self.lat, self.lng, self.posterior.scheme.level))

    @property
    def log_prob(self) -> float:
        """Natural log of the probability of the leaf that contains the answer, untempered."""
        return math.log(self.levels[-1].probability)

    def radius_km(self, fraction: float) -> float:
        """Smallest radius around the answer that holds a share of the posterior.

        Args:
            fraction: The share, in (0, 1).

        Returns:
            Radius in km.
        """
        return self.posterior.radius_km(self.lat, self.lng, fraction)

    def to_dict(self, top_k: int = 5) -> dict[str, Any]:
        """The prediction as JSON-ready values, per docs/locate.schema.json.

        Args:
            top_k: Candidates and neighbors listed at most.

        Returns:
            One object of the `locate --json` array.
        """
        answer = self.levels
        within = {} if self.region_probability is None else {"region_probability": self.region_probability}
        return {
            "image": self.image,
            "status": "ok",
            **self._judged(),
            "lat": self.lat,
            "lng": self.lng,
            "cell": {"hex": _hex(answer[-1]), "level": answer[-1].level},
            "tokens": list(self.tokens),
            "log_prob": self.log_prob,
            "radius_km": self._radii(),
            **within,
            "place": self._place(),
            "levels": [{"level": c.level, "cell_hex": _hex(c), "probability": c.probability} for c in answer],
            "candidates": self._candidates(top_k),
            "neighbors": neighbors_to_list(self.neighbors, top_k),
            "warnings": list(self.warnings),
        }

    def _judged(self) -> dict[str, Any]:
        """Whose answer it is, and geotoken's own beside it, where a multimodal model was asked."""
        own, opinion = self.own, self.opinion
        if own is None or opinion is None:
            return {}
        return {
            "source": "geotoken" if opinion.problem else "mllm",
            "mllm": opinion.to_dict(),
            "own": {
                "lat": own.lat,
                "lng": own.lng,
                "log_prob": own.log_prob,
                "radius_km": own._radii(),
                "place": own._place(),
            },
        }

    def _radii(self) -> dict[str, float]:
        return {f"{100 * f:.0f}": self.radius_km(f) for f in RADIUS_FRACTIONS}

    def _place(self) -> dict[str, Any]:
        return {
            "city": self.place.city,
            "admin1": self.place.admin1,
            "country": self.place.country,
            "country_code": self.place.country_code,
            "distance_km": self.place.distance_km,
        }

    def _candidates(self, top_k: int) -> list[dict[str, Any]]:
        found = self.candidates
        rows = []
        for i in range(min(top_k, len(found.lat))):
            row: dict[str, Any] = {
                "lat": float(found.lat[i]),
                "lng": float(found.lng[i]),
                "log_prob": float(found.log_prob[i]),
                "tokens": found.tokens[i].tolist(),
            }
            if found.num_samples is not None:
                row["num_samples"] = int(found.num_samples[i])
            rows.append(row)
        return rows


def remarks(
    lat: float, lng: float, gps: tuple[float, float] | None, region_probability: float | None
) -> tuple[str, ...]:
    """What the reader of an answer should know of its photo.

    Args:
        lat: Latitude of the answer in degrees.
        lng: Longitude of the answer in degrees.
        gps: (lat, lng) in degrees that the file's EXIF claims.
        region_probability: Probability that the evidence alone gives the region; None without a region.

    Returns:
        Sentences without a full stop.
    """
    found = []
    if gps is not None:
        distance_km = float(haversine_km(*gps, lat, lng))
        found.append(
            f"this file already carries GPS ({gps[0]:.5f}, {gps[1]:.5f}), {distance_km:,.1f} km from this "
            "answer; it was not used as evidence"
        )
    if region_probability is not None and region_probability < DOUBTFUL:
        found.append(
            f"the photo alone gives the region asked for {percent(region_probability)}; radii and "
            "probabilities hold only if it was taken there"
        )
    return tuple(found)


def neighbors_to_list(found: Neighbors, top_k: int) -> list[dict[str, Any]]:
    """Neighbors as JSON-ready values; what is not known of one is left out.

    Args:
        found: Retrieved gallery photos, most similar first.
        top_k: How many are listed at most.

    Returns:
        One object a neighbor.
    """
    rows = []
    for i in range(min(top_k, len(found))):
        row: dict[str, Any] = {
            "id": found.id[i],
            "lat": float(found.lat[i]),
            "lng": float(found.lng[i]),
            "similarity": float(found.similarity[i]),
        }
        for name in ("attribution", "license", "source_url"):
            value = getattr(found, name)[i]
            if value:
                row[name] = value
        rows.append(row)
    return rows


def error_to_dict(image: str, message: str) -> dict[str, Any]:
    """The object of the `locate --json` array for a photo that failed.

    Args:
        image: Name of the photo as given.
        message: Why it failed, one line.

    Returns:
        The JSON-ready object.
    """
    return {"image": image, "status": "error", "error": message, "warnings": []}


def _hex(cell: CellProbability) -> str:
    return str(cells.to_hex(cell.cell_id))
