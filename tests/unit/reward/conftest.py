"""Small reward models, and ragged evidence with candidates for them."""

import numpy as np
import pytest

from geotoken.evidence import Evidence
from geotoken.reward import Proposals, RewardConfig

TINY = {
    "width": 16,
    "num_layers": 1,
    "num_heads": 2,
    "feed_forward": 16,
    "num_neighbors": 6,
    "num_guesses": 2,
}


def tiny_config(**changes):
    return RewardConfig(**(TINY | changes))


def ragged_cases():
    """Four photos: all there; no similarities; nothing at all; guesses only. 7, 4, 1 and 3 candidates."""
    random = np.random.default_rng(0)

    def make(num_neighbors, num_guesses, num_candidates, *, similarity, vectors):
        def places(count):
            return random.uniform(-60, 60, count), random.uniform(-170, 170, count)

        neighbor_lat, neighbor_lng = places(num_neighbors)
        guess_lat, guess_lng = places(num_guesses)
        lat, lng = places(num_candidates)
        one = Evidence(
            neighbor_lat=neighbor_lat,
            neighbor_lng=neighbor_lng,
            neighbor_rank=np.arange(1.0, num_neighbors + 1),
            neighbor_similarity=random.uniform(0.2, 0.9, num_neighbors) if similarity else None,
            guess_lat=guess_lat,
            guess_lng=guess_lng,
            guess_weight=random.uniform(0.5, 2, num_guesses),
            query_vectors={"text": random.normal(size=5)} if vectors else {},
            neighbor_vectors={"text": random.normal(size=(num_neighbors, 5))} if vectors else {},
        )
        # The first candidates lie at and near the first neighbors.
        near = min(num_candidates, num_neighbors)
        lat[:near], lng[:near] = neighbor_lat[:near] + 0.01 * np.arange(near), neighbor_lng[:near]
        return one, Proposals(
            lat=lat,
            lng=lng,
            log_prob=-20 * random.random(num_candidates),
            within=np.sort(random.random((num_candidates, 5)), axis=1),
        )

    cases = [
        make(5, 1, 7, similarity=True, vectors=True),
        make(3, 0, 4, similarity=False, vectors=False),
        make(0, 0, 1, similarity=False, vectors=False),
        make(0, 2, 3, similarity=False, vectors=False),
    ]
    return [list(part) for part in zip(*cases, strict=True)]


@pytest.fixture
def make_config():
    return tiny_config


@pytest.fixture
def make_cases():
    return ragged_cases


@pytest.fixture
def make_network():
    """A network of random weights, also in the head, which begins at zero."""
    import torch

    from geotoken.reward.network import RewardNetwork

    def make(config=None):
        torch.manual_seed(0)
        network = RewardNetwork(config or tiny_config()).eval()
        torch.nn.init.normal_(network.head.weight, std=0.5)
        return network

    return make
