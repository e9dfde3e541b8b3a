"""What the decoder shall say: the true token at each position, or a distribution soft by distance.

Owns targets and the weights of positions; must not know the network. Dimension letters: B photos, T tokens,
V vocabulary.
"""

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.geo import haversine_km
from geotoken.tokens import TokenScheme

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]


def position_weights(length: int, first: float, last: float) -> Singles:
    """Weight of each position in the loss, linear from the first to the last, mean 1.

    Args:
        length: Tokens T in a sequence.
        first: Weight of the face, relative to `last`.
        last: Weight of the last token.

    Returns:
        Weights, shape (T,).

    References:
        Ghasemi et al. (2025), GeoToken, arXiv 2511.01082: linear from 2.0 to 1.0.
    """
    weights = np.linspace(first, last, length)
    scaled: Singles = (weights / weights.mean()).astype(np.float32)
    return scaled


def hard_targets(tokens: Ints, scheme: TokenScheme) -> Singles:
    """All mass on the true token.

    Args:
        tokens: True tokens, shape (B, T).
        scheme: The token scheme.

    Returns:
        Probabilities, shape (B, T, V).
    """
    vocabulary = np.arange(max(scheme.vocabulary_sizes))
    targets: Singles = (tokens[..., None] == vocabulary).astype(np.float32)
    return targets


def soft_targets(lat: Floats, lng: Floats, scheme: TokenScheme, *, mix: float, width: float) -> Singles:
    """The true token mixed with its neighborhood: geographic label smoothing.

    At each position, the cells that may follow the true prefix share the part `mix` in proportion to
    exp(-d / s): d is the distance from the true place to a cell's center, s is `width` times the average edge
    of cells of that level.

    Args:
        lat: True latitude in degrees, shape (B,).
        lng: True longitude in degrees, shape (B,).
        scheme: The token scheme.
        mix: Mass that is spread, in [0, 1]; 0 gives hard targets.
        width: Scale of the spread in edges of a cell, > 0.

    Returns:
        Probabilities, shape (B, T, V); zero beyond the vocabulary of a position.
    """
    tokens = scheme.encode(lat, lng)
    targets = hard_targets(tokens, scheme)
    if mix == 0:
        return targets
    for position, size in enumerate(scheme.vocabulary_sizes):
        level = scheme.level_at(position + 1)
        center_lat, center_lng = cells.to_lat_lng(_children(tokens[:, :position], scheme, size))  # (B, V')
        distance_km = haversine_km(lat[:, None], lng[:, None], center_lat, center_lng)
        closeness = -distance_km / (width * cells.average_edge_km(level))
        kernel = np.exp(closeness - closeness.max(axis=1, keepdims=True))
        kernel /= kernel.sum(axis=1, keepdims=True)
        targets[:, position, :size] = (1 - mix) * targets[:, position, :size] + mix * kernel
    return targets


def _children(prefixes: Ints, scheme: TokenScheme, size: int) -> cells.CellIds:
    """Cells that may follow each prefix, shape (B, size)."""
    if prefixes.shape[1] == 0:
        faces = scheme.to_cells(np.arange(size)[:, None])
        return np.broadcast_to(faces, (len(prefixes), size))
    return cells.children(scheme.to_cells(prefixes), scheme.group_size)
