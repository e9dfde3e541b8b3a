"""A small alignment of random weights, in PyTorch and as a folder."""

import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed")

from geotoken.alignment import AlignmentConfig  # noqa: E402
from geotoken.alignment.network import AlignmentNetwork, save_alignment  # noqa: E402

SMALL = {"image_encoder": "fake-6", "image_dim": 6, "dim": 8, "text_dim": 5, "hidden": (12,)}
SMALL |= {"num_frequencies": 16, "width": 20, "num_buckets": 64, "bucket_width": 4}


@pytest.fixture
def make_network():
    """Make a network of the small configuration, changed as told."""

    def make(**changes):
        torch.manual_seed(3)
        return AlignmentNetwork(AlignmentConfig(**SMALL | changes)).eval()

    return make


@pytest.fixture
def network(make_network):
    return make_network()


@pytest.fixture
def folder(network, tmp_path):
    save_alignment(network, tmp_path / "align")
    return tmp_path / "align"
