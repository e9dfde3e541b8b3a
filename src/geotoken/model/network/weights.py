"""A network in a folder: its configuration as JSON, its weights as safetensors.

Owns the two files; must not know what a model folder holds beside them.
"""

from pathlib import Path
from typing import Final

from geotoken.model.config import ModelConfig
from geotoken.model.network.transformer import GeoTokenModel
from geotoken.model.runtime import CONFIG_FILE
from geotoken.tensors import load_weights, save_weights

WEIGHTS_FILE: Final = "model.safetensors"


def save_network(network: GeoTokenModel, folder: Path) -> None:
    """Write configuration and weights; each file appears whole or not at all.

    Args:
        network: The network.
        folder: An existing folder.
    """
    save_weights(network, folder / WEIGHTS_FILE)
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
    network = GeoTokenModel(ModelConfig.load(folder / CONFIG_FILE))
    load_weights(network, folder / WEIGHTS_FILE, "install the model again")
    return network.eval()
