"""From a feature store and a model folder to a model folder with a reward model: the steps in their order.

Owns which photos may be decoded by whom, and the order; must not know how any step is done.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from geotoken.alignment import Alignment
from geotoken.artifact import ALIGNMENT, REWARD, Artifact, load_artifact, load_head
from geotoken.errors import InputError
from geotoken.features import FeatureStore
from geotoken.manifest import MANIFEST_NAME
from geotoken.model.config import ModelConfig
from geotoken.model.network import TorchModel
from geotoken.protocol import TokenModel
from geotoken.reward.network import RewardNetwork
from geotoken.train.checkpoint import training_folder
from geotoken.train.config import flat_sections, save_sections
from geotoken.train.decoder import DecoderStage, new_network
from geotoken.train.loop import Outcome, StepReport, check_new, fit
from geotoken.train.neighbor_lists import NeighborLists
from geotoken.train.neighbors import NeighborRule, prepare_neighbors
from geotoken.train.publish import SETTINGS_FILE, check_encoder
from geotoken.train.reward import RewardStage
from geotoken.train.reward_cases import CaseEvidence, RewardCases, make_cases
from geotoken.train.reward_publish import add_reward, describe_reward
from geotoken.train.reward_settings import RewardSettings
from geotoken.train.settings import DecoderSettings
from geotoken.train.splits import owner_order
from geotoken.train.store_cases import StoreCases

Ints = NDArray[np.int64]
Progress = Callable[[int, int], None]

RUN: Final = "run"
"""Folder of the reward model's own run, beside its candidates."""


@dataclass(frozen=True, slots=True)
class OpenedReward:
    """What is read before anything is made."""

    artifact: Artifact
    """The model folder."""
    model: TokenModel
    """Its head."""
    store: FeatureStore
    """The feature store."""
    cases: StoreCases
    """The photos of the store with their neighbors."""
    decoder: DecoderSettings | None
    """How the model's transformer was trained; None for a head that was not trained on photos."""
    held_out: NDArray[np.bool_]
    """Whether the model was not trained on a case, shape (N,)."""
    settings: RewardSettings
    """Settings of the reward model."""


def work_folder(model: Path) -> Path:
    """Where the run of a model's reward model lies.

    Args:
        model: The model folder.

    Returns:
        The folder; it need not exist.
    """
    return training_folder(model) / REWARD


def open_reward(
    store_folder: Path,
    model: Path,
    *,
    gallery: Path | None = None,
    config: Path | None = None,
    flags: dict[str, dict[str, Any]] | None = None,
    on_list: Progress | None = None,
) -> OpenedReward:
    """Open store and model, find out which photos the model was trained on, and resolve the settings.

    Args:
        store_folder: The feature store.
        model: The model folder.
        gallery: Folder with gallery and neighbor lists of the store, made if absent; in MODEL.training when
            None.
        config: TOML file of settings; our recipe when None.
        flags: Entries that overrule the file, by section and name.
        on_list: Called with (neighbor lists done, lists in all).

    Returns:
        What was opened.

    Raises:
        ArtifactError: A file is missing or damaged.
        ConfigError: A setting is unknown or impossible.
        InputError: The store is of another encoder, or has no photo that the model was not trained on; or
            torchrun started several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("train reward runs in one process; start it without torchrun")
    if not model.is_dir():
        raise InputError(f"there is no model folder {model}; give the one of geotoken train decoder --out")
    artifact = load_artifact(model)
    store = FeatureStore.open(store_folder)
    if "image" not in store.dims:
        raise InputError(f"{store_folder} has no modality image; embed the photos with one of that name")
    check_encoder(store.encoders["image"], model=model, backbone=None)
    decoder = _decoder_settings(artifact)
    token_model, num_neighbors = load_head(artifact)
    read = replace(ModelConfig.compact(), num_neighbors=num_neighbors) if decoder is None else decoder.model
    rule = NeighborRule(num_neighbors=num_neighbors) if decoder is None else decoder.neighbors
    folder = training_folder(model) / "neighbors" if gallery is None else gallery
    if decoder is not None:
        _check_gallery(artifact, folder)
    lists = NeighborLists.open(
        prepare_neighbors(store, folder, rule, resume=True, progress=on_list).lists, store, verify=False
    )
    aligned = artifact.folder / ALIGNMENT
    alignment = Alignment.load(aligned) if aligned.is_dir() else None
    cases = StoreCases(store, lists, read, alignment=alignment)
    names = tuple(name for name, _ in read.modalities if name != "image")  # that one is the similarity
    suited = {"modalities": names, "num_neighbors": read.num_neighbors, "num_guesses": read.num_guesses}
    settings = RewardSettings.resolve(config, flags, suited)
    everything = np.ones(len(cases), dtype=np.bool_)
    held_out = everything if decoder is None else cases.held_out(decoder.decoder.validation_share)
    if not settings.folds.num_folds and not held_out.any():
        raise InputError(
            f"the model was trained on all {len(cases)} photos of {store_folder}; give a store with others, "
            "or --folds"
        )
    if settings.folds.num_folds and decoder is None:
        raise InputError(
            f"--folds trains decoders as {artifact.name} was trained, but its head {artifact.head} was not "
            "trained on photos; leave --folds out"
        )
    return OpenedReward(artifact, token_model, store, cases, decoder, held_out, settings)


def find_candidates(
    opened: OpenedReward, folder: Path, *, resume: bool = False, on_case: Progress | None = None
) -> RewardCases | Outcome:
    """Candidates of photos, each decoded by a model that was not trained on it.

    Without folds these are the photos that the model was validated with, and the model itself decodes them:
    the very model whose candidates the reward model will judge. With folds, all photos: those of a fold are
    decoded by a decoder that was trained, with the model's settings, on all other folds.

    Args:
        opened: What `open_reward` returned.
        folder: Where candidates and the runs of folds are kept; candidates that are there are not made again.
        resume: Whether to go on with runs of folds that are there.
        on_case: Called with (photos decoded, photos in all); with folds, those of a fold.

    Returns:
        The candidates; or how the training of a fold ended, if it was interrupted.

    Raises:
        InputError: The folder holds other candidates, or other runs, or a run of the reward model and
            `resume` is not set.
        ArtifactError: A file is damaged or cannot be written.
    """
    check_new(folder / RUN, resume=resume)
    folds, decoder, cases = opened.settings.folds, opened.decoder, opened.cases
    most = -(-opened.settings.candidates.num_photos // max(1, folds.num_folds))

    def found(model: TokenModel, rows: Ints, where: Path, source: str) -> RewardCases:
        drawn = np.random.default_rng(opened.settings.candidates.seed).permutation(rows)[:most]
        rows = np.sort(drawn)
        return make_cases(
            model,
            CaseEvidence(cases, rows, model.scheme),
            (cases.lat[rows], cases.lng[rows], cases.owner[rows]),
            where,
            config=opened.settings.network,
            options=opened.settings.candidates,
            source=source,
            progress=on_case,
        )

    if not folds.num_folds or decoder is None:
        rows = np.flatnonzero(opened.held_out)
        return found(opened.model, rows, folder / "candidates", _head_hash(opened.artifact))
    parts, fold = [], fold_of(cases.owner, folds.num_folds)
    loop = replace(decoder.loop, steps=folds.steps or decoder.loop.steps)
    for number in range(folds.num_folds):
        torch.manual_seed(loop.seed)
        network = new_network(decoder.model, cases.lat[fold != number], cases.lng[fold != number])
        stage = DecoderStage(network, cases, decoder.decoder, decoder.dropout, held_out=fold == number)
        run = folder / f"fold-{number}"
        settings = {**flat_sections(decoder), "fold": f"{number} of {folds.num_folds}"}
        outcome = fit(stage, loop, run / "run", resume=resume, settings=settings)
        if outcome.interrupted:
            return outcome
        source = f"fold {number} of {folds.num_folds}, step {outcome.best_step}, {outcome.best}"
        parts.append(found(TorchModel(network), np.flatnonzero(fold == number), run / "candidates", source))
    return RewardCases.join(parts)


def train_reward(
    opened: OpenedReward,
    cases: RewardCases,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
) -> Outcome:
    """Train, and put the reward model into the model folder.

    Args:
        opened: What `open_reward` returned.
        cases: What `find_candidates` returned.
        folder: Where the run is kept.
        resume: Whether to go on with the run that is there.
        on_step: Called after each logged step.

    Returns:
        How the training ended; if it was interrupted, the model is as it was.

    Raises:
        InputError: A run is there and `resume` is not set or its settings differ; or there are too few
            photos.
        ArtifactError: A file is damaged, or a folder cannot be written.
        GeoTokenError: The training failed.
    """
    outcome, stage = fit_reward(cases, opened.settings, folder, resume=resume, on_step=on_step)
    if not outcome.interrupted:
        folds = opened.settings.folds.num_folds
        card = describe_reward(stage, outcome, store=opened.store.folder.name, num_folds=folds)
        assert isinstance(stage.module, RewardNetwork)
        add_reward(opened.artifact.folder, stage.module, card=card)
    return outcome


def fit_reward(
    cases: RewardCases,
    settings: RewardSettings,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
) -> tuple[Outcome, RewardStage]:
    """Train a reward model on candidates, wherever they come from.

    Args:
        cases: Candidates of photos that their decoder was not trained on.
        settings: Network, loss and loop.
        folder: Where the settings and the run are kept.
        resume: Whether to go on with the run that is there.
        on_step: Called after each logged step.

    Returns:
        How the training ended, and the stage, whose module holds the best weights.

    Raises:
        InputError: A run is there and `resume` is not set or its settings differ; or there are too few
            photos.
        ArtifactError: A file is damaged, or a folder cannot be written.
        GeoTokenError: The training failed.
    """
    torch.manual_seed(settings.loop.seed)
    stage = RewardStage(RewardNetwork(settings.network), cases, settings.training)
    run, described = folder / RUN, folder / "settings.toml"
    check_new(run, resume=resume)
    if not (resume and described.exists()):  # others than those of the run are refused below
        folder.mkdir(parents=True, exist_ok=True)
        save_sections(described, settings)
    outcome = fit(stage, settings.loop, run, resume=resume, settings=flat_sections(settings), on_step=on_step)
    return outcome, stage


def fold_of(owner: Ints, num_folds: int) -> Ints:
    """The fold of each photo; an owner's photos are in one.

    Args:
        owner: Code of each photo's owner, shape (N,).
        num_folds: Folds.

    Returns:
        Folds from 0, shape (N,), of about as many owners each.
    """
    order, num_owners = owner_order(owner)
    return order * num_folds // max(1, num_owners)


def _decoder_settings(artifact: Artifact) -> DecoderSettings | None:
    """How the head was trained; None if it is one that was not trained on photos.

    Raises:
        InputError: It was, and the folder does not say how.
    """
    if artifact.head != "transformer":
        return None
    path = artifact.folder / SETTINGS_FILE
    if not path.is_file():
        raise InputError(
            f"{artifact.folder} has no {SETTINGS_FILE}, so which photos it was trained on is not known; take "
            "a model of geotoken train decoder"
        )
    return DecoderSettings.resolve(path)


def _check_gallery(artifact: Artifact, folder: Path) -> None:
    """Refuse neighbors of another training: with them, which photos the model has seen is not known.

    Raises:
        InputError: The gallery there is not the model's.
    """
    theirs, ours = (one / "gallery" / MANIFEST_NAME for one in (folder, artifact.folder))
    if not theirs.is_file() or theirs.read_bytes() != ours.read_bytes():
        raise InputError(
            f"{folder} does not hold the gallery that {artifact.folder} was trained with; give the folder of "
            "its training (--gallery)"
        )


def _head_hash(artifact: Artifact) -> str:
    """What tells one head from another: the hashes of its files."""
    files = artifact.manifest["files"]
    inside = sorted(name for name in files if name.startswith(f"{artifact.head}/"))
    return " ".join(f"{name}:{files[name]['sha256']}" for name in inside)
