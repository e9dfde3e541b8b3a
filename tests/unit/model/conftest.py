"""Small transformers of every kind, and ragged evidence for them."""

import numpy as np
import pytest
import torch

from geotoken.evidence import Evidence
from geotoken.model import ModelConfig, OnnxModel
from geotoken.model.network import GeoTokenModel, TorchModel, export_onnx
from geotoken.prior import WorldPrior

KINDS = {
    "paper": {"layout": "full", "norm": "post", "modalities": (("image", 8), ("text", 6)), "num_neighbors": 3}
    | dict.fromkeys(("scale_queries", "rank_embedding", "modality_embedding", "similarity_embedding"), False),
    "full": {
        "layout": "full",
        "modalities": (("image", 8),),
        "num_neighbors": 4,
        "num_guesses": 2,
        "head": "pointer",
    },
    "pooled": {"modalities": (("image", 8), ("text", 6)), "num_neighbors": 5, "num_guesses": 2},
    "kernel": {
        "modalities": (("image", 8),),
        "num_neighbors": 5,
        "num_guesses": 2,
        "relative_similarity": True,
        "head": "kernel",
    },
    "pointer": {"num_neighbors": 5, "num_guesses": 2, "head": "pointer"},
    "world": {"num_neighbors": 5, "num_guesses": 2, "head": "kernel", "world_prior": True},
}


def tiny_config(kind, **changes):
    """A configuration of width 32 with 2 + 2 layers; by default 6 * 4**2 * 4**2 = 1536 leaves."""
    size = {"width": 32, "num_encoder_layers": 2, "num_decoder_layers": 2, "num_heads": 4, "feed_forward": 48}
    return ModelConfig(**({"level": 4, "group_size": 2} | size | KINDS[kind] | changes))


def prior_of(config):
    """A world prior for the networks that are told of one: photos around two places."""
    random = np.random.default_rng(1)
    lat = np.concatenate([random.normal(40, 5, 300), random.normal(-20, 9, 100)])
    lng = np.concatenate([random.normal(10, 9, 300), random.normal(130, 9, 100)])
    return WorldPrior.from_points(lat, lng) if config.world_prior else None


def ragged_evidence(config, seed=0):
    """Five photos: all there; fewer neighbors and no vectors; nothing at all; guesses only; some vectors."""
    random = np.random.default_rng(seed)

    def make(num_neighbors, num_guesses, *, query=(), neighbor=(), similarity=False):
        def place(count):
            return random.uniform(-60, 60, count), random.uniform(-170, 170, count)

        dims = dict(config.modalities)
        neighbor_lat, neighbor_lng = place(num_neighbors)
        guess_lat, guess_lng = place(num_guesses)
        return Evidence(
            neighbor_lat=neighbor_lat,
            neighbor_lng=neighbor_lng,
            neighbor_rank=np.arange(1.0, num_neighbors + 1),
            neighbor_similarity=random.uniform(0.2, 0.9, num_neighbors) if similarity else None,
            guess_lat=guess_lat,
            guess_lng=guess_lng,
            guess_weight=random.uniform(0.5, 2, num_guesses),
            query_vectors={n: random.normal(size=dims[n]) for n in query if n in dims},
            neighbor_vectors={n: random.normal(size=(num_neighbors, dims[n])) for n in neighbor if n in dims},
        )

    both = ("image", "text")
    return [
        make(3, 1, query=both, neighbor=both, similarity=True),
        make(1, 0),
        make(0, 0, query=both),
        make(0, 2),
        make(2, 1, query=("image",), neighbor=("text",), similarity=True),
    ]


@pytest.fixture
def make_config():
    return tiny_config


@pytest.fixture
def make_prior():
    return prior_of


@pytest.fixture
def evidence():
    return ragged_evidence


@pytest.fixture(params=list(KINDS))
def kind(request):
    """Each kind of small transformer in turn."""
    return request.param


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Where the graphs of each kind lie, exported when first asked for, with the network."""
    made = {}

    def get(kind, config):
        if kind not in made:
            torch.manual_seed(3)
            folder = tmp_path_factory.mktemp(f"onnx-{kind}")
            network = GeoTokenModel(config, prior_of(config)).eval()
            export_onnx(network, folder)
            made[kind] = network, folder
        return made[kind]

    return get


@pytest.fixture
def pair(folders, make_config, kind):
    """The same weights in PyTorch and on ONNX Runtime."""
    network, folder = folders(kind, make_config(kind))
    return TorchModel(network), OnnxModel.load(folder, num_threads=1)
