"""A network in a folder: configuration as JSON, weights as safetensors, and the world prior if it has one.

Owns these files; must not know what a model folder holds beside them.
"""

from pathlib import Path
from typing import Final

from geotoken.files import replacing
from geotoken.model.config import ModelConfig
from geotoken.model.network.transformer import GeoTokenModel
from geotoken.model.runtime import CONFIG_FILE, PRIOR_FILE, load_prior
from geotoken.tensors import load_weights, save_weights

WEIGHTS_FILE: Final = "model.safetensors"


def save_network(network: GeoTokenModel, folder: Path) -> None:
    """Write configuration and weights; each file appears whole or not at all.

    Args:
        network: The network.
        folder: An existing folder.
    """
    save_weights(network, folder / WEIGHTS_FILE)
    if network.world is not None:
        with replacing(folder / PRIOR_FILE) as beside:
            network.world.prior.save(beside)
    network.config.save(folder / CONFIG_FILE)


def load_network(folder: Path) -> GeoTokenModel:
    """Read a network written by `save_network`.

    Args:
        folder: Folder with model.json and model.safetensors.

    Returns:
        The network, on the CPU, ready to be used.

    Raises:
        ArtifactError: If a file is missing or damaged, or the weights do not fit the configuration.
    """
    config = ModelConfig.load(folder / CONFIG_FILE)
    network = GeoTokenModel(config, load_prior(config, folder))
    load_weights(network, folder / WEIGHTS_FILE, "install the model again")
    return network.eval()
