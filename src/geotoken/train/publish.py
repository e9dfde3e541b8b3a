"""A trained transformer as a model folder that `geotoken locate --model` opens.

Owns putting the parts together and the card; must not know how they were trained.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geotoken.artifact import ALIGNMENT, CARD_NAME, Artifact, find_model, load_artifact, save_artifact
from geotoken.backbones import load_backbone, load_encoder
from geotoken.backbones.catalog import CONFIG_NAME, INDEX_NAME, PREPROCESSING_NAME
from geotoken.backbones.load import ENCODER_NAME, find_backbone, weight_files
from geotoken.errors import ArtifactError, InputError
from geotoken.files import replacing_folder
from geotoken.model.network import GeoTokenModel, export_onnx, save_network
from geotoken.train.config import save_sections
from geotoken.train.log import LOG_FILE
from geotoken.train.loop import Outcome
from geotoken.train.settings import DecoderSettings

SETTINGS_FILE: Final = "training.toml"
"""The resolved settings, in the model folder."""
HISTORY_FILE: Final = "training.csv"
"""The log of the run, in the model folder."""

_CARD: Final = """# {name}

A geotoken model: a transformer that writes the place of a photo as S2 tokens, given its neighbors in a
gallery.

## What it is

| part | what |
| --- | --- |
| encoder | {encoder} |
| gallery | {num_gallery:,} photos |
| alignment | {alignment} |
| transformer | {parameters:,} parameters; reads {evidence} |

## What it was trained on

{num_train:,} photos of the feature store `{store}`; validated with {num_validation:,} others, {held_out}.
Neighbors of a photo were never {excluded}. {num_steps:,} steps of {batch_size:,} photos; the weights are
those of step {best_step:,}, which had the lowest validation loss{average}. Every setting is in `{settings}`,
every logged step in `{history}`.

## How good it is

On those {num_validation:,} photos, with all their evidence:

| figure | value |
| --- | --- |
{figures}

`loss` is the negative log-probability of the leaf with the truth in nats, `nll_km2` minus the log density per
km2 at the truth, accuracies are percent of greedy answers of the first {num_greedy:,}. The step was chosen on
the same photos, so these figures are a little too good.

**Not measured**: photos from other sources than the store, other decoders and selectors, and whether
probabilities and radii are calibrated. Measure before use: `geotoken eval --images FOLDER --truth CSV --model
{name}`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a finished training leaves to be published."""

    network: GeoTokenModel
    """The network with its best weights."""
    settings: DecoderSettings
    """How it was trained."""
    outcome: Outcome
    """How the run ended."""
    folder: Path
    """Folder of the run, with its log."""
    gallery: Path
    """The gallery folder."""
    num_gallery: int
    """Photos in the gallery."""
    alignment: Path | None
    """The alignment folder; None without one."""
    store: Path
    """The feature store."""
    num_train: int
    """Photos trained on."""
    num_validation: int
    """Photos validated with."""
    has_split: bool
    """Whether those are a split of the store; else they are of owners held out."""


def check_encoder(name: str, *, model: str | Path | None, backbone: str | None) -> None:
    """Refuse an encoder that did not make the store, before anything is trained.

    Args:
        name: Name of the encoder that did.
        model: Model whose encoder it shall be; the bundled one if neither is given.
        backbone: Backbone that it shall be.

    Raises:
        InputError: It is another, or both are given.
    """
    if model is not None and backbone is not None:
        raise InputError("--model and --backbone both name an encoder; give the one that made the store")
    found = load_backbone(backbone, device="cpu") if backbone else load_encoder(_encoder_folder(model))
    if found.name != name:
        raise InputError(
            f"the store was made with the encoder {name}, not {found.name}; give the model (--model) or "
            "backbone (--backbone) that `geotoken embed` was given"
        )


def publish(trained: Trained, out: Path, *, model: str | Path | None, backbone: str | None) -> Artifact:
    """Write the model folder; it appears whole or not at all.

    Args:
        trained: What was trained.
        out: The folder to make.
        model: Model whose encoder made the store; the bundled one if neither is given.
        backbone: Backbone that made the store.

    Returns:
        The verified model.

    Raises:
        InputError: Something is at `out`.
        ArtifactError: A part is damaged, or the folder cannot be written.
    """
    check_free(out)
    try:
        with replacing_folder(out) as new:
            _write_parts(trained, new, out.name, model, backbone)
    except OSError as error:
        raise ArtifactError(
            f"model {out} cannot be written ({error.strerror or error}); check space and permissions"
        ) from error
    return load_artifact(out)


def check_free(out: Path) -> None:
    """Refuse to write a model over anything; ask this before long work.

    Args:
        out: The folder to make.

    Raises:
        InputError: Something is there.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists; give another --out, or remove it")


def _write_parts(
    trained: Trained, folder: Path, name: str, model: str | Path | None, backbone: str | None
) -> None:
    encoder = _write_encoder(folder / "encoder", model, backbone)
    shutil.copytree(trained.gallery, folder / "gallery")
    if trained.alignment is not None:
        shutil.copytree(trained.alignment, folder / ALIGNMENT)
    inner = folder / "transformer"
    inner.mkdir()
    save_network(trained.network, inner)
    export_onnx(trained.network, inner)
    save_sections(folder / SETTINGS_FILE, trained.settings)
    shutil.copyfile(trained.folder / LOG_FILE, folder / HISTORY_FILE)
    (folder / CARD_NAME).write_text(_card(trained, name, encoder), encoding="utf-8")
    save_artifact(folder, name=name, scheme=trained.settings.model.scheme, head="transformer")


def _card(trained: Trained, name: str, encoder: str) -> str:
    config, loop = trained.settings.model, trained.settings.loop
    rule = trained.settings.neighbors
    excluded = ["the photo itself"]
    excluded += ["by the same owner"] * rule.same_owner + ["the same file"] * rule.same_file
    if rule.min_duplicate_similarity is not None:
        excluded.append(f"more similar than {rule.min_duplicate_similarity:g}")
    if rule.within_km is not None:
        excluded.append(f"nearer than {rule.within_km:g} km")
    vectors = ", ".join(f"{one} vectors of {dim} numbers" for one, dim in config.modalities)
    figures = trained.outcome.best
    return _CARD.format(
        name=name,
        encoder=encoder,
        num_gallery=trained.num_gallery,
        alignment="none"
        if trained.alignment is None
        else "location and text vectors, see `align/align.json`",
        parameters=sum(one.numel() for one in trained.network.parameters()),
        evidence=f"up to {config.num_neighbors} neighbors" + (f"; {vectors}" if vectors else ""),
        num_train=trained.num_train,
        store=trained.store.name,
        num_validation=trained.num_validation,
        excluded=", ".join(excluded[:-1]) + " or " + excluded[-1] if len(excluded) > 1 else excluded[0],
        num_steps=trained.outcome.step,
        batch_size=loop.batch_size,
        best_step=trained.outcome.best_step,
        average=f" (a running mean of weights, {loop.ema_decay:g})" if loop.ema_decay else "",
        settings=SETTINGS_FILE,
        history=HISTORY_FILE,
        held_out="those of the split val" if trained.has_split else "all of other owners",
        num_greedy=min(trained.num_validation, trained.settings.decoder.greedy_rows),
        figures="\n".join(f"| {figure} | {value:.4g} |" for figure, value in figures.items()),
    )


def _encoder_folder(model: str | Path | None) -> Path:
    return find_model("mini" if model is None else model) / "encoder"


def _write_encoder(folder: Path, model: str | Path | None, backbone: str | None) -> str:
    """Write the encoder folder; returns its name, source and licence."""
    if backbone is None:
        shutil.copytree(_encoder_folder(model), folder)
    else:
        source = find_backbone(backbone)
        folder.mkdir()
        names = [CONFIG_NAME, PREPROCESSING_NAME, INDEX_NAME, *(one.name for one in weight_files(source))]
        for one in names:
            if (source / one).is_file():
                shutil.copyfile(source / one, folder / one)
        described: Any = load_backbone(source, device="cpu")
        entries: Mapping[str, Any] = dataclasses.asdict(described.config)
        (folder / ENCODER_NAME).write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    encoder = load_encoder(folder)
    return f"{encoder.name}: {encoder.source} ({encoder.license})"
