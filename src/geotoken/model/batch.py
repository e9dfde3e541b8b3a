"""Evidence of several photos as padded arrays: what the network reads, in every backend.

Owns `EvidenceBatch` and how it is made; must not know the network. Dimension letters: B photos, E items
(neighbors, then guesses; padded, at least one), M modalities, T tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import InputError
from geotoken.evidence import Evidence
from geotoken.model.config import ModelConfig

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]
Numbers = NDArray[np.floating[Any]]

NUM_FREQUENCIES: Final = 12
"""Octaves of each coordinate of a place, from once around the Earth down to about 10 km."""
PLACE_DIM: Final = 6 * NUM_FREQUENCIES
"""Numbers that describe a place: sine and cosine of each octave of x, y and z."""

NEIGHBOR: Final = 0
"""Kind of an item that is a neighbor."""
GUESS: Final = 1
"""Kind of an item that is a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBatch:
    """Evidence of B photos; whatever is absent is zero and False in its mask."""

    query_vectors: Mapping[str, Singles]
    """Vectors of the photos for each modality of the model, shape (B, D) with its length D."""
    query_present: Bools
    """Whether a photo has a vector, shape (B, M)."""
    item_vectors: Mapping[str, Singles]
    """Vectors of the items for each modality, shape (B, E, D)."""
    item_present: Bools
    """Whether an item has a vector, shape (B, E, M)."""
    item_mask: Bools
    """Whether there is an item at all, shape (B, E)."""
    item_kind: Ints
    """`NEIGHBOR` or `GUESS`, shape (B, E)."""
    item_tokens: Ints
    """Tokens of the item's place, shape (B, E, T)."""
    item_place: Singles
    """Waves of the item's place, shape (B, E, PLACE_DIM), see `describe_places`."""
    item_rank: Ints
    """Rank of a neighbor from 1, shape (B, E); 0 for a guess."""
    item_similarity: Singles
    """Similarity of a neighbor, shape (B, E); 0 where not known."""
    item_similarity_known: Bools
    """Whether the similarity is known, shape (B, E)."""
    item_log_weight: Singles
    """Logarithm of a guess's weight, shape (B, E); 0 for a neighbor."""

    @property
    def num_photos(self) -> int:
        """Number of photos B."""
        return len(self.item_mask)

    @property
    def complete(self) -> bool:
        """Whether nothing is absent, so that no mask is needed."""
        return bool(self.item_mask.all() and self.query_present.all() and self.item_present.all())

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All arrays by name, each with the photos first; vectors as `query_NAME` and `item_NAME`."""
        return {
            **{f"query_{name}": vectors for name, vectors in self.query_vectors.items()},
            **{f"item_{name}": vectors for name, vectors in self.item_vectors.items()},
            **{f.name: getattr(self, f.name) for f in fields(self) if not f.name.endswith("_vectors")},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Neighbors, and guesses, of B photos as dense arrays; NaN stands for what is absent."""

    lat: Numbers
    """Latitude in degrees, shape (B, E); NaN where there is no item."""
    lng: Numbers
    """Longitude in degrees, shape (B, E); NaN where there is no item."""
    rank: NDArray[np.integer[Any]] | None = None
    """Rank of a neighbor from 1, shape (B, E); the position in its row, from 1, when None."""
    similarity: Numbers | None = None
    """Similarity of a neighbor, shape (B, E); NaN where not known, None if nowhere."""
    vectors: Mapping[str, Numbers] = field(default_factory=dict)
    """Vectors of each modality that is there, shape (B, E, D); NaN where an item has none."""
    guess_weight: Numbers | None = None
    """Weight of a guess, shape (B, E), > 0; NaN for a neighbor. None if there are no guesses."""


def make_batch(items: Items, query_vectors: Mapping[str, Numbers], config: ModelConfig) -> EvidenceBatch:
    """Make the batch of evidence that lies in dense arrays, without a loop over photos.

    Neighbors of a rank beyond `config.num_neighbors` are masked.

    Args:
        items: Neighbors and guesses of B photos.
        query_vectors: Vectors of the photos for each modality that is there, shape (B, D); NaN where a photo
            has none. Modalities the model does not know are ignored, here and in the items.
        config: The model's configuration.

    Returns:
        The batch.

    Raises:
        InputError: If a vector has not the length that the model expects, or a coordinate is impossible.
    """
    shape = items.lat.shape
    is_guess = np.zeros(shape, bool) if items.guess_weight is None else ~np.isnan(items.guess_weight)
    position = np.arange(1, shape[1] + 1)
    rank = np.where(is_guess, 0, position if items.rank is None else items.rank)
    mask = ~np.isnan(items.lat) & (rank <= config.num_neighbors)
    lat, lng = (np.where(mask, values, 0.0) for values in (items.lat, items.lng))
    similarity = np.full(shape, np.nan) if items.similarity is None else items.similarity
    known = mask & ~is_guess & ~np.isnan(similarity)
    weight = np.ones(shape) if items.guess_weight is None else items.guess_weight
    query, query_present = _vectors(query_vectors, config, np.ones(shape[:1], bool))
    vectors, item_present = _vectors(items.vectors, config, mask)
    return EvidenceBatch(
        query_vectors=query,
        query_present=query_present,
        item_vectors=vectors,
        item_present=item_present,
        item_mask=mask,
        item_kind=np.where(mask & is_guess, GUESS, NEIGHBOR),
        item_tokens=config.scheme.encode(lat, lng),
        item_place=describe_places(lat, lng),
        item_rank=np.where(mask, rank, 0).astype(np.int64),
        item_similarity=np.where(known, similarity, 0.0).astype(np.float32),
        item_similarity_known=known,
        item_log_weight=np.log(np.where(mask & is_guess, weight, 1.0)).astype(np.float32),
    )


def collate(evidence: Sequence[Evidence], config: ModelConfig) -> EvidenceBatch:
    """Pad the evidence of several photos to one batch.

    Neighbors of a rank beyond `config.num_neighbors` and the lightest guesses beyond `config.num_guesses` are
    left out. Evidence joined from several photos may have several neighbors of one rank: all stay.

    Args:
        evidence: Evidence of B photos, B >= 1; vectors of modalities the model does not know are ignored.
        config: The model's configuration.

    Returns:
        The batch.

    Raises:
        InputError: If a vector has not the length that the model expects.
    """
    neighbors, guesses, num_items = items_used(evidence, config.num_neighbors, config.num_guesses)
    shape = (len(evidence), num_items)

    lat, lng, similarity, weight = np.full((4, *shape), np.nan)
    rank = np.zeros(shape, dtype=np.int64)
    query = {name: np.full((shape[0], dim), np.nan, np.float32) for name, dim in config.modalities}
    vectors = {name: np.full((*shape, dim), np.nan, np.float32) for name, dim in config.modalities}
    for photo, (one, near, told) in enumerate(zip(evidence, neighbors, guesses, strict=True)):
        first, last = slice(len(near)), slice(len(near), len(near) + len(told))
        lat[photo, first], lat[photo, last] = one.neighbor_lat[near], one.guess_lat[told]
        lng[photo, first], lng[photo, last] = one.neighbor_lng[near], one.guess_lng[told]
        rank[photo, first] = one.neighbor_rank[near]
        weight[photo, last] = one.guess_weight[told]
        if one.neighbor_similarity is not None:
            similarity[photo, first] = one.neighbor_similarity[near]
        for name, dim in config.modalities:
            if name in one.query_vectors:
                query[name][photo] = _fitting(one.query_vectors[name], name, dim)
            if name in one.neighbor_vectors:
                vectors[name][photo, first] = _fitting(one.neighbor_vectors[name], name, dim)[near]
    items = Items(lat=lat, lng=lng, rank=rank, similarity=similarity, vectors=vectors, guess_weight=weight)
    return make_batch(items, query, config)


def items_used(
    evidence: Sequence[Evidence], num_neighbors: int, num_guesses: int
) -> tuple[list[Ints], list[Ints], int]:
    """Which neighbors and guesses a network reads.

    Args:
        evidence: Evidence of B photos.
        num_neighbors: Neighbors of a rank beyond are left out.
        num_guesses: Guesses used of each photo at most, those of most weight.

    Returns:
        Positions of the neighbors and of the guesses of each photo, in their order, and the number of items
        of the photo that has most, at least 1.
    """
    neighbors = [np.flatnonzero(e.neighbor_rank <= num_neighbors) for e in evidence]
    guesses = [np.sort(np.argsort(-e.guess_weight, kind="stable")[:num_guesses]) for e in evidence]
    num_items = max([1, *(len(n) + len(g) for n, g in zip(neighbors, guesses, strict=True))])
    return neighbors, guesses, num_items


def describe_places(lat: NDArray[np.float64], lng: NDArray[np.float64]) -> Singles:
    """Describe places so that near ones look alike at every scale: waves over the unit sphere.

    Args:
        lat: Latitude in degrees, shape (...).
        lng: Longitude in degrees, shape (...).

    Returns:
        Sine and cosine of pi 2**k x for k = 0..NUM_FREQUENCIES - 1, and so for y and z, shape
        (..., PLACE_DIM).

    References:
        Mildenhall et al. (2020), NeRF, equation 4, here on the unit vector of the place.
    """
    phi, lam = np.radians(lat), np.radians(lng)
    point = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)
    angle = point[..., None] * (np.pi * 2.0 ** np.arange(NUM_FREQUENCIES))  # (..., 3, F)
    waves = np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    return waves.reshape(*angle.shape[:-2], PLACE_DIM).astype(np.float32)


def _vectors(
    given: Mapping[str, Numbers], config: ModelConfig, there: Bools
) -> tuple[dict[str, Singles], Bools]:
    """Vectors of each modality, zero where absent, and whether they are there, shape (..., M).

    Raises:
        InputError: They have another length than the model expects.
    """
    present = np.zeros((*there.shape, len(config.modalities)), dtype=bool)
    vectors = {}
    for m, (name, dim) in enumerate(config.modalities):
        if name not in given:
            vectors[name] = np.zeros((*there.shape, dim), np.float32)
            continue
        values = _fitting(given[name], name, dim)
        present[..., m] = there & ~np.isnan(values[..., 0])
        vectors[name] = values.astype(np.float32)
        vectors[name][~present[..., m]] = 0.0
    return vectors, present


def _fitting(vectors: Numbers, name: str, dim: int) -> Numbers:
    """The vectors themselves.

    Raises:
        InputError: They have another length.
    """
    if vectors.shape[-1] != dim:
        raise InputError(
            f"{name} vectors have {vectors.shape[-1]} numbers, but the model expects {dim}; "
            "use the encoder that the model was trained with"
        )
    return vectors
