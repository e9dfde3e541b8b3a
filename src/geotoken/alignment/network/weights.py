"""An alignment as a folder: its configuration as JSON, its weights as safetensors, a manifest over both.

Owns writing it; must not know what a model folder holds beside it.
"""

from collections.abc import Mapping
from pathlib import Path

from geotoken.alignment.config import CONFIG_FILE, FORMAT_VERSION, KIND, WEIGHTS_FILE
from geotoken.alignment.network.network import AlignmentNetwork
from geotoken.errors import ArtifactError
from geotoken.manifest import write_manifest
from geotoken.tensors import save_weights


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(network, folder / WEIGHTS_FILE)
        network.config.save(folder / CONFIG_FILE)
        write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION, extra=about)
    except OSError as error:
        raise ArtifactError(
            f"{folder} cannot be written ({error.strerror or error}); check space and permissions"
        ) from error
