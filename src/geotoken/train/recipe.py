"""From a feature store to a model folder: the steps of stages 2 and 3 in their order.

Owns the order and what is refused before long work; must not know how any step is done.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from geotoken.alignment import Alignment
from geotoken.artifact import Artifact
from geotoken.errors import ArtifactError, InputError
from geotoken.features import FeatureStore
from geotoken.files import read_json
from geotoken.manifest import MANIFEST_NAME
from geotoken.train.align_run import check_held_out
from geotoken.train.checkpoint import training_folder
from geotoken.train.config import flat_sections, save_sections
from geotoken.train.decoder import DecoderStage, new_network
from geotoken.train.loop import Outcome, StepReport, check_new, fit
from geotoken.train.neighbor_lists import NeighborLists
from geotoken.train.neighbors import prepare_neighbors
from geotoken.train.plan import Plan, make_plan
from geotoken.train.publish import Trained, check_encoder, check_free, publish
from geotoken.train.settings import DecoderSettings
from geotoken.train.splits import VALIDATION, training_rows
from geotoken.train.store_cases import StoreCases


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the parts of a training lie."""

    store: Path
    """The feature store."""
    out: Path
    """The model folder to make; what is needed to resume lies in the folder OUT.training beside it."""
    align: Path | None = None
    """The alignment; none when None."""
    gallery: Path | None = None
    """Folder with gallery and neighbor lists, made if absent; in OUT.training when None."""
    model: str | None = None
    """Model whose encoder made the store; the bundled one if neither this nor `backbone` is given."""
    backbone: str | None = None
    """Backbone that made the store."""

    @property
    def work(self) -> Path:
        """Folder of the run."""
        return training_folder(self.out)

    @property
    def neighbors(self) -> Path:
        """Folder of gallery and lists."""
        return self.work / "neighbors" if self.gallery is None else self.gallery


@dataclass(frozen=True, slots=True)
class Opened:
    """What is read before anything is made."""

    store: FeatureStore
    """The feature store."""
    alignment: Alignment | None
    """The alignment."""
    settings: DecoderSettings
    """Settings of everything."""


def open_sources(
    sources: Sources, path: Path | None = None, flags: Mapping[str, Mapping[str, Any]] | None = None
) -> Opened:
    """Open store and alignment, and resolve the settings for their vectors.

    Args:
        sources: Where they lie.
        path: TOML file of settings; our recipe when None.
        flags: Entries that overrule the file, by section and name.

    Returns:
        What was opened.

    Raises:
        ArtifactError: A file is missing or damaged, or the alignment is of another encoder.
        ConfigError: A setting is unknown or impossible.
        InputError: The store has no image vectors, or another encoder made it; or the alignment has learnt
            from photos that are to validate with.
    """
    store = FeatureStore.open(sources.store, verify=_is_first())
    if "image" not in store.dims:
        raise InputError(
            f"{sources.store} has no modality image, only {', '.join(store.dims)}; embed the photos with an "
            "encoder of that name"
        )
    modalities = [("image", store.dims["image"])]
    alignment = None
    if sources.align is not None:
        if not sources.align.is_dir():
            raise ArtifactError(f"there is no alignment {sources.align}; make it: geotoken train align ...")
        alignment = Alignment.load(sources.align)
        alignment.check_encoder(store.encoders["image"], store.dims["image"])
        modalities += alignment.config.modalities.items()
    settings = DecoderSettings.resolve(path, flags, tuple(modalities))
    if sources.align is not None:
        check_held_out(sources.align, store, settings.decoder.validation_share)
    known = [name for name, _ in modalities]
    unknown = [name for name, _ in settings.model.modalities if name not in known]
    if unknown:
        raise InputError(
            f"the network reads {unknown[0]} vectors, but a photo to be located has only {', '.join(known)}; "
            "give an alignment (--align), or leave modalities out of the settings"
        )
    return Opened(store, alignment, settings)


def plan_decoder(opened: Opened, *, machine_tflops: float | None = None) -> Plan:
    """What a training would take; nothing is made.

    Args:
        opened: What `open_sources` returned.
        machine_tflops: Matrix products of this machine in 10**12 operations a second; measured when None.

    Returns:
        The plan.

    Raises:
        InputError: The machine does nothing.
    """
    if machine_tflops is not None and not machine_tflops > 0:
        raise InputError(f"machine_tflops (--machine-tflops) is {machine_tflops:g}; give more than 0")
    settings = opened.settings
    num_rows = len(training_rows(opened.store))
    if VALIDATION not in opened.store.splits:
        num_rows = round(num_rows * (1 - settings.decoder.validation_share))
    return make_plan(settings.model, settings.loop, num_rows, machine_tflops=machine_tflops)


def find_lists(
    sources: Sources, opened: Opened, *, on_list: Callable[[int, int], None] | None = None
) -> NeighborLists:
    """Find the neighbors of all photos, or take those found before; other processes wait for the first.

    Args:
        sources: Where things lie, and shall.
        opened: What `open_sources` returned.
        on_list: Called with (lists done, lists in all).

    Returns:
        The lists.

    Raises:
        InputError: Something is at OUT, another encoder than the one named made the store, or there are lists
            of another rule.
        ArtifactError: A folder is damaged or cannot be written.
    """
    check_free(sources.out)
    store, folder = opened.store, sources.neighbors
    if not _is_first():
        while not (folder / "lists" / MANIFEST_NAME).exists():
            time.sleep(0.2)
        return NeighborLists.open(folder / "lists", store, verify=False)
    check_encoder(store.encoders["image"], model=sources.model, backbone=sources.backbone)
    report = prepare_neighbors(store, folder, opened.settings.neighbors, resume=True, progress=on_list)
    return NeighborLists.open(report.lists, store)


def train_decoder(
    sources: Sources,
    opened: Opened,
    lists: NeighborLists,
    *,
    resume: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
) -> tuple[Outcome, Artifact | None]:
    """Train, and write the model folder.

    Args:
        sources: Where things lie, and shall.
        opened: What `open_sources` returned.
        lists: What `find_lists` returned.
        resume: Whether to go on with what is in the folder OUT.training.
        on_step: Called after each logged step.

    Returns:
        How the training ended, and the model; None if it was interrupted, or in a process that is not the
        first.

    Raises:
        InputError: A run is in OUT.training and `resume` is not set or its settings differ.
        ArtifactError: A file is damaged, or a folder cannot be written.
        GeoTokenError: The training failed.
    """
    store, settings = opened.store, opened.settings
    cases = StoreCases(store, lists, settings.model, alignment=opened.alignment)
    held_out = cases.held_out(settings.decoder.validation_share)
    torch.manual_seed(settings.loop.seed)
    known = lists.gallery_rows
    network = new_network(settings.model, store.lat[known], store.lng[known])
    stage = DecoderStage(network, cases, settings.decoder, settings.dropout, held_out=held_out)
    check_new(sources.work, resume=resume)
    described = sources.work / "settings.toml"
    if _is_first() and not (resume and described.exists()):  # others than those of the run are refused below
        sources.work.mkdir(parents=True, exist_ok=True)
        save_sections(described, settings)
    same = {**flat_sections(settings), "neighbor lists": _fingerprint(lists.folder)}
    if sources.align is not None:
        same["alignment"] = _fingerprint(sources.align)
    outcome = fit(stage, settings.loop, sources.work, resume=resume, settings=same, on_step=on_step)
    if outcome.interrupted or not _is_first():
        return outcome, None
    trained = Trained(
        network=network,
        settings=settings,
        outcome=outcome,
        folder=sources.work,
        gallery=sources.neighbors / "gallery",
        num_gallery=len(lists.gallery_rows),
        alignment=sources.align,
        store=sources.store,
        num_train=stage.num_rows,
        num_validation=len(stage.validation_rows),
        has_split=VALIDATION in store.splits,
    )
    return outcome, publish(trained, sources.out, model=sources.model, backbone=sources.backbone)


def _fingerprint(folder: Path) -> str:
    """What tells one folder from another of its kind: the hashes of its files."""
    files = read_json(folder / MANIFEST_NAME)["files"]
    return " ".join(f"{name}:{entry['sha256'][:12]}" for name, entry in sorted(files.items()))


def _is_first() -> bool:
    """Whether this is the process that writes; torchrun numbers them."""
    return os.environ.get("RANK", "0") == "0"
