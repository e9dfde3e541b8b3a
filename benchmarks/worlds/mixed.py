"""A world of mixed places: photos whose vectors blend the real location vectors of look-alike places.

Owns the ambiguity model, the drawing of photos and the split by blocks; must not know who is trained. Stated
in
docs/worlds.md. Dimension letters: N photos, G points, D numbers of a feature, L of a location vector.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from geotoken.geo import EARTH_RADIUS_KM, haversine_km

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

_CANDIDATES = 512  # points looked at for look-alikes that are far enough


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedConfig:
    """The parameters of the world."""

    num_photos: int = 20_000
    """Photos drawn, each at its own point."""
    dim: int = 128
    """Numbers of a feature, D."""
    num_lookalikes: int = 8
    """Look-alikes of each point: the points of the most similar location vectors beyond `apart_km`."""
    apart_km: float = 1000.0
    """Least distance of a look-alike."""
    mixed: tuple[float, ...] = (0.2, 0.4, 0.4)
    """Probabilities that a photo's vector has 0, 1, ... look-alikes mixed in."""
    least_share: float = 0.3
    """The photo's own point has a weight drawn evenly from this to 1, each look-alike one from 0 to 1 minus
    this."""
    noise: float = 0.5
    """Length of the Gaussian noise added, against the length 1 of a location vector."""
    block_km: float = 25.0
    """Side of the blocks that split the photos; no block is in two parts."""
    held_out: float = 0.05
    """Share of blocks in the test, and as many in the validation."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """Photos of one part of the split."""

    feature: Singles
    """Unit feature vectors, shape (N, D)."""
    lat: Floats
    """Latitude in degrees, shape (N,)."""
    lng: Floats
    """Longitude in degrees, shape (N,)."""
    block: Ints
    """Code of the block, shape (N,)."""


@dataclass(frozen=True, slots=True)
class MixedWorld:
    """The three parts."""

    train: Part
    """Photos to train on, and the gallery."""
    validation: Part
    """Photos that decide when to stop."""
    test: Part
    """Photos to answer."""


def mixed_world(lat: Floats, lng: Floats, vectors: Singles, config: MixedConfig) -> MixedWorld:
    """Draw the world.

    Args:
        lat: Latitudes of the points in degrees, shape (G,).
        lng: Longitudes of the points in degrees, shape (G,).
        vectors: Their location vectors of unit norm, shape (G, L).
        config: The parameters.

    Returns:
        The world.
    """
    rng = np.random.default_rng(config.seed)
    chosen = rng.permutation(len(lat))[: config.num_photos]
    lat, lng, vectors = lat[chosen], lng[chosen], vectors[chosen]
    blended = _blend(vectors, lookalikes(lat, lng, vectors, config), config, rng)
    # The camera: a fixed random map to fewer numbers, bent, so that photos and places differ in kind.
    camera = rng.normal(size=(vectors.shape[1], config.dim)).astype(np.float32)
    feature = np.tanh(2 * blended @ camera)
    feature /= np.linalg.norm(feature, axis=1, keepdims=True)
    block = blocks(lat, lng, config.block_km)
    names, member = np.unique(block, return_inverse=True)
    where = rng.random(len(names))[member]
    edges = (config.held_out, 2 * config.held_out)
    parts = [where >= edges[1], (where >= edges[0]) & (where < edges[1]), where < edges[0]]
    train, validation, test = (Part(feature[p], lat[p], lng[p], block[p]) for p in parts)
    return MixedWorld(train, validation, test)


def lookalikes(lat: Floats, lng: Floats, vectors: Singles, config: MixedConfig) -> Ints:
    """The look-alikes of each point, most similar first.

    Args:
        lat: Latitudes of the points in degrees, shape (G,).
        lng: Longitudes of the points in degrees, shape (G,).
        vectors: Their location vectors, shape (G, L).
        config: How many, and how far.

    Returns:
        Rows, shape (G, num_lookalikes); a point that has fewer among the most similar repeats its farthest.
    """
    # Found among 1 in 8 points: a look-alike need not be the very most similar.
    few = np.arange(0, len(lat), 8)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors[few])
    found = np.empty((len(lat), config.num_lookalikes), dtype=np.int64)
    for start in range(0, len(lat), 4096):
        part = slice(start, start + 4096)
        near = few[index.search(vectors[part], min(_CANDIDATES, len(few)))[1]]
        distance_km = haversine_km(lat[part, None], lng[part, None], lat[near], lng[near])
        far = distance_km >= config.apart_km
        order = np.argsort(~far, axis=1, kind="stable")[:, : config.num_lookalikes]
        enough = np.take_along_axis(far, order, axis=1)
        farthest = np.argmax(distance_km, axis=1)[:, None]
        found[part] = np.take_along_axis(near, np.where(enough, order, farthest), axis=1)
    return found


def blocks(lat: Floats, lng: Floats, block_km: float) -> Ints:
    """Codes of the blocks that points lie in: rows of one height, divided into columns of about one width.

    Args:
        lat: Latitudes in degrees, shape (N,).
        lng: Longitudes in degrees, shape (N,).
        block_km: Side of a block.

    Returns:
        Codes, shape (N,).
    """
    row_deg = np.degrees(block_km / EARTH_RADIUS_KM)
    row = np.floor(lat / row_deg).astype(np.int64)
    around_km = 2 * np.pi * EARTH_RADIUS_KM * np.cos(np.radians((row + 0.5) * row_deg))
    columns = np.maximum(np.round(around_km / block_km), 1)
    column = np.floor((lng + 180) / 360 * columns).astype(np.int64)
    code: Ints = (row + 10_000) * 10_000 + column
    return code


def _blend(vectors: Singles, alike: Ints, config: MixedConfig, rng: np.random.Generator) -> Singles:
    """Vectors of photos before the camera, shape (N, L)."""
    num, length = vectors.shape
    count = rng.choice(len(config.mixed), num, p=config.mixed)
    blended = vectors * rng.uniform(config.least_share, 1, (num, 1)).astype(np.float32)
    for other in range(1, len(config.mixed)):
        which = alike[np.arange(num), rng.integers(alike.shape[1], size=num)]
        weight = rng.uniform(0, 1 - config.least_share, num) * (count >= other)
        blended += vectors[which] * weight[:, None].astype(np.float32)
    noise = rng.normal(size=vectors.shape) * (config.noise / length**0.5)
    return blended + noise.astype(np.float32)
