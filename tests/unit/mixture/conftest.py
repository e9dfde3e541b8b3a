"""A small mixture: few scales, a prior of a few hundred points."""

import numpy as np
import pytest

from geotoken.evidence import Evidence
from geotoken.mixture import GuessTrust, MixtureConfig, MixtureModel, NeighborTrust


@pytest.fixture(scope="session")
def config():
    size = 4
    zeros = (0.0,) * size
    trust = NeighborTrust(
        bias=(1.0, 0.5, 0.2, 0.0),
        rank_slope=(-0.5,) * size,
        agreement_slope=((0.3,) * size,) * size,
        similarity_slope=(0.4, 0.3, 0.2, 0.1),
        best_similarity_slope=zeros,
        prior_bias=1.0,
        similarity_mean=0.5,
        similarity_std=0.1,
        num_neighbors=5,
    )
    guess = GuessTrust(bias=(0.0, -0.5, -1.0, -1.0), agreement_slope=((0.1,) * size,) * size)
    return MixtureConfig(
        sharp_scales_km=(0.3, 5.0, 40.0),
        broad_scales_km=(400.0,),
        with_similarity=trust,
        without_similarity=trust,
        guess=guess,
    )


@pytest.fixture(scope="session")
def model(config, prior):
    return MixtureModel(config, prior)


@pytest.fixture(scope="session")
def evidence():
    return Evidence(
        neighbor_lat=np.array([48.8566, 48.86, 45.76, -33.86]),
        neighbor_lng=np.array([2.3522, 2.35, 4.84, 151.2]),
        neighbor_rank=np.arange(1.0, 5.0),
        neighbor_similarity=np.array([0.8, 0.7, 0.6, 0.55]),
    )
