"""From evidence to the weights of the mixture: who agrees with whom, at which rank and similarity.

Owns the weighting formulas; must not know kernels' masses on cells.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ConfigError
from geotoken.evidence import Evidence
from geotoken.geo import to_xyz
from geotoken.kernels import chord2_km2
from geotoken.mixture.config import GuessTrust, MixtureConfig, NeighborTrust
from geotoken.mixture.network import EvidenceNetwork, Points
from geotoken.prior import Tilts, WorldPrior

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Components:
    """A weighted set of kernels: E points, S scales, and the prior."""

    points: Floats
    """Unit vectors, shape (E, 3)."""
    weights: Floats
    """Probability of each point and scale, shape (E, S)."""
    prior_weight: float
    """Probability of the world prior; with `weights` it sums to 1."""
    tilts: Tilts
    """What the points make of the prior at the broad scales."""
    sharp_scales_km: tuple[float, ...]
    """Scales of the kernels on bare distance, which come first."""


def weigh(evidence: Evidence, config: MixtureConfig, prior: WorldPrior) -> Components:
    """Turn the evidence of one photo into kernel weights, linearly.

    The score of neighbor i at scale s is linear in log(rank), in the similarity, and in the agreement with
    the other neighbors at every scale, A_it = log(1 + sum_j 1 / (1 + u_ij / t^2)) with u the squared chord;
    neighbors and prior share one softmax. Guesses, scored alike, then compete with that whole.

    Args:
        evidence: The evidence of one photo, or of several photos of one place merged.
        config: Parameters.
        prior: The world prior.

    Returns:
        Points, weights (E, S), the weight of the prior, and its tilts.

    Raises:
        ConfigError: If the parameters have no weights for evidence without similarities, and this is such.
    """
    trust = config.without_similarity if evidence.neighbor_similarity is None else config.with_similarity
    if trust is None:
        raise ConfigError(
            "these parameters have no weights for evidence without similarities; use the network"
        )
    used = evidence.neighbor_rank <= trust.num_neighbors
    similarity = None if evidence.neighbor_similarity is None else evidence.neighbor_similarity[used]
    points = _points(evidence, used)
    neighbors, guesses = points.xyz[~points.is_guess], points.xyz[points.is_guess]
    rank = points.rank[~points.is_guess]
    scores = neighbor_scores(neighbors, rank, similarity, config.scales_km, trust)
    logits = np.concatenate([scores.ravel(), [trust.prior_bias]])
    logits -= np.logaddexp.reduce(logits)
    guess_logits = guess_scores(guesses, neighbors, config.scales_km, config.guess)
    guess_logits += np.log(points.weight[points.is_guess])[:, None]
    logits = np.concatenate([logits[:-1], guess_logits.ravel(), logits[-1:]])
    tilts = prior.tilt(points.xyz, config.broad_scales_km)
    return _components(points, logits, tilts, config.sharp_scales_km)


def weigh_ranked(evidence: Evidence, network: EvidenceNetwork, prior: WorldPrior) -> Components:
    """Turn the evidence of one photo into kernel weights by a network that knows ranks, not similarities.

    It weighs neighbors, guesses and prior at once.

    Args:
        evidence: The evidence of one photo, or of several photos of one place merged.
        network: The network.
        prior: The world prior.

    Returns:
        Points, weights (E, S), the weight of the prior, and its tilts.
    """
    points = _points(evidence, evidence.neighbor_rank <= network.num_neighbors)
    tilts = prior.tilt(points.xyz, network.broad_scales_km)
    logits = np.zeros(1)
    if len(points.xyz):
        logits = network.log_weights(points, tilts.log_share)
    return _components(points, logits, tilts, network.sharp_scales_km)


def _components(
    points: Points, logits: Floats, tilts: Tilts, sharp_scales_km: tuple[float, ...]
) -> Components:
    """Components of log-weights of points and scales, with that of the prior at the end, (E * S + 1,)."""
    weights = np.exp(logits - np.logaddexp.reduce(logits))
    return Components(
        points=points.xyz,
        weights=weights[:-1].reshape(len(points.xyz), len(sharp_scales_km) + len(tilts.far_kernels)),
        prior_weight=float(weights[-1]),
        tilts=tilts,
        sharp_scales_km=sharp_scales_km,
    )


def _points(evidence: Evidence, used: NDArray[np.bool_]) -> Points:
    lat = np.concatenate([evidence.neighbor_lat[used], evidence.guess_lat])
    lng = np.concatenate([evidence.neighbor_lng[used], evidence.guess_lng])
    num_neighbors, num_guesses = int(used.sum()), len(evidence.guess_lat)
    return Points(
        xyz=to_xyz(lat, lng),
        rank=np.concatenate([evidence.neighbor_rank[used], np.ones(num_guesses)]),
        is_guess=np.arange(len(lat)) >= num_neighbors,
        weight=np.concatenate([np.ones(num_neighbors), evidence.guess_weight]),
    )


def neighbor_scores(
    points: Floats,
    rank: Floats,
    similarity: Floats | None,
    scales_km: tuple[float, ...],
    trust: NeighborTrust,
) -> Floats:
    """Unnormalised log-weights of neighbors.

    Args:
        points: Unit vectors of the neighbors, shape (K, 3).
        rank: Rank of each, from 1, shape (K,).
        similarity: Cosine similarity of each, shape (K,), or None.
        scales_km: The S scales in km.
        trust: Parameters.

    Returns:
        Scores in nats, shape (K, S).
    """
    agreement = agreements(points, points, scales_km, exclude_self=True)
    scores = np.asarray(trust.bias) + np.log(rank)[:, None] * np.asarray(trust.rank_slope)
    scores += agreement @ np.asarray(trust.agreement_slope).T
    if similarity is not None and len(similarity):
        standard = (similarity - trust.similarity_mean) / trust.similarity_std
        scores += standard[:, None] * np.asarray(trust.similarity_slope)
        scores += standard.max() * np.asarray(trust.best_similarity_slope)
    return np.asarray(scores)


def guess_scores(
    guesses: Floats, neighbors: Floats, scales_km: tuple[float, ...], trust: GuessTrust
) -> Floats:
    """Log-weights of guesses of weight 1, against a total of 0 for the photo's own evidence.

    Args:
        guesses: Unit vectors of the guesses, shape (G, 3).
        neighbors: Unit vectors of the neighbors, shape (K, 3).
        scales_km: The S scales in km.
        trust: Parameters.

    Returns:
        Scores in nats, shape (G, S).
    """
    agreement = agreements(guesses, neighbors, scales_km, exclude_self=False)
    return np.asarray(np.asarray(trust.bias) + agreement @ np.asarray(trust.agreement_slope).T)


def agreements(points: Floats, others: Floats, scales_km: tuple[float, ...], *, exclude_self: bool) -> Floats:
    """How many of the others lie near each point, at each scale, softly counted, in log.

    Args:
        points: Unit vectors, shape (E, 3).
        others: Unit vectors, shape (K, 3).
        scales_km: The S scales in km.
        exclude_self: The two sets are the same, and a point does not count itself.

    Returns:
        log(1 + count), shape (E, S).
    """
    chord2 = chord2_km2(points, others)
    counts = [np.sum(1 / (1 + chord2 / scale**2), axis=1) for scale in scales_km]
    return np.log1p(np.maximum(np.stack(counts, axis=1) - (1.0 if exclude_self else 0.0), 0.0))
