"""An alignment as a folder: its configuration as JSON, its weights as safetensors, a manifest over both.

Owns writing and reading it for training; must not know what a model folder holds beside it.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from geotoken.alignment.config import CONFIG_FILE, FORMAT_VERSION, KIND, WEIGHTS_FILE, AlignmentConfig
from geotoken.alignment.network.network import AlignmentNetwork
from geotoken.errors import ArtifactError
from geotoken.files import replacing
from geotoken.manifest import verify_manifest, write_manifest


def save_alignment(
    network: AlignmentNetwork, folder: Path, *, about: Mapping[str, object] | None = None
) -> None:
    """Write configuration, weights and, last, the manifest; each file appears whole or not at all.

    Args:
        network: The network.
        folder: The folder, made if need be.
        about: Further JSON-serialisable entries of the manifest, such as how it was trained.

    Raises:
        ArtifactError: It cannot be written.
    """
    weights = {
        name: value.detach().float().cpu().contiguous() for name, value in network.state_dict().items()
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / WEIGHTS_FILE) as beside:
            save_file(weights, beside, metadata={"format": "pt"})
        network.config.save(folder / CONFIG_FILE)
        write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION, extra=about)
    except OSError as error:
        raise ArtifactError(
            f"{folder} cannot be written ({error.strerror or error}); check space and permissions"
        ) from error


def load_alignment(folder: Path) -> AlignmentNetwork:
    """Read an alignment written by `save_alignment`, to go on training it.

    Args:
        folder: The folder; its manifest is verified.

    Returns:
        The network, on the CPU, for inference.

    Raises:
        ArtifactError: If a file is missing or damaged, or the weights do not fit the configuration.
    """
    verify_manifest(folder, KIND, FORMAT_VERSION)
    network = AlignmentNetwork(AlignmentConfig.load(folder / CONFIG_FILE))
    path = folder / WEIGHTS_FILE
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(
            f"{path} does not hold the weights of {CONFIG_FILE} ({reason}); train or fetch it again"
        ) from error
    return network.eval()
