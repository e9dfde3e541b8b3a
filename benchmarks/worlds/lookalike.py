"""A world of look-alike places, whose exact posterior is a softmax over its places.

Owns the generative model and the drawing of photos; must not know evidence or models. See docs/worlds.md.

A photo is taken at one of the places, all equally likely. Its feature vector is drawn from the von
Mises-Fisher distribution around the place's look, of density c exp(concentration look[p] . x) on the unit
sphere, and its coordinate from a Gaussian around the place's center. Places of one group share nearly one
look.
Dimension letters: N photos, P places, D numbers of a feature.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geotoken.geo import EARTH_RADIUS_KM, from_xyz, to_xyz
from geotoken.places import settlements

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookalikeConfig:
    """The parameters of the world."""

    num_groups: int = 400
    """Groups of places that look alike."""
    group_size: int = 5
    """Places in a group; all places are equally likely."""
    dim: int = 16
    """Numbers of a feature, D."""
    concentration: float = 100.0
    """Concentration of the features of one place; their noise has variance (D - 1) / concentration."""
    separation: float = 0.9
    """Length of the tangent offset of a place's look from its group's, in units of concentration ** -0.5."""
    nearby_share: float = 0.4
    """Probability that a place lies within `nearby_km` of its group's first instead of anywhere."""
    nearby_km: float = 1000.0
    """How far such a place may lie from the first of its group."""
    least_km: float = 30.0
    """Least distance between two places."""
    scatter_km: float = 0.3
    """Standard deviation of a photo's coordinate around its place, in each direction."""
    gallery_photos: int = 4
    """Reference photos of each place in the gallery."""
    gallery_concentration: float = 5000.0
    """Concentration of their features: reference photos show what the place looks like."""
    gallery_scatter_km: float = 0.1
    """Standard deviation of their coordinates: they are taken at the place itself."""
    photos_per_owner: int = 20
    """Mean number of photos of one owner; owners travel anywhere."""
    seed: int = 5


@dataclass(frozen=True, slots=True)
class Photos:
    """Photos with everything that is true of them."""

    place: Ints
    """Place of each, shape (N,)."""
    feature: NDArray[np.float32]
    """Unit feature vectors, shape (N, D)."""
    lat: Floats
    """Latitude in degrees, shape (N,)."""
    lng: Floats
    """Longitude in degrees, shape (N,)."""
    owner: Ints
    """Code of the owner, shape (N,)."""


class LookalikeWorld:
    """The places and their looks."""

    def __init__(self, config: LookalikeConfig) -> None:
        """Draw the places.

        Args:
            config: The parameters.
        """
        self.config = config
        rng = np.random.default_rng(config.seed)
        self.group: Ints = np.repeat(np.arange(config.num_groups), config.group_size)
        self.xyz = _draw_places(config, rng)
        self.lat, self.lng = from_xyz(self.xyz)
        common = _unit(rng.normal(size=(config.num_groups, config.dim)))[self.group]
        offset = rng.normal(size=common.shape)
        offset = _unit(offset - (offset * common).sum(axis=1, keepdims=True) * common)
        self.look: Floats = _unit(common + config.separation / config.concentration**0.5 * offset)

    def draw(self, num_photos: int, seed: int) -> Photos:
        """Take photos.

        Args:
            num_photos: How many, N.
            seed: From 1; another seed gives other photos of the same world, by other owners.

        Returns:
            The photos, in random order.
        """
        config = self.config
        rng = np.random.default_rng((config.seed, seed))
        place = rng.integers(len(self.lat), size=num_photos)
        owner = rng.integers(max(1, num_photos // config.photos_per_owner), size=num_photos)
        return self._photos(place, owner + seed * 10**9, config.concentration, config.scatter_km, rng)

    def draw_gallery(self) -> Photos:
        """Take the reference photos, by owners who take no others; place by place."""
        config = self.config
        rng = np.random.default_rng((config.seed, 0))
        place = np.repeat(np.arange(len(self.lat)), config.gallery_photos)
        return self._photos(place, -1 - place, config.gallery_concentration, config.gallery_scatter_km, rng)

    def _photos(
        self, place: Ints, owner: Ints, concentration: float, scatter_km: float, rng: np.random.Generator
    ) -> Photos:
        feature = von_mises_fisher(self.look[place], concentration, rng)
        lat, lng = scatter(self.lat[place], self.lng[place], scatter_km, rng)
        return Photos(place, feature.astype(np.float32), lat, lng, owner)

    def log_posterior(self, feature: NDArray[np.float32]) -> Floats:
        """The exact posterior over places.

        Args:
            feature: Unit feature vectors, shape (N, D).

        Returns:
            Logarithms of P(place | feature), shape (N, P).
        """
        logits = self.config.concentration * (feature.astype(np.float64) @ self.look.T)
        logits -= logits.max(axis=1, keepdims=True)
        log_posterior: Floats = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return log_posterior


def von_mises_fisher(mean: Floats, concentration: float, rng: np.random.Generator) -> Floats:
    """Draw unit vectors, one around each mean.

    Args:
        mean: Unit vectors, shape (N, D), D >= 2.
        concentration: Concentration, > 0.
        rng: Source of randomness.

    Returns:
        Unit vectors, shape (N, D).

    References:
        A. T. A. Wood, "Simulation of the von Mises Fisher distribution" (1994), algorithm VM*.
    """
    num, dim = mean.shape
    b = (dim - 1) / (2 * concentration + np.sqrt(4 * concentration**2 + (dim - 1) ** 2))
    x = (1 - b) / (1 + b)
    c = concentration * x + (dim - 1) * np.log(1 - x**2)
    along = np.empty(num)
    left = np.arange(num)
    while len(left):
        z = rng.beta((dim - 1) / 2, (dim - 1) / 2, len(left))
        w = (1 - (1 + b) * z) / (1 - (1 - b) * z)
        accepted = concentration * w + (dim - 1) * np.log(1 - x * w) - c >= np.log(rng.random(len(left)))
        along[left[accepted]] = w[accepted]
        left = left[~accepted]
    across = rng.normal(size=mean.shape)
    across = _unit(across - (across * mean).sum(axis=1, keepdims=True) * mean)
    drawn: Floats = along[:, None] * mean + np.sqrt(1 - along**2)[:, None] * across
    return drawn


def scatter(lat: Floats, lng: Floats, scatter_km: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Move points by a Gaussian on the tangent plane.

    Args:
        lat: Latitudes in degrees, shape (N,).
        lng: Longitudes in degrees, shape (N,).
        scatter_km: Standard deviation in each direction, small against the Earth.
        rng: Source of randomness.

    Returns:
        Latitudes and longitudes in degrees, shape (N,).
    """
    center = to_xyz(lat, lng)
    step = rng.normal(size=center.shape) * (scatter_km / EARTH_RADIUS_KM)
    step -= (step * center).sum(axis=1, keepdims=True) * center  # isotropic in the plane that is left
    return from_xyz(center + step)


def _draw_places(config: LookalikeConfig, rng: np.random.Generator) -> Floats:
    """Settlements as unit vectors, shape (P, 3), group by group, none within `least_km` of another."""
    pool = to_xyz(*settlements())
    chosen: list[int] = []
    free = np.ones(len(pool), dtype=bool)
    least, nearby = (np.cos(km / EARTH_RADIUS_KM) for km in (config.least_km, config.nearby_km))
    for _ in range(config.num_groups):
        allowed = free
        for member in range(config.group_size):
            if member == 0:
                allowed, around = free, free
            elif member == 1:
                around = pool @ pool[chosen[-1]] > nearby
            if member:
                allowed = free & around if rng.random() < config.nearby_share else free
            row = int(rng.choice(np.flatnonzero(allowed)))
            chosen.append(row)
            free &= pool @ pool[row] < least
    places: Floats = pool[chosen]
    return places


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
