"""Places that may be the answer, and what the token model thinks of each.

Owns `Proposals`, where they come from and how they are weighed; must not know the network that judges them.
Dimension letters: B photos, C candidates, T tokens, R thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geotoken.decoding import Candidates, Posterior, score
from geotoken.decoding.distribution import cosine_to_km
from geotoken.evidence import Evidence
from geotoken.geo import to_xyz
from geotoken.metrics import THRESHOLDS_KM
from geotoken.protocol import Memory, TokenModel
from geotoken.regions import Region

Floats = NDArray[np.float64]

_BATCH = 16  # places measured against the posterior at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Places that may be the answer for one photo, C of them."""

    lat: Floats
    """Latitude in degrees, shape (C,)."""
    lng: Floats
    """Longitude in degrees, shape (C,)."""
    log_prob: Floats
    """Log-probability in nats of the leaf around each, shape (C,); minus infinity where it is impossible."""
    within: Floats
    """Probability of the posterior within 1, 25, 200, 750 and 2500 km, shape (C, R), rising along R."""

    def take(self, rows: NDArray[np.int64]) -> "Proposals":
        """Some of the places.

        Args:
            rows: Which, shape (C',).

        Returns:
            These, in the order asked for.
        """
        return Proposals(
            lat=self.lat[rows], lng=self.lng[rows], log_prob=self.log_prob[rows], within=self.within[rows]
        )


def weigh(
    model: TokenModel,
    memory: Memory,
    posteriors: Sequence[Posterior],
    places: Sequence[tuple[Floats, Floats]],
) -> list[Proposals]:
    """Tell what the token model thinks of given places.

    Args:
        model: Any token model.
        memory: What `model.encode` made of the evidence of B photos.
        posteriors: Their posteriors, B of them.
        places: Latitudes and longitudes in degrees, each of shape (C,) with C >= 1, of each photo.

    Returns:
        The proposals of each photo.
    """
    most = max(len(lat) for lat, _ in places)
    # Photos with fewer places repeat their last, which is scored once all the same.
    rows = [np.minimum(np.arange(most), len(lat) - 1) for lat, _ in places]
    lats, lngs = (np.stack([one[i][r] for one, r in zip(places, rows, strict=True)]) for i in (0, 1))
    log_prob = score(model, memory, model.scheme.encode(lats, lngs))
    return [
        Proposals(lat=lat, lng=lng, log_prob=one[: len(lat)], within=within_km(whole, lat, lng))
        for (lat, lng), one, whole in zip(places, log_prob, posteriors, strict=True)
    ]


def within_km(posterior: Posterior, lat: Floats, lng: Floats) -> Floats:
    """The probability that the photo was taken within each threshold of given places.

    Args:
        posterior: The posterior of the photo.
        lat: Latitude in degrees, shape (C,).
        lng: Longitude in degrees, shape (C,).

    Returns:
        Probabilities, shape (C, R), as `Posterior.probability_within_km` gives them one by one.
    """
    points, found = posterior.points, np.empty((len(lat), len(THRESHOLDS_KM)))
    xyz = to_xyz(lat, lng)
    for start in range(0, len(lat), _BATCH):
        part = slice(start, start + _BATCH)
        distance_km = cosine_to_km(xyz[part] @ points.xyz.T)  # (16, M)
        for column, threshold_km in enumerate(THRESHOLDS_KM):
            found[part, column] = (distance_km <= threshold_km) @ points.probability
    return np.minimum(found, 1.0)


def evidence_places(evidence: Evidence) -> tuple[Floats, Floats]:
    """The places that the evidence itself names.

    Args:
        evidence: Evidence about one photo.

    Returns:
        Latitude and longitude in degrees of the neighbors, then the guesses, each of shape (K + G,).
    """
    return (
        np.concatenate([evidence.neighbor_lat, evidence.guess_lat]),
        np.concatenate([evidence.neighbor_lng, evidence.guess_lng]),
    )


def widen(
    model: TokenModel,
    memory: Memory,
    posterior: Posterior,
    candidates: Candidates,
    places: tuple[Floats, Floats],
    region: Region | None = None,
) -> tuple[Candidates, Proposals]:
    """Join further places to the candidates of one photo, and weigh all.

    Args:
        model: The token model that found the candidates.
        memory: What its `encode` made of the evidence of the photo.
        posterior: The posterior of the photo.
        candidates: The candidates, C of them.
        places: Latitudes and longitudes in degrees of the further places, each of shape (N,).
        region: Where the photo was taken; further places outside are left out. Anywhere if None.

    Returns:
        Candidates, then places, as candidates, and as proposals.
    """
    lat, lng = places
    if region is not None:
        inside = region.contains(lat, lng)
        lat, lng = lat[inside], lng[inside]
    lat, lng = np.concatenate([candidates.lat, lat]), np.concatenate([candidates.lng, lng])
    proposals = weigh(model, memory, [posterior], [(lat, lng)])[0]
    joined = Candidates(tokens=model.scheme.encode(lat, lng), log_prob=proposals.log_prob, lat=lat, lng=lng)
    return joined, proposals
