"""What is best against an exact posterior over places: the optimal density, points and accuracies.

Owns the exact answers; must not know how the posterior came about, or any model. Dimension letters: N photos,
P places, A answers, S places that matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geotoken.geo import EARTH_RADIUS_KM, from_xyz, haversine_km, to_xyz
from geotoken.metrics import THRESHOLDS_KM

Floats = NDArray[np.float64]

_LEAST = 1e-4  # places of less probability are not proposed as answers; their mass counts all the same
_MOST = 24  # places proposed at most


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best that can be answered about N photos by who knows the world."""

    nll: Floats
    """Minus log density per km2 at the truth, nats, shape (N,)."""
    best: dict[int, tuple[Floats, Floats]]
    """For each threshold in km the points most likely within it: latitudes and longitudes, shape (N,)."""
    mbr: tuple[Floats, Floats]
    """The points that meet most thresholds on average, latitudes and longitudes, shape (N,)."""


def optimum(
    log_posterior: Floats, lat: Floats, lng: Floats, scatter_km: float, truth: tuple[Floats, Floats]
) -> Optimum:
    """Solve the world.

    A place is a Gaussian of some hundred metres, and places lie far apart. So the disk of radius r that holds
    most probability is that around a place, or has two places just inside its edge: these are all tried.

    Args:
        log_posterior: Logarithms of P(place | photo), shape (N, P).
        lat: Latitudes of the places in degrees, shape (P,).
        lng: Longitudes of the places in degrees, shape (P,).
        scatter_km: Standard deviation of a photo around its place in each direction.
        truth: True latitudes and longitudes of the photos, shape (N,).

    Returns:
        The optimum.
    """
    nll = -log_density(log_posterior, lat, lng, scatter_km, truth)
    best = {r: np.empty((2, len(log_posterior))) for r in THRESHOLDS_KM}
    mbr = np.empty((2, len(log_posterior)))
    margin_km = 3 * scatter_km
    for photo, probability, xyz in _places_that_matter(log_posterior, to_xyz(lat, lng)):
        answers = disk_centers(xyz, margin_km)
        distance_km = EARTH_RADIUS_KM * np.arccos(np.clip(answers @ xyz.T, -1, 1))
        total = np.zeros(len(answers))
        for r in THRESHOLDS_KM:
            inside = _share_within(distance_km, r, scatter_km) @ probability
            total += inside
            best[r][:, photo] = from_xyz(answers[np.argmax(inside)])
        mbr[:, photo] = from_xyz(answers[np.argmax(total)])
    return Optimum(nll, {r: (found[0], found[1]) for r, found in best.items()}, (mbr[0], mbr[1]))


def log_density(
    log_posterior: Floats, lat: Floats, lng: Floats, scatter_km: float, at: tuple[Floats, Floats]
) -> Floats:
    """Logarithm of the exact density of each photo's place at one point.

    Args:
        log_posterior: Logarithms of P(place | photo), shape (N, P).
        lat: Latitudes of the places in degrees, shape (P,).
        lng: Longitudes of the places in degrees, shape (P,).
        scatter_km: Standard deviation of a photo around its place in each direction.
        at: Latitudes and longitudes of the points in degrees, shape (N,).

    Returns:
        Nats per km2, shape (N,).
    """
    distance_km = haversine_km(at[0][:, None], at[1][:, None], lat, lng)
    log_kernel = -0.5 * (distance_km / scatter_km) ** 2 - np.log(2 * np.pi * scatter_km**2)
    joint = log_posterior + log_kernel
    top = joint.max(axis=1)
    found: Floats = top + np.log(np.exp(joint - top[:, None]).sum(axis=1))
    return found


def ambiguity(log_posterior: Floats) -> dict[str, float]:
    """How many places a photo may be of.

    Args:
        log_posterior: Logarithms of P(place | photo), shape (N, P).

    Returns:
        Means over photos: of the entropy in nats, of places with at least 5 %, and the share in percent of
        photos with two such places or more.
    """
    posterior = np.exp(log_posterior)
    entropy = -(posterior * np.where(posterior > 0, log_posterior, 0)).sum(axis=1)
    num_likely = (posterior >= 0.05).sum(axis=1)
    return {
        "entropy": float(entropy.mean()),
        "places_of_5_percent": float(num_likely.mean()),
        "photos_of_two_places": 100 * float(np.mean(num_likely >= 2)),
    }


def _places_that_matter(log_posterior: Floats, xyz: Floats) -> Iterator[tuple[int, Floats, Floats]]:
    """For each photo its number, and probability, shape (S,), and place, shape (S, 3), of likely places."""
    for photo, row in enumerate(np.exp(log_posterior)):
        top = np.argsort(-row)[:_MOST]
        top = top[row[top] >= _LEAST]
        yield photo, row[top], xyz[top]


def disk_centers(xyz: Floats, margin_km: float) -> Floats:
    """Where the disk of a threshold's radius that holds most of some places may have its center.

    Args:
        xyz: The places as unit vectors, shape (S, 3).
        margin_km: How far inside the disk's edge a place shall lie.

    Returns:
        The places, and where circles of each threshold around two of them meet: unit vectors, shape (A, 3).
    """
    radii_km = [r - margin_km for r in THRESHOLDS_KM if r > 2 * margin_km]
    found = [xyz]
    one, other = np.triu_indices(len(xyz), 1)
    a, b = xyz[one], xyz[other]
    cosine = (a * b).sum(axis=1)
    for radius_km in radii_km:
        reach = np.cos(radius_km / EARTH_RADIUS_KM)
        # c = s (a + b) + t a x b with c.a = c.b = reach and |c| = 1.
        s = reach / (1 + cosine)
        rest = 1 - 2 * s**2 * (1 + cosine)
        meet = (rest > 0) & (cosine < 1)
        t = np.sqrt(rest[meet] / (1 - cosine[meet] ** 2))[:, None]
        middle, normal = s[meet, None] * (a[meet] + b[meet]), np.cross(a[meet], b[meet])
        found += [middle + t * normal, middle - t * normal]
    return np.concatenate(found)


def _share_within(distance_km: Floats, radius_km: float, scatter_km: float) -> Floats:
    """P(a Gaussian at a distance from the answer lies within the radius), shape as given.

    Exact at distance 0; else the edge of the disk is taken as straight, which the margin of the answers makes
    harmless.
    """
    centered = 1 - np.exp(-0.5 * (radius_km / scatter_km) ** 2)
    edge = np.clip((radius_km - distance_km) / (3 * scatter_km), 0, 1)
    share: Floats = np.where(distance_km < scatter_km, centered, edge)
    return share
