"""Networks with random weights that differ from their initial zeros, one for each kind."""

import pytest
import torch

from geotoken.model import collate
from geotoken.model.network import GeoTokenModel


@pytest.fixture
def make_network(make_prior):
    def random_network(config):
        torch.manual_seed(0)
        network = GeoTokenModel(config, make_prior(config))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        return network.eval()

    return random_network


@pytest.fixture
def tensors():
    """The arrays of a batch as tensors."""
    return lambda evidence, config: {
        name: torch.from_numpy(array) for name, array in collate(evidence, config).arrays().items()
    }
