"""Model folders: what they hold, where they lie, here or on the hub, and that nothing in them was damaged.

Owns names, layout and verification; must not know how the parts work together.

A model is a folder with `config.json`, `manifest.json` (sha256 of each file), `MODEL_CARD.md`, the folders
`encoder` and `gallery`, and one for each of its heads, `mixture` or `transformer`. It may have `align` and
`reward`.
"""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from geotoken import hub
from geotoken.errors import ArtifactError, DependencyError, InputError
from geotoken.files import read_json
from geotoken.manifest import MANIFEST_NAME, verify_manifest, write_manifest
from geotoken.metrics import THRESHOLDS_KM
from geotoken.mixture import MixtureModel
from geotoken.model import OnnxModel
from geotoken.protocol import TokenModel
from geotoken.tokens import TokenScheme
from geotoken.version import __version__

KIND: Final = "geotoken-model"
FORMAT_VERSION: Final = 1
CONFIG_NAME: Final = "config.json"
CARD_NAME: Final = "MODEL_CARD.md"
MAX_GROUP_SIZE: Final = 6
"""Levels in one token of a model: 4096 tokens at each position; beam search scores them all."""
GEOCLIP: Final = "geoclip"
"""Name of the model that `geotoken.assembly` makes on this machine."""
ALIGNMENT: Final = "align"
"""Folder of a model's alignment, if it has one."""
REWARD: Final = "reward"
"""Folder of a model's reward model, if it has one."""
HEADS: Final = ("mixture", "transformer")
"""Evidence models that this version can run; each has a folder of its name in a model."""


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
    ranked_threshold_weights: tuple[float, ...]
    """The same for evidence without similarities; equal to `threshold_weights` where config.json has none."""
    manifest: dict[str, Any]
    """The manifest, as written."""
    origin: hub.HubId | None = None
    """The model on the hub, pinned by commit hash, whose folder in the hub's cache this is."""

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


def assembled_folder(name: str) -> Path:
    """Where a model that was assembled on this machine lies.

    Args:
        name: Its name.

    Returns:
        The folder; it need not exist.

    Raises:
        DependencyError: If the extra `backbones` is not installed.
    """
    try:
        return hub.assets_folder() / name
    except DependencyError as error:
        raise DependencyError(
            f"the model {name} needs PyTorch, transformers and the hub's client, which are not all "
            "installed; pip install 'geotoken[backbones]'"
        ) from error


def find_model(model: str | Path, *, offline: bool = False) -> Path:
    """Find the folder of a model; download it if it is on the hub and not in the hub's local cache.

    Args:
        model: Name of a bundled model, else path of a model folder, else (text only) the name of one that was
            assembled here, "owner/name" or "owner/name@revision" on the hub.
        offline: Whether nothing may be downloaded.

    Returns:
        The folder.

    Raises:
        ArtifactError: If it is none of them, or cannot be downloaded.
        DependencyError: If it is on the hub and the extra `hub` is not installed.
    """
    bundled = bundled_models()
    if str(model) in bundled:
        return bundled[str(model)]
    folder = Path(model)
    if str(model) and folder.is_dir():  # Path("") is the current folder
        return folder
    if model == GEOCLIP:
        return _find_assembled(GEOCLIP)
    hub_id = hub.parse_id(model) if isinstance(model, str) else None
    if hub_id is not None and (cached := hub.find_cached(hub_id)):
        return cached
    names = ", ".join(bundled)
    if hub_id is None:
        raise ArtifactError(
            f"there is no model {str(model)!r}: it is neither bundled ({names}) nor a folder nor owner/name "
            "of a model on the hub; give one of those names or the path of a model folder"
        )
    if Path(hub_id.repo_id).parent.is_dir():  # a folder of that name is more likely meant than an owner
        raise ArtifactError(
            f"there is no model {str(model)!r}: it is neither bundled ({names}) nor a folder; give one of "
            f"those names or the path of a folder, or if it is on the hub: geotoken models pull {hub_id}"
        )
    return hub.download(hub_id, kind=KIND, max_format_version=FORMAT_VERSION, offline=offline)


def pull_from_hub(model: str) -> Artifact:
    """Bring a model of the hub up to date in the hub's local cache, and mend it if it was damaged.

    Args:
        model: "owner/name" or "owner/name@revision"; or the name of a bundled model, which needs no pull.

    Returns:
        The verified model.

    Raises:
        ArtifactError: If it cannot be downloaded, or is no model that this version reads.
        DependencyError: If the extra `hub` is not installed.
        InputError: If the id is malformed.
    """
    if model in bundled_models():
        return load_artifact(model)
    return load_artifact(hub.download(hub.need_id(model), kind=KIND, max_format_version=FORMAT_VERSION))


def push_to_hub(
    model: str | Path, repo_id: str, *, private: bool = False, message: str | None = None
) -> hub.Upload:
    """Publish a model folder on the hub, with its card as the hub wants it, in one commit.

    Its gallery goes with it: the coordinates and attributions of every photo in it become readable.

    Args:
        model: Name of a bundled model, path of a model folder, or a hub id in the cache.
        repo_id: "owner/name"; made if it does not exist.
        private: Whether nobody else may see it.
        message: Message of the commit; names the model when None.

    Returns:
        Where it lies, with the hash of the commit.

    Raises:
        ArtifactError: If the folder is not a whole model, or the hub cannot be reached or refuses.
        DependencyError: If the extra `hub` is not installed.
        InputError: If the id is malformed or the message empty.
    """
    hub.need_id(repo_id)
    artifact = load_artifact(model, offline=True)
    if message is None:
        message = f"{artifact.name}, by geotoken {__version__}"
    return hub.upload(
        artifact.folder,
        repo_id,
        files=artifact.manifest["files"],
        card=artifact.card(),
        private=private,
        message=message,
    )


def load_artifact(model: str | Path, *, offline: bool = False) -> Artifact:
    """Verify a model folder and read its configuration.

    Args:
        model: A model as `find_model` takes it.
        offline: Whether nothing may be downloaded.

    Returns:
        The artifact; every listed file has the recorded size and sha256.

    Raises:
        ArtifactError: If the folder is missing, damaged, of another kind, or made by a newer geotoken, or
            cannot be downloaded.
        DependencyError: If the model is on the hub and the extra `hub` is not installed.
    """
    folder = find_model(model, offline=offline)
    origin = hub.origin(folder)
    try:
        manifest = verify_manifest(folder, KIND, FORMAT_VERSION)
    except ArtifactError as error:
        if origin is None:
            raise
        raise ArtifactError(f"{error}: geotoken models pull {origin}") from error
    try:
        config = read_json(folder / CONFIG_NAME)
        artifact = Artifact(
            name=_name(config["name"]),
            folder=folder,
            scheme=_scheme(**config["scheme"]),
            head=config["head"],
            threshold_weights=_weights(config["threshold_weights"]),
            ranked_threshold_weights=_weights(
                config.get("ranked_threshold_weights", config["threshold_weights"])
            ),
            manifest=manifest,
            origin=origin,
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ArtifactError(
            f"{folder / CONFIG_NAME} cannot be used ({error}); install the model again"
        ) from error
    if artifact.head not in HEADS:
        raise ArtifactError(
            f"{folder} wants the head {artifact.head!r}; this version runs {', '.join(HEADS)}; "
            "upgrade geotoken"
        )
    return artifact


def _name(value: object) -> str:
    """The name of a model, as read.

    Raises:
        TypeError: It is no text.
    """
    if not isinstance(value, str):
        raise TypeError(f"name is {value!r:.40}; needed: a text")
    return value


def _scheme(*, level: int, group_size: int) -> TokenScheme:
    """A token scheme, as read.

    Raises:
        ValueError: It has more tokens a position than memory for them.
    """
    scheme = TokenScheme(level=level, group_size=group_size)
    if group_size > MAX_GROUP_SIZE:
        raise ValueError(f"group_size is {group_size}; a model has at most {MAX_GROUP_SIZE} levels a token")
    return scheme


def load_head(
    artifact: Artifact, head: str | None = None, num_threads: int | None = None
) -> tuple[TokenModel, int]:
    """Open an evidence model of a verified folder.

    Args:
        artifact: The folder.
        head: One of `HEADS`; the artifact's default when None.
        num_threads: Processor cores for a network; all when None.

    Returns:
        The evidence model, and how many neighbors it reads.

    Raises:
        ArtifactError: A part is missing or damaged, or has another token scheme than the model.
        InputError: The model has no such head.
    """
    head = head or artifact.head
    present = [name for name in HEADS if (artifact.folder / name).is_dir()]
    if artifact.head not in present:
        raise ArtifactError(f"{artifact.folder} lacks the folder {artifact.head}; install the model again")
    if head not in present:
        raise InputError(
            f"head (--head) is {head!r}; the model {artifact.name} has {' and '.join(present)}; choose one"
        )
    folder = artifact.folder / head
    if head == "mixture":
        mixture = MixtureModel.load(folder, artifact.scheme)
        return mixture, mixture.config.with_similarity.num_neighbors
    transformer = OnnxModel.load(folder, num_threads)
    if transformer.scheme != artifact.scheme:
        raise ArtifactError(f"{folder} has not the token scheme of its model; install the model again")
    return transformer, transformer.config.num_neighbors


def _find_assembled(name: str) -> Path:
    folder = assembled_folder(name)
    if not folder.is_dir():
        raise ArtifactError(
            f"the model {name} is not on this machine; fetch and assemble it once, with a network: "
            f"geotoken models pull {name}"
        )
    return folder


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
    ranked_threshold_weights: tuple[float, ...] | None = None,
) -> None:
    """Write `config.json` and the manifest over all files already in a folder.

    Args:
        folder: Folder with encoder, gallery, mixture and MODEL_CARD.md in place.
        name: Name of the model.
        scheme: Its token scheme.
        head: Its default head.
        threshold_weights: What mbr weighs the thresholds 1, 25, 200, 750 and 2500 km with, length 5.
        ranked_threshold_weights: The same for evidence without similarities; as `threshold_weights` if None.
    """
    config: dict[str, Any] = {
        "name": name,
        "scheme": {"level": scheme.level, "group_size": scheme.group_size},
        "head": head,
        "threshold_weights": list(threshold_weights),
    }
    if ranked_threshold_weights is not None:
        config["ranked_threshold_weights"] = list(ranked_threshold_weights)
    (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION)


def export_transformer(folder: Path, out: Path | None = None) -> tuple[Path, float]:
    """Make the graphs that the base install runs of a transformer's weights, and prove that they agree.

    Args:
        folder: A model folder with `transformer/model.json` and `transformer/model.safetensors`, or that
            inner folder itself. The manifest of a model folder is renewed.
        out: Folder for the graphs and model.json, made if need be; beside the weights when None.

    Returns:
        The folder with the graphs, and the largest difference of a log-probability from PyTorch, in nats.

    Raises:
        ArtifactError: If the weights are missing or damaged, the folder cannot be written, or the graphs
            do not agree.
        DependencyError: If the extra `train` is not installed.
    """
    from geotoken.model.network import export_onnx, load_network

    inner = folder / "transformer" if (folder / "transformer").is_dir() else folder
    listed = inner != folder and (folder / MANIFEST_NAME).exists()
    if listed:
        verify_manifest(folder, KIND, FORMAT_VERSION)
    network = load_network(inner)
    target = inner if out is None else out
    try:
        target.mkdir(parents=True, exist_ok=True)
        difference = export_onnx(network, target)
    except OSError as error:
        raise ArtifactError(f"cannot write to {target} ({error.strerror}); give another --out") from error
    if listed and target.resolve().is_relative_to(folder.resolve()):
        write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION)
    return target, difference
