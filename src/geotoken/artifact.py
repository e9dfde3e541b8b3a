"""Model folders: what they hold, where the bundled ones lie, and that nothing in them was damaged.

Owns names, layout and verification; must not know how the parts work together.

A model is a folder with `config.json`, `manifest.json` (sha256 of each file), `MODEL_CARD.md`, and the
folders `encoder`, `gallery` and `mixture`.
"""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from geotoken.errors import ArtifactError, InputError
from geotoken.manifest import verify_manifest, write_manifest
from geotoken.metrics import THRESHOLDS_KM
from geotoken.tokens import TokenScheme

KIND: Final = "geotoken-model"
FORMAT_VERSION: Final = 1
CONFIG_NAME: Final = "config.json"
CARD_NAME: Final = "MODEL_CARD.md"
HEADS: Final = ("mixture",)
"""Evidence models that this version can run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A verified model folder."""

    name: str
    """Name of the model."""
    folder: Path
    """Where it lies."""
    scheme: TokenScheme
    """Its token scheme."""
    head: str
    """The evidence model used unless another is asked for; one of `HEADS`."""
    threshold_weights: tuple[float, ...]
    """What mbr weighs the thresholds 1, 25, 200, 750 and 2500 km with, unless told otherwise."""
    manifest: dict[str, Any]
    """The manifest, as written."""

    @property
    def num_bytes(self) -> int:
        """Size of all listed files in bytes."""
        return sum(int(entry["bytes"]) for entry in self.manifest["files"].values())

    def card(self) -> str:
        """The model card, Markdown."""
        return (self.folder / CARD_NAME).read_text(encoding="utf-8")


def bundled_models() -> dict[str, Path]:
    """Folders of the models inside the package, by name."""
    root = Path(str(resources.files("geotoken"))) / "data" / "models"
    return {folder.name: folder for folder in sorted(root.iterdir()) if folder.is_dir()}


def find_model(model: str | Path) -> Path:
    """Find the folder of a model.

    Args:
        model: Name of a bundled model, or path of a model folder.

    Returns:
        The folder.

    Raises:
        ArtifactError: If it is neither.
    """
    bundled = bundled_models()
    if str(model) in bundled:
        return bundled[str(model)]
    folder = Path(model)
    if folder.is_dir():
        return folder
    raise ArtifactError(
        f"there is no model {str(model)!r}: it is neither bundled ({', '.join(bundled)}) nor a folder; "
        "give one of those names or the path of a model folder"
    )


def load_artifact(model: str | Path) -> Artifact:
    """Verify a model folder and read its configuration.

    Args:
        model: Name of a bundled model, or path of a model folder.

    Returns:
        The artifact; every listed file has the recorded size and sha256.

    Raises:
        ArtifactError: If the folder is missing, damaged, of another kind, or made by a newer geotoken.
    """
    folder = find_model(model)
    manifest = verify_manifest(folder, KIND, FORMAT_VERSION)
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        artifact = Artifact(
            name=config["name"],
            folder=folder,
            scheme=TokenScheme(**config["scheme"]),
            head=config["head"],
            threshold_weights=_weights(config["threshold_weights"]),
            manifest=manifest,
        )
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise ArtifactError(
            f"{folder / CONFIG_NAME} cannot be used ({error}); install the model again"
        ) from error
    if artifact.head not in HEADS:
        raise ArtifactError(
            f"{folder} wants the head {artifact.head!r}; this version runs {', '.join(HEADS)}; "
            "upgrade geotoken"
        )
    return artifact


def _weights(values: list[float]) -> tuple[float, ...]:
    """Weights of the thresholds, as read.

    Raises:
        ValueError: They cannot be used.
    """
    weights = tuple(float(value) for value in values)
    if (
        len(weights) != len(THRESHOLDS_KM)
        or not all(0 <= w < float("inf") for w in weights)
        or not any(weights)
    ):
        raise ValueError(f"threshold_weights is {values}; needed: {len(THRESHOLDS_KM)} numbers, not all 0")
    return weights


def save_artifact(
    folder: Path,
    *,
    name: str,
    scheme: TokenScheme,
    head: str,
    threshold_weights: tuple[float, ...] = (1, 1, 1, 1, 1),
) -> None:
    """Write `config.json` and the manifest over all files already in a folder.

    Args:
        folder: Folder with encoder, gallery, mixture and MODEL_CARD.md in place.
        name: Name of the model.
        scheme: Its token scheme.
        head: Its default head.
        threshold_weights: What mbr weighs the thresholds 1, 25, 200, 750 and 2500 km with, length 5.
    """
    config = {
        "name": name,
        "scheme": {"level": scheme.level, "group_size": scheme.group_size},
        "head": head,
        "threshold_weights": list(threshold_weights),
    }
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION)
