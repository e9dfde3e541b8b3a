"""Settings of a training run: the loop's own, and TOML files and flags for those of any stage.

Owns reading, checking and saving settings; must not know the stages.
"""

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from geotoken.errors import ConfigError, reason_of
from geotoken.files import write_whole

SCHEDULES: Final = ("constant", "cosine", "exponential")
"""Learning rate after the warm-up: as it is, down to 0 as half a cosine, or times `decay` each epoch."""
PRECISIONS: Final = ("32-true", "bf16-mixed")
"""Single precision throughout, or bfloat16 where it is safe."""
ACCELERATORS: Final = ("auto", "cpu", "gpu")
"""Where to train; auto: a GPU if there is one."""

Settings = TypeVar("Settings")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How a stage is trained, whichever it is.

    Raises:
        ConfigError: A field is out of its range; the message names it.
    """

    epochs: int = 10
    """Times that every training row is seen, >= 1; not used if `steps` is given."""
    steps: int = 0
    """Steps of the optimizer; 0: as many as `epochs` take."""
    batch_size: int = 256
    """Rows in one step, of all processes together, >= 1."""
    micro_batch: int = 0
    """Rows that a process computes at once, to bound its memory; 0: its whole share of the batch."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW, > 0."""
    weight_decay: float = 0.01
    """Weight decay of AdamW, >= 0."""
    warmup_steps: int = 0
    """Steps in which the learning rate rises linearly to its highest; at most a fifth of all steps."""
    schedule: str = "cosine"
    """Learning rate after the warm-up: constant, cosine (to 0 at the end) or exponential (by epoch)."""
    decay: float = 0.9
    """Factor of the learning rate each epoch with the exponential schedule, in (0, 1]."""
    clip_norm: float = 1.0
    """Greatest norm of the gradient; 0: any."""
    ema_decay: float = 0.0
    """Share of the running mean of weights that a step keeps, in [0, 1), by which the model is validated and
    published; 0: the weights themselves."""
    patience: int = 0
    """Validations without a new best before training ends; 0: never."""
    validate_every: int = 0
    """Steps between validations; 0: as many as an epoch takes."""
    save_every: int = 0
    """Steps between checkpoints to resume from; 0: one with each validation."""
    log_every: int = 10
    """Steps between lines of log.csv, >= 1."""
    precision: str = "32-true"
    """Arithmetic: 32-true, or bf16-mixed."""
    seed: int = 0
    """Fixes the order of rows and every random draw, >= 0."""
    accelerator: str = "auto"
    """Where to train: auto, cpu or gpu; one device a process."""

    def __post_init__(self) -> None:
        check_least(
            self,
            epochs=1,
            steps=0,
            batch_size=1,
            micro_batch=0,
            weight_decay=0.0,
            warmup_steps=0,
            clip_norm=0.0,
            patience=0,
            validate_every=0,
            save_every=0,
            log_every=1,
            seed=0,
        )
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}; give more than 0")
        if not 0 < self.decay <= 1:
            raise ConfigError(f"decay is {self.decay}; give more than 0 and at most 1")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay is {self.ema_decay}; give 0 to less than 1")
        choices = {"schedule": SCHEDULES, "precision": PRECISIONS, "accelerator": ACCELERATORS}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(allowed)}")

    def num_steps(self, num_rows: int) -> int:
        """Steps of the optimizer, unless training stops early.

        Args:
            num_rows: Training rows.

        Returns:
            `steps`, or as many as the epochs take.
        """
        return self.steps or -(-self.epochs * num_rows // self.batch_size)


def check_least(settings: Any, **least: float) -> None:
    """Refuse values that are too small, or not a number.

    Args:
        settings: The dataclass instance.
        least: The least value of each field, by name.

    Raises:
        ConfigError: One is.
    """
    for name, value in least.items():
        if not getattr(settings, name) >= value:
            raise ConfigError(f"{name} is {getattr(settings, name)}; give at least {value}")


def read_sections(path: Path, allowed: Mapping[str, type]) -> dict[str, dict[str, Any]]:
    """Read a TOML file of settings.

    Args:
        path: The file.
        allowed: The dataclass of each section that it may have.

    Returns:
        The entries of each section that it has, not yet checked against the ranges.

    Raises:
        ConfigError: The file cannot be read, or has an unknown section or entry; the nearest is named.
    """
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML ({reason_of(error)}); give another file") from error
    for section, entries in sections.items():
        if section not in allowed or not isinstance(entries, dict):
            raise ConfigError(f"{path} has an unknown section [{section}]; {_nearest(section, allowed)}")
        names = [field.name for field in dataclasses.fields(allowed[section])]
        for name in entries:
            if name not in names:
                raise ConfigError(f"{path} has an unknown {name} in [{section}]; {_nearest(name, names)}")
    return sections


def read_layers(
    path: Path | None,
    flags: Mapping[str, Mapping[str, Any]] | None,
    allowed: Mapping[str, type],
    recipe: Mapping[str, Mapping[str, Any]],
) -> dict[str, list[Mapping[str, Any]]]:
    """Entries of every section: of a recipe, a file and flags, as `resolve` takes them.

    Args:
        path: TOML file; none when None.
        flags: Entries of each section by name.
        allowed: The dataclass of each section that there may be.
        recipe: Entries of sections that differ from the defaults of their dataclasses.

    Returns:
        Three layers for each section that there may be.

    Raises:
        ConfigError: The file cannot be read, or has an unknown section or entry.
    """
    given = {} if path is None else read_sections(path, allowed)
    return {name: [layers.get(name, {}) for layers in (recipe, given, flags or {})] for name in allowed}


def resolve(kind: type[Settings], *layers: Mapping[str, Any]) -> Settings:
    """Make settings of several layers, each of which overrules those before.

    Args:
        kind: The dataclass of the settings.
        layers: Entries by name, such as those of a file, then those of flags; None counts as not given.

    Returns:
        The settings; what no layer gives has its default.

    Raises:
        ConfigError: An entry is unknown, of a wrong type, or out of its range.
    """
    hints = typing.get_type_hints(kind)
    given: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in hints:
                raise ConfigError(f"there is no setting {name}; {_nearest(name, hints)}")
            if value is not None:
                given[name] = _fitting(name, value, hints[name])
    try:
        return kind(**given)
    except TypeError as error:
        raise ConfigError(f"settings are incomplete: {reason_of(error)}") from error


def save_sections(path: Path, settings: Any) -> None:
    """Write resolved settings as TOML, to be read by `read_sections`; the file appears whole or not at all.

    Args:
        path: The file.
        settings: A dataclass instance whose fields are the sections, each a dataclass instance.
    """
    lines = []
    for section, entries in dataclasses.asdict(settings).items():
        given = [f"{name} = {json.dumps(value)}" for name, value in entries.items() if value is not None]
        lines += [f"[{section}]", *given, ""]
    write_whole(path, "\n".join(lines).encode())


def flat_sections(settings: Any) -> dict[str, Any]:
    """What must be equal to resume, but the loop's, which looks after its own.

    Args:
        settings: As `save_sections` takes them.

    Returns:
        Values by section and name, as in "model.width".
    """
    return {
        f"{section}.{name}": value
        for section, entries in dataclasses.asdict(settings).items()
        if section != "loop"
        for name, value in entries.items()
    }


def _nearest(name: str, allowed: typing.Iterable[str]) -> str:
    """What to write in place of an unknown name."""
    near = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"allowed are {', '.join(allowed)}"


def _fitting(name: str, value: Any, hint: Any) -> Any:
    """A value as the type of its field: a whole number also where fractions may be, a list as a tuple.

    Raises:
        ConfigError: It is of another type.
    """
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if isinstance(value, list | tuple) and any(typing.get_origin(one) is tuple for one in allowed):
        return _as_tuple(value)
    if isinstance(value, int) and not isinstance(value, bool) and float in allowed and int not in allowed:
        return float(value)
    if type(value) not in allowed:
        wanted = " or ".join(getattr(one, "__name__", str(one)) for one in allowed)
        raise ConfigError(f"{name} is {value!r}; give a value of type {wanted}")
    return value


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(one) for one in value) if isinstance(value, list | tuple) else value
