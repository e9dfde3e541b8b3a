"""Weights of PyTorch networks as safetensors files, which hold no code.

Owns writing and reading one file; must not know any network. Imports PyTorch only when called.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from geotoken.errors import ArtifactError
from geotoken.files import replacing

if TYPE_CHECKING:
    from torch import nn


def save_weights(network: "nn.Module", path: Path) -> None:
    """Write the weights of a network; the file appears whole or not at all.

    Args:
        network: The network, on any device.
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
    from safetensors.torch import save

    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path) as beside:
        beside.write_bytes(save(weights, {"format": "pt"}))  # save_file would let the owner alone read it


def load_weights(network: "nn.Module", path: Path, remedy: str) -> None:
    """Bring a network to the weights of a file, in place.

    Args:
        network: The network, made of the configuration that lies beside the file.
        path: The file, written by `save_weights`.
        remedy: What to do where the weights cannot be used, as the end of a message.

    Raises:
        ArtifactError: The file is missing or damaged, or its weights do not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(
            f"{path} does not hold the weights of its configuration ({reason}); {remedy}"
        ) from error
