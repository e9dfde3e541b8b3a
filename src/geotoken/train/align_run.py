"""From a feature store to an alignment folder: settings, texts, first weights, training, saving.

Owns the order of these; must not know losses.
"""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from geotoken.alignment import AlignmentConfig
from geotoken.alignment.config import FORMAT_VERSION, GEOCLIP_SCALES, KIND
from geotoken.alignment.names import describe_places
from geotoken.alignment.network import AlignmentNetwork, save_alignment
from geotoken.alignment.network.network import MAX_SCALE
from geotoken.errors import ArtifactError, InputError
from geotoken.features import FeatureStore
from geotoken.manifest import read_manifest
from geotoken.train.align import AlignConfig, AlignStage, TextInputs
from geotoken.train.checkpoint import training_folder
from geotoken.train.config import LoopConfig, read_layers, resolve
from geotoken.train.draws import Draws, rows_at
from geotoken.train.loop import Outcome, StepReport, fit
from geotoken.train.losses import process_number
from geotoken.train.neighbor_lists import store_identity
from geotoken.train.splits import VALIDATION

LOOP_DEFAULTS: Final[Mapping[str, Any]] = {"epochs": 20, "batch_size": 512, "warmup_steps": 50}
"""Where stage 1 differs from the loop's own defaults; a file or a flag may differ from both."""

TRAINED: Final = "trained"
"""Entry of the manifest that says how, and on what store."""

_GEOCLIP_SIZE: Final = {
    "dim": 512,
    "scales": GEOCLIP_SCALES,
    "num_frequencies": 256,
    "width": 1024,
    "num_hidden": 3,
}
_TIMED_STEPS: Final = 3
_STATE_BYTES: Final = 16  # of a weight, its gradient, and two means that AdamW keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignSettings:
    """All settings of stage 1."""

    network: AlignmentConfig
    """Shape of the network."""
    align: AlignConfig
    """Losses and validation."""
    loop: LoopConfig
    """How it is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignPlan:
    """What a run would take; measured on this machine."""

    num_rows: int
    """Photos to train on."""
    num_validation_rows: int
    """Photos to validate with."""
    num_texts: int
    """Distinct texts of all places."""
    num_parameters: dict[str, int]
    """Numbers that are learnt, by part of the network."""
    num_steps: int
    """Steps of the optimizer."""
    flops_per_step: float
    """Floating-point operations of the matrix products of a step, forward and backward."""
    state_bytes: int
    """Memory for weights, gradients and the optimizer, without activations."""
    seconds_per_step: float
    """Median of some steps here, with all threads that PyTorch takes."""

    @property
    def hours(self) -> float:
        """Estimate of the whole run on this machine, without validation."""
        return self.num_steps * self.seconds_per_step / 3600


def read_settings(
    store: FeatureStore,
    config: Path | None = None,
    *,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    with_geoclip: bool = False,
) -> AlignSettings:
    """Settings of stage 1 for a store: defaults, then those of a file, then those of flags.

    Args:
        store: The store, for names and lengths of its vectors.
        config: TOML file with sections [network], [align] and [loop]; defaults when None.
        flags: Entries by section that overrule the file.
        with_geoclip: Whether the location encoder has the size of GeoCLIP's.

    Returns:
        The settings.

    Raises:
        ConfigError: An entry is unknown or impossible.
        InputError: The store has no such vectors.
    """
    kinds = {"network": AlignmentConfig, "align": AlignConfig, "loop": LoopConfig}
    layers = read_layers(config, flags, kinds, {"loop": LOOP_DEFAULTS})
    align = resolve(AlignConfig, *layers["align"])
    if align.modality not in store.dims:
        raise InputError(
            f"{store.folder} has no vectors {align.modality!r}, only {', '.join(store.dims)}; set modality "
            "in [align]"
        )
    known: dict[str, Any] = {
        "image_encoder": store.encoders[align.modality],
        "image_dim": store.dims[align.modality],
    }
    if with_geoclip:
        known |= _GEOCLIP_SIZE
    return AlignSettings(
        network=resolve(AlignmentConfig, *layers["network"], known),
        align=align,
        loop=resolve(LoopConfig, *layers["loop"]),
    )


def prepare(
    store_folder: str | Path,
    config: Path | None = None,
    *,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    geoclip: str | Path | None = None,
    text_encoder: str | None = None,
    offline: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[AlignStage, AlignSettings]:
    """Make everything ready for training: settings, texts, the network with its first weights.

    Args:
        store_folder: The feature store.
        config: TOML file of settings; defaults when None.
        flags: Entries by section that overrule the file.
        geoclip: Wheel of GeoCLIP's package, or the folder it was unpacked to: its location encoder and its
            temperature are what training begins with. Random when None.
        text_encoder: Folder or hub id of a frozen text encoder; words are learnt from the store when None.
        offline: Whether nothing may be downloaded.
        progress: Called with (places named, places in all); then so of texts that are encoded.

    Returns:
        The stage and the settings.

    Raises:
        ArtifactError: The store or an encoder is missing or damaged.
        ConfigError: A setting is unknown or impossible.
        DependencyError: An extra is not installed.
        InputError: The store has no such vectors or too few photos, or GeoCLIP's package is another file.
    """
    store = FeatureStore.open(store_folder)
    settings = read_settings(store, config, flags=flags, with_geoclip=geoclip is not None)
    texts = None
    if settings.network.has_text:
        told = describe_places(store.lat, store.lng, settings.network.text, progress=progress)
        vectors = None
        if text_encoder is not None:
            from geotoken.train.texts import encode_texts

            vectors = encode_texts(text_encoder, told.texts, offline=offline, progress=progress)
            folder = Path(text_encoder)
            name = folder.resolve().name if folder.is_dir() else text_encoder
            network_config = dataclasses.replace(
                settings.network, text_encoder=name, text_encoder_dim=vectors.shape[1]
            )
            settings = dataclasses.replace(settings, network=network_config)
        texts = TextInputs(told, settings.network.num_buckets, vectors)
    elif text_encoder is not None:
        raise InputError("a text encoder (--text-encoder) has no texts to encode; set text in [network]")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.loop.seed)
        network = AlignmentNetwork(settings.network)
    if geoclip is not None:
        _begin_with_geoclip(network, Path(geoclip))
    return AlignStage(network, store, texts, settings.align), settings


def train_align(
    stage: AlignStage,
    settings: AlignSettings,
    out: Path,
    *,
    resume: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
) -> Outcome:
    """Train, and write the alignment with the best weights.

    Checkpoints and log.csv lie in OUT.training beside it. An interrupted run writes no alignment.

    Args:
        stage: As `prepare` gives it.
        settings: Likewise.
        out: The alignment folder to make.
        resume: Whether to go on with an interrupted run.
        on_step: See `fit`.

    Returns:
        How the run ended.

    Raises:
        InputError: Something else is at `out`, or it is done already and `resume` is not set.
        ArtifactError: A checkpoint cannot be read, or the folder cannot be written.
    """
    check_out(out, resume=resume)
    folder = training_folder(out)
    remembered = {
        "network": dataclasses.asdict(settings.network),
        "align": dataclasses.asdict(settings.align),
        "store": store_identity(stage.store),
    }
    outcome = fit(stage, settings.loop, folder, resume=resume, settings=remembered, on_step=on_step)
    if not outcome.interrupted and process_number() == 0:
        assert isinstance(stage.module, AlignmentNetwork)
        about = {**dataclasses.asdict(settings), "store": remembered["store"], "best": outcome.best}
        save_alignment(stage.module, out, about={TRAINED: about})
    return outcome


def check_held_out(align: Path, store: FeatureStore, validation_share: float) -> None:
    """Refuse an alignment that has learnt from photos that a later stage validates with.

    Its vectors of those photos are better than those of any other, so validation would be too good, and
    so would what the reward model learns from.

    Args:
        align: The alignment folder. One that does not say what it was trained on, or was trained on another
            store, is taken as it is.
        store: The store of the later stage.
        validation_share: Share of owners that the later stage holds out, if the store has no split "val".

    Raises:
        ArtifactError: The folder is no alignment.
        InputError: It has learnt from such photos.
    """
    trained = read_manifest(align, KIND, FORMAT_VERSION).get(TRAINED, {})
    if VALIDATION in store.splits or trained.get("store") != store_identity(store):
        return
    share = trained["align"]["validation_share"]
    if share < validation_share:
        raise InputError(
            f"{align} has learnt from photos that are to validate with: its validation_share was {share:g}, "
            f"and that of [decoder] is {validation_share:g}; set that to at most {share:g}, or train the "
            "alignment with the same"
        )


def check_out(out: Path, *, resume: bool) -> None:
    """Refuse a place where no alignment may be written, before any work.

    Args:
        out: The alignment folder to make.
        resume: Whether an alignment that is there may be written again.

    Raises:
        InputError: Something is there.
    """
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        read_manifest(out, KIND, FORMAT_VERSION)
    except ArtifactError:
        raise InputError(f"{out} exists and is no alignment; give another folder (--out)") from None
    if not resume:
        raise InputError(f"{out} is there already; give another folder (--out), or remove it")


def plan(stage: AlignStage, settings: AlignSettings) -> AlignPlan:
    """Find out what a run would take, by doing a few steps without changing a weight.

    Args:
        stage: As `prepare` gives it.
        settings: Likewise.

    Returns:
        The plan.
    """
    from torch.utils.flop_counter import FlopCounterMode

    loop, module = settings.loop, stage.module
    size = loop.batch_size

    def try_step(step: int) -> float:
        began = time.perf_counter()
        rows = rows_at(step * size, size, stage.num_rows, loop.seed)
        loss, _ = stage.loss(module, rows, Draws(loop.seed, step, 0, size))
        loss.backward()  # type: ignore[no-untyped-call]
        module.zero_grad(set_to_none=True)
        return time.perf_counter() - began

    with FlopCounterMode(display=False) as counter:
        try_step(0)
    seconds = sorted(try_step(step) for step in range(1, 1 + _TIMED_STEPS))
    parts = {name: sum(one.numel() for one in child.parameters()) for name, child in module.named_children()}
    return AlignPlan(
        num_rows=stage.num_rows,
        num_validation_rows=len(stage.validation_rows),
        num_texts=0 if stage.texts is None else int(stage.texts.codes.max()) + 1,
        num_parameters=parts,
        num_steps=loop.num_steps(stage.num_rows),
        flops_per_step=float(counter.get_total_flops()),
        state_bytes=_STATE_BYTES * sum(parts.values()),
        seconds_per_step=seconds[len(seconds) // 2],
    )


def _begin_with_geoclip(network: AlignmentNetwork, package: Path) -> None:
    from geotoken.backbones.network import load_geoclip

    parts = load_geoclip(package)
    network.location_encoder.load_state_dict(parts.location_encoder.state_dict())
    with torch.no_grad():
        network.log_scales["location"].fill_(math.log(min(parts.logit_scale, MAX_SCALE)))
