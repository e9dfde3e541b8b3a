"""Opens an encoder, whichever it is: the bundled kind, a backbone in a model folder, or one on the hub.

Owns the choice; must not know networks, which are imported when one is opened.
"""

from pathlib import Path
from typing import Final

from geotoken import hub
from geotoken.backbones.catalog import (
    BACKBONES,
    CONFIG_NAME,
    FILE_PATTERNS,
    INDEX_NAME,
    PREPROCESSING_NAME,
    WEIGHTS_PATTERN,
)
from geotoken.errors import ArtifactError, InputError
from geotoken.files import read_json
from geotoken.images.embed import Encoder, ImageEncoder

ENCODER_NAME: Final = "encoder.json"
"""What an encoder folder says about itself."""

BACKBONE_FORMAT: Final = 2
"""`format_version` of a folder that holds a backbone; folders of the bundled kind have 1."""


def load_encoder(folder: str | Path, *, num_threads: int | None = None) -> ImageEncoder:
    """Load the encoder folder of a model.

    Args:
        folder: Folder with `encoder.json`, and either `encoder.onnx` or a backbone in the hub's format.
        num_threads: CPU threads of the network; all when None.

    Returns:
        The encoder.

    Raises:
        ArtifactError: A file is missing or damaged, has an unknown entry, or is of a newer format.
        DependencyError: It is a backbone, and the extra `backbones` is not installed.
        InputError: `num_threads` is less than 1.
    """
    folder = Path(folder)
    if _format_version(folder / ENCODER_NAME) != BACKBONE_FORMAT:
        return Encoder.load(folder, num_threads=num_threads)
    from geotoken.backbones.network import BackboneEncoder

    return BackboneEncoder.load(folder, num_threads=num_threads)


def load_backbone(
    backbone: str | Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    num_threads: int | None = None,
    offline: bool = False,
) -> ImageEncoder:
    """Load a backbone by name, from a folder in the hub's format, or from the hub.

    Args:
        backbone: One of `BACKBONES`, a folder, or "owner/name[@revision]"; the hub's local cache comes first.
        device: Such as "cpu" or "cuda:1"; a GPU if there is one when None.
        dtype: "float32", "bfloat16" or "float16"; when None, bfloat16 on a GPU and float32 elsewhere.
        batch_size: Photos in one pass; chosen when None.
        num_threads: CPU threads; all when None.
        offline: Whether nothing may be downloaded.

    Returns:
        The encoder.

    Raises:
        ArtifactError: It is not there, cannot be fetched, or is no image model that can be used.
        DependencyError: The extra `backbones` is not installed.
        InputError: It names no backbone, or an option is out of range.
    """
    from geotoken.backbones.network import BackboneEncoder  # before anything is downloaded in vain

    folder = find_backbone(backbone, offline=offline)
    return BackboneEncoder.load(
        folder, device=device, dtype=dtype, batch_size=batch_size, num_threads=num_threads
    )


def find_backbone(backbone: str | Path, *, offline: bool = False) -> Path:
    """Find the folder of a backbone; download it if it is on the hub and not in the hub's local cache.

    Args:
        backbone: As for `load_backbone`.
        offline: Whether nothing may be downloaded.

    Returns:
        A folder in the hub's format.

    Raises:
        ArtifactError: It is not there, cannot be fetched, or has no weights as safetensors.
        DependencyError: It is on the hub, and its client is not installed.
        InputError: It is neither a name, a folder nor an id.
    """
    text = str(backbone)
    if text not in BACKBONES and Path(backbone).is_dir():
        return check_files(Path(backbone))
    hub_id = hub.parse_id(BACKBONES[text].repo_id if text in BACKBONES else text)
    if hub_id is None:
        raise InputError(
            f"there is no backbone {text!r}: it is neither one of {', '.join(BACKBONES)} nor a folder nor "
            "owner/name on the hub; give one of those"
        )
    patterns = (*FILE_PATTERNS, INDEX_NAME)
    return check_files(hub.download_files(hub_id, patterns, is_whole=_is_whole, offline=offline))


def check_files(folder: Path) -> Path:
    """Refuse a folder that cannot be a backbone.

    Args:
        folder: The folder.

    Returns:
        The same.

    Raises:
        ArtifactError: A file is missing.
    """
    for name in (CONFIG_NAME, PREPROCESSING_NAME):
        if not (folder / name).is_file():
            raise ArtifactError(
                f"{folder} has no {name}; a backbone is a folder in the hub's format with {CONFIG_NAME}, "
                f"{PREPROCESSING_NAME} and model.safetensors"
            )
    if not weight_files(folder):
        raise ArtifactError(
            f"{folder} has no weights as safetensors, and other formats are not read for they can run code; "
            "take a revision that has them (owner/name@revision), or convert them"
        )
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The files with weights in a folder.

    Args:
        folder: A folder in the hub's format.

    Returns:
        Their paths, sorted; those that the index names if there is one and all of them are there.
    """
    try:
        index = read_json(folder / INDEX_NAME)
        paths = [folder / name for name in sorted(set(index["weight_map"].values()))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = folder / "model.safetensors"
        paths = [whole] if whole.is_file() else sorted(folder.glob(WEIGHTS_PATTERN))
    return paths if all(path.is_file() for path in paths) else []


def _is_whole(folder: Path) -> bool:
    try:
        check_files(folder)
    except ArtifactError:
        return False
    return True


def _format_version(path: Path) -> object:
    """What the folder says, or None; whoever loads it says what is wrong."""
    try:
        entries = read_json(path)
    except (OSError, ValueError):
        return None
    return entries.get("format_version") if isinstance(entries, dict) else None
