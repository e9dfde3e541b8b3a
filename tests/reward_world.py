"""A small world for the reward model: two towns look alike, and similarities tell which is the right one."""

import numpy as np

from geotoken.evidence import Evidence

KM_PER_DEG = 111.2
NUM_NEIGHBORS = 6


def make_world(num_photos, seed):
    """Photos with evidence: half of the neighbors lie in the true town, the others in one that looks alike.

    The rank says nothing; the similarity of the right ones is higher by two standard deviations.

    Returns:
        Evidence, latitudes, longitudes and owners.
    """
    rng = np.random.default_rng(seed)
    evidence, truth = [], []
    for _ in range(num_photos):
        town = rng.uniform([-50, -180], [60, 180], (2, 2))
        right = rng.permutation(np.arange(NUM_NEIGHBORS) % 2 == 0)
        places = town[np.where(right, 0, 1)] + rng.normal(size=(NUM_NEIGHBORS, 2)) * 0.5 / KM_PER_DEG
        similarity = np.clip(np.where(right, 0.7, 0.58) + 0.06 * rng.normal(size=NUM_NEIGHBORS), 0, 1)
        evidence.append(
            Evidence(
                neighbor_lat=places[:, 0],
                neighbor_lng=places[:, 1],
                neighbor_rank=np.arange(1.0, NUM_NEIGHBORS + 1),
                neighbor_similarity=similarity,
            )
        )
        truth.append(town[0] + rng.normal(size=2) * 0.3 / KM_PER_DEG)
    lat, lng = np.array(truth).T
    return evidence, lat, lng, np.arange(num_photos) // 2
