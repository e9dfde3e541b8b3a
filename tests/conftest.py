"""A tiny model: two kernels, a prior of 300 points, a gallery of the example photos, the bundled encoder."""

import os
import shutil
import signal
from pathlib import Path

# Before NumPy and PyTorch are loaded, also in the commands that tests start: tiny networks are slower on many
# threads, and thirty times slower where other processes have the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from geotoken.artifact import bundled_models, save_artifact
from geotoken.gallery import build_gallery
from geotoken.images.embed import Encoder
from geotoken.mixture import GuessTrust, MixtureConfig, MixtureModel, NeighborTrust
from geotoken.prior import WorldPrior
from geotoken.tokens import TokenScheme

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells do to what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of example photos."""
    return EXAMPLES


@pytest.fixture(scope="session")
def tiny_mixture() -> MixtureModel:
    """A mixture with weights set by hand: trusts a similar neighbor, else the prior."""
    zeros = ((0.0, 0.0), (0.0, 0.0))
    neighbors = NeighborTrust(
        bias=(0.0, -1.0),
        rank_slope=(-1.0, -1.0),
        agreement_slope=zeros,
        similarity_slope=(1.0, 0.5),
        best_similarity_slope=(1.0, 0.0),
        prior_bias=-1.0,
        similarity_mean=0.6,
        similarity_std=0.2,
        num_neighbors=5,
    )
    config = MixtureConfig(
        sharp_scales_km=(5.0,),
        broad_scales_km=(500.0,),
        with_similarity=neighbors,
        without_similarity=neighbors,
        guess=GuessTrust(bias=(1.0, 0.0), agreement_slope=zeros),
    )
    random = np.random.default_rng(1)
    lat = np.degrees(np.arcsin(random.uniform(-0.8, 0.9, 300)))
    return MixtureModel(config, WorldPrior.from_points(lat, random.uniform(-180, 180, 300)))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tiny_mixture: MixtureModel) -> Path:
    """A model folder; its gallery holds the example photos themselves. Not to be changed: copy it first."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    shutil.copytree(bundled_models()["mini"] / "encoder", folder / "encoder")
    build_gallery(EXAMPLES / "attribution.csv", Encoder.load(folder / "encoder"), folder / "gallery")
    (folder / "mixture").mkdir()
    tiny_mixture.save(folder / "mixture")
    (folder / "MODEL_CARD.md").write_text("# tiny\n", encoding="utf-8")
    save_artifact(folder, name="tiny", scheme=TokenScheme(), head="mixture")
    return folder


@pytest.fixture(scope="session")
def tiny_transformer(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The tiny model with a transformer of random weights as its head. Not to be changed: copy it first."""
    import torch

    from geotoken.model import ModelConfig
    from geotoken.model.network import GeoTokenModel, export_onnx, save_network

    folder = tmp_path_factory.mktemp("models") / "tiny-transformer"
    shutil.copytree(tiny_model, folder)
    shutil.rmtree(folder / "mixture")
    (folder / "transformer").mkdir()
    torch.manual_seed(0)
    size = {"width": 32, "num_encoder_layers": 2, "num_decoder_layers": 2, "num_heads": 4, "feed_forward": 48}
    network = GeoTokenModel(ModelConfig(**size, num_neighbors=5, num_guesses=2, head="pointer"))
    save_network(network, folder / "transformer")
    export_onnx(network, folder / "transformer")
    save_artifact(folder, name="tiny-transformer", scheme=TokenScheme(), head="transformer")
    return folder
