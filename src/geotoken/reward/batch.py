"""Candidates and evidence of several photos as padded arrays, and the numbers that the network reads.

Owns which numbers describe a candidate, an item and their relation; must not know the network.
Dimension letters: B photos, C candidates (padded), E items (neighbors, then guesses; padded, at least one),
M modalities, R thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken.evidence import Evidence
from geotoken.geo import haversine_km
from geotoken.metrics import THRESHOLDS_KM
from geotoken.model.batch import PLACE_DIM, describe_places, items_used
from geotoken.reward.config import RewardConfig
from geotoken.reward.proposals import Proposals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]

SCALES_KM: Final = (0.1, 1.0, 5.0, 25.0, 80.0, 200.0, 750.0, 2500.0, 8000.0)
"""Scales at which a distance is told, as exp(-distance / scale)."""
CANDIDATE_DIM: Final = 4
"""Numbers about a candidate beside its probabilities: leaf probability, gap to the likeliest, rank, items."""
RELATION_DIM: Final = len(SCALES_KM) + 1
"""Numbers about a candidate and an item: nearness at each scale, and the logarithm of the distance."""

LEAST_PROBABILITY: Final = 1e-3
"""Probabilities within a threshold are taken to be at least this, and at most 1 minus this."""
_LEAST_LOG_PROB: Final = -60.0  # that of a leaf that the model holds for impossible
_FAR_KM: Final = 1e9  # the distance to what is not there


def item_dim(config: RewardConfig) -> int:
    """Numbers that describe an item.

    Args:
        config: The configuration.

    Returns:
        Kind (2), rank (2), similarity (3), weight (1), agreement at each scale, and 2 a modality.
    """
    return 8 + len(SCALES_KM) + 2 * len(config.modalities)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardBatch:
    """Candidates and evidence of B photos; whatever is absent is zero and False in its mask."""

    lat: Floats
    """Latitude of each candidate in degrees, shape (B, C)."""
    lng: Floats
    """Longitude of each candidate in degrees, shape (B, C)."""
    log_prob: Floats
    """Log-probability in nats of the leaf around each candidate, shape (B, C)."""
    within: Floats
    """Probability of the posterior within each threshold of a candidate, shape (B, C, R)."""
    mask: Bools
    """Whether there is a candidate, shape (B, C)."""
    item_lat: Floats
    """Latitude of each item in degrees, shape (B, E)."""
    item_lng: Floats
    """Longitude of each item in degrees, shape (B, E)."""
    item_mask: Bools
    """Whether there is an item, shape (B, E)."""
    item_guess: Bools
    """Whether the item is a guess, shape (B, E)."""
    item_rank: Floats
    """Rank of a neighbor from 1, shape (B, E); 0 for a guess."""
    item_similarity: Floats
    """Similarity of a neighbor, shape (B, E); 0 where not known."""
    item_similarity_known: Bools
    """Whether the similarity is known, shape (B, E)."""
    item_log_weight: Floats
    """Logarithm of a guess's weight, shape (B, E); 0 for a neighbor."""
    item_cosine: Floats
    """Cosine of the vectors of photo and neighbor, shape (B, E, M); 0 where not known."""
    item_cosine_known: Bools
    """Whether both have that vector, shape (B, E, M)."""

    def __len__(self) -> int:
        return len(self.mask)

    def take(self, rows: Ints) -> "RewardBatch":
        """Some of the photos.

        Args:
            rows: Which, shape (B',).

        Returns:
            These, in the order asked for.
        """
        return RewardBatch(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def choose(self, candidates: Ints) -> "RewardBatch":
        """Some of the candidates of each photo.

        Args:
            candidates: Which, shape (B, C').

        Returns:
            The photos with these, in the order asked for.
        """
        chosen = {
            name: np.take_along_axis(getattr(self, name), candidates, axis=1)
            for name in ("lat", "lng", "log_prob", "mask")
        }
        within = np.take_along_axis(self.within, candidates[..., None], axis=1)
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name.startswith("item_")}
        return RewardBatch(**chosen, within=within, **rest)


def collate(
    evidence: Sequence[Evidence], proposals: Sequence[Proposals], config: RewardConfig
) -> RewardBatch:
    """Pad the candidates and the evidence of several photos to one batch.

    Neighbors of a rank beyond `config.num_neighbors` and the lightest guesses beyond `config.num_guesses` are
    left out. Vectors of other lengths or kinds than their counterparts count as not there.

    Args:
        evidence: Evidence of B photos, B >= 1.
        proposals: The candidates of each.
        config: The configuration.

    Returns:
        The batch.
    """
    neighbors, guesses, num_items = items_used(evidence, config.num_neighbors, config.num_guesses)
    shape = (len(evidence), num_items)
    lat, lng, rank, similarity, log_weight = np.zeros((5, *shape))
    mask, guess, known = np.zeros((3, *shape), dtype=np.bool_)
    cosine = np.zeros((*shape, len(config.modalities)))
    cosine_known = np.zeros(cosine.shape, dtype=np.bool_)
    for photo, (one, near, told) in enumerate(zip(evidence, neighbors, guesses, strict=True)):
        first, last = slice(len(near)), slice(len(near), len(near) + len(told))
        mask[photo, : last.stop] = True
        guess[photo, last] = True
        lat[photo, first], lat[photo, last] = one.neighbor_lat[near], one.guess_lat[told]
        lng[photo, first], lng[photo, last] = one.neighbor_lng[near], one.guess_lng[told]
        rank[photo, first] = one.neighbor_rank[near]
        log_weight[photo, last] = np.log(one.guess_weight[told])
        if one.neighbor_similarity is not None:
            similarity[photo, first] = one.neighbor_similarity[near]
            known[photo, first] = True
        for m, name in enumerate(config.modalities):
            if _comparable(one, name):
                cosine[photo, first, m] = _cosine(one.query_vectors[name], one.neighbor_vectors[name][near])
                cosine_known[photo, first, m] = True
    return RewardBatch(
        **_pad(proposals),
        item_lat=lat,
        item_lng=lng,
        item_mask=mask,
        item_guess=guess,
        item_rank=rank,
        item_similarity=similarity,
        item_similarity_known=known,
        item_log_weight=log_weight,
        item_cosine=cosine,
        item_cosine_known=cosine_known,
    )


def concatenate(batches: Sequence[RewardBatch]) -> RewardBatch:
    """Join batches, padded to the widest.

    Args:
        batches: Batches of one configuration, at least one.

    Returns:
        Their photos, in order.
    """
    num_candidates = max(batch.mask.shape[1] for batch in batches)
    num_items = max(batch.item_mask.shape[1] for batch in batches)
    joined = {}
    for field in fields(RewardBatch):
        size = num_items if field.name.startswith("item_") else num_candidates
        parts = [getattr(batch, field.name) for batch in batches]
        widths = [[(0, 0), (0, size - one.shape[1]), (0, 0)][: one.ndim] for one in parts]
        joined[field.name] = np.concatenate([np.pad(*pair) for pair in zip(parts, widths, strict=True)])
    return RewardBatch(**joined)


def describe(batch: RewardBatch, config: RewardConfig) -> dict[str, NDArray[np.generic]]:
    """The numbers that the network reads.

    Args:
        batch: Candidates and evidence of B photos.
        config: The configuration.

    Returns:
        By name, each float32 but the mask: "candidate", shape (B, C, CANDIDATE_DIM); "expected", log-odds of
        the posterior at each threshold, shape (B, C, R); "relation", shape (B, C, E, RELATION_DIM); "item",
        shape (B, E, item_dim); "item_mask", shape (B, E), bool; and if the configuration says so "place",
        shape (B, C, PLACE_DIM).
    """
    distance_km = haversine_km(
        batch.lat[:, :, None], batch.lng[:, :, None], batch.item_lat[:, None], batch.item_lng[:, None]
    )
    distance_km = np.where(batch.item_mask[:, None], distance_km, _FAR_KM)  # (B, C, E)
    likely = np.clip(batch.within, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    described: dict[str, NDArray[np.generic]] = {
        "candidate": _candidates(batch),
        "expected": np.log(likely / (1 - likely)).astype(np.float32),
        "relation": np.concatenate(
            [_nearness(distance_km), np.log1p(np.minimum(distance_km, 2e4))[..., None] / 10], axis=-1
        ).astype(np.float32),
        "item": _items(batch),
        "item_mask": batch.item_mask,
    }
    if config.places:
        described["place"] = describe_places(batch.lat, batch.lng).reshape(*batch.mask.shape, PLACE_DIM)
    return described


def _candidates(batch: RewardBatch) -> Singles:
    """What is known of a candidate alone and among its rivals, shape (B, C, CANDIDATE_DIM)."""
    log_prob = np.where(batch.mask, np.maximum(batch.log_prob, _LEAST_LOG_PROB), _LEAST_LOG_PROB)
    # Equal candidates have equal ranks, so that the order in which they come does not matter.
    better = (log_prob[:, None, :] > log_prob[:, :, None]) & batch.mask[:, None, :]
    parts = [
        log_prob / 10,
        (log_prob - log_prob.max(axis=1, keepdims=True)) / 10,
        np.log1p(better.sum(axis=2)),
        np.broadcast_to(np.log1p(batch.item_mask.sum(axis=1))[:, None], log_prob.shape),
    ]
    return np.stack(parts, axis=-1).astype(np.float32)


def _items(batch: RewardBatch) -> Singles:
    """What is known of an item alone and among the others, shape (B, E, item_dim)."""
    mask, known = batch.item_mask, batch.item_similarity_known
    distance_km = haversine_km(
        batch.item_lat[:, :, None],
        batch.item_lng[:, :, None],
        batch.item_lat[:, None],
        batch.item_lng[:, None],
    )
    others = mask[:, None] & ~np.eye(mask.shape[1], dtype=np.bool_)
    agreement = _nearness(np.where(others, distance_km, _FAR_KM)).sum(axis=2)  # (B, E, S)
    best = np.max(batch.item_similarity, axis=1, where=known, initial=-1.0)[:, None]
    rank = np.maximum(batch.item_rank, 1.0)
    neighbor = mask & ~batch.item_guess
    parts = [
        neighbor,
        batch.item_guess,
        np.log(rank),
        neighbor / rank,
        known,
        batch.item_similarity,
        np.where(known, batch.item_similarity - best, 0.0) * 10,
        batch.item_log_weight,
    ]
    described = np.concatenate(
        [np.stack(parts, axis=-1), np.log1p(agreement), batch.item_cosine, batch.item_cosine_known], axis=-1
    )
    return (described * mask[..., None]).astype(np.float32)


def _nearness(distance_km: Floats) -> Floats:
    """exp(-distance / scale) at each scale, shape (..., S) of distances of shape (...)."""
    near: Floats = np.exp(-distance_km[..., None] / np.array(SCALES_KM))
    return near


def _comparable(evidence: Evidence, name: str) -> bool:
    query, neighbors = evidence.query_vectors.get(name), evidence.neighbor_vectors.get(name)
    return query is not None and neighbors is not None and neighbors.shape[1] == len(query)


def _cosine(query: Floats, neighbors: Floats) -> Floats:
    """Cosine of a vector, shape (D,), and others, shape (K, D): shape (K,); 0 to a vector of zeros."""
    norm = np.linalg.norm(query) * np.linalg.norm(neighbors, axis=1)
    return np.asarray((neighbors @ query) / np.where(norm > 0, norm, 1.0))


def _pad(proposals: Sequence[Proposals]) -> dict[str, Any]:
    """The candidates of all photos, padded."""
    shape = (len(proposals), max(1, *(len(one.lat) for one in proposals), 1))
    padded: dict[str, Any] = {name: np.zeros(shape) for name in ("lat", "lng", "log_prob")}
    padded["within"] = np.zeros((*shape, len(THRESHOLDS_KM)))
    padded["mask"] = np.zeros(shape, dtype=np.bool_)
    for photo, one in enumerate(proposals):
        for name in ("lat", "lng", "log_prob", "within"):
            padded[name][photo, : len(one.lat)] = getattr(one, name)
        padded["mask"][photo, : len(one.lat)] = True
    return padded
