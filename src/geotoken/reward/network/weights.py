"""A reward network in a folder: its configuration as JSON, its weights as safetensors.

Owns the two files; must not know what a model folder holds beside them.
"""

from pathlib import Path
from typing import Final

from geotoken.reward.config import RewardConfig
from geotoken.reward.network.network import RewardNetwork
from geotoken.reward.runtime import CONFIG_FILE
from geotoken.tensors import load_weights, save_weights

WEIGHTS_FILE: Final = "reward.safetensors"


def save_reward_network(network: RewardNetwork, folder: Path) -> None:
    """Write configuration and weights; each file appears whole or not at all.

    Args:
        network: The network.
        folder: An existing folder.
    """
    save_weights(network, folder / WEIGHTS_FILE)
    network.config.save(folder / CONFIG_FILE)


def load_reward_network(folder: Path) -> RewardNetwork:
    """Read a network written by `save_reward_network`.

    Args:
        folder: Folder with reward.json and reward.safetensors.

    Returns:
        The network, on the CPU, ready to be used.

    Raises:
        ArtifactError: If a file is missing or damaged, or the weights do not fit the configuration.
    """
    network = RewardNetwork(RewardConfig.load(folder / CONFIG_FILE))
    load_weights(network, folder / WEIGHTS_FILE, "train the reward model again")
    return network.eval()
