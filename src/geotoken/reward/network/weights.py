"""A reward network in a folder: its configuration as JSON, its weights as safetensors.

Owns the two files; must not know what a model folder holds beside them.
"""

import os
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from geotoken.errors import ArtifactError
from geotoken.reward.config import RewardConfig
from geotoken.reward.network.network import RewardNetwork
from geotoken.reward.runtime import CONFIG_FILE

WEIGHTS_FILE: Final = "reward.safetensors"


def save_reward_network(network: RewardNetwork, folder: Path) -> None:
    """Write configuration and weights; each file appears whole or not at all.

    Args:
        network: The network.
        folder: An existing folder.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    part = folder / f".{WEIGHTS_FILE}.part"
    save_file(weights, part, metadata={"format": "pt"})
    os.replace(part, folder / WEIGHTS_FILE)
    part = folder / f".{CONFIG_FILE}.part"
    network.config.save(part)
    os.replace(part, folder / CONFIG_FILE)


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
    path = folder / WEIGHTS_FILE
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(
            f"{path} does not hold the weights of {CONFIG_FILE} ({reason}); train the reward model again"
        ) from error
    return network.eval()
