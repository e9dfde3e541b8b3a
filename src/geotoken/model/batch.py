"""Evidence of several photos as padded arrays: what the network reads, in every backend.

Owns `EvidenceBatch` and `collate`; must not know the network. Dimension letters: B photos, E items
(neighbors, then guesses; padded, at least one), M modalities, T tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import InputError
from geotoken.evidence import Evidence
from geotoken.model.config import ModelConfig

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]

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
            "query_present": self.query_present,
            "item_present": self.item_present,
            "item_mask": self.item_mask,
            "item_kind": self.item_kind,
            "item_tokens": self.item_tokens,
            "item_place": self.item_place,
            "item_rank": self.item_rank,
            "item_similarity": self.item_similarity,
            "item_similarity_known": self.item_similarity_known,
            "item_log_weight": self.item_log_weight,
        }


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
    neighbors = [np.flatnonzero(e.neighbor_rank <= config.num_neighbors) for e in evidence]
    guesses = [np.sort(np.argsort(-e.guess_weight, kind="stable")[: config.num_guesses]) for e in evidence]
    num_items = max([1, *(len(n) + len(g) for n, g in zip(neighbors, guesses, strict=True))])
    shape = (len(evidence), num_items)
    num_modalities = len(config.modalities)

    lat, lng, similarity, log_weight = np.zeros((4, *shape))
    mask, known = np.zeros((2, *shape), dtype=bool)
    kind, rank = np.zeros((2, *shape), dtype=np.int64)
    query_present = np.zeros((shape[0], num_modalities), dtype=bool)
    item_present = np.zeros((*shape, num_modalities), dtype=bool)
    query_vectors = {name: np.zeros((shape[0], dim), np.float32) for name, dim in config.modalities}
    item_vectors = {name: np.zeros((*shape, dim), np.float32) for name, dim in config.modalities}
    for photo, (one, near, told) in enumerate(zip(evidence, neighbors, guesses, strict=True)):
        first, last = slice(len(near)), slice(len(near), len(near) + len(told))
        mask[photo, : last.stop] = True
        kind[photo, last] = GUESS
        lat[photo, first], lat[photo, last] = one.neighbor_lat[near], one.guess_lat[told]
        lng[photo, first], lng[photo, last] = one.neighbor_lng[near], one.guess_lng[told]
        rank[photo, first] = one.neighbor_rank[near]
        log_weight[photo, last] = np.log(one.guess_weight[told])
        if one.neighbor_similarity is not None:
            similarity[photo, first] = one.neighbor_similarity[near]
            known[photo, first] = True
        for m, (name, dim) in enumerate(config.modalities):
            if name in one.query_vectors:
                query_vectors[name][photo] = _fitting(one.query_vectors[name], name, dim)
                query_present[photo, m] = True
            if name in one.neighbor_vectors:
                item_vectors[name][photo, first] = _fitting(one.neighbor_vectors[name], name, dim)[near]
                item_present[photo, first, m] = True
    return EvidenceBatch(
        query_vectors=query_vectors,
        query_present=query_present,
        item_vectors=item_vectors,
        item_present=item_present,
        item_mask=mask,
        item_kind=kind,
        item_tokens=config.scheme.encode(lat, lng),
        item_place=describe_places(lat, lng),
        item_rank=rank,
        item_similarity=similarity.astype(np.float32),
        item_similarity_known=known,
        item_log_weight=log_weight.astype(np.float32),
    )


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


def _fitting(vectors: NDArray[np.float64], name: str, dim: int) -> NDArray[np.float64]:
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
