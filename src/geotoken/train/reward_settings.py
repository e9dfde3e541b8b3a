"""All settings of the reward model together: network, candidates, loss, folds, loop; and our recipe.

Owns which sections there are and what overrules what; must not know stores or commands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geotoken.errors import ConfigError
from geotoken.reward import RewardConfig
from geotoken.train.config import LoopConfig, read_layers, resolve
from geotoken.train.reward import RewardTraining
from geotoken.train.reward_cases import CandidateOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldOptions:
    """Decoders that are trained only to find candidates of photos that they were not trained on.

    Raises:
        ConfigError: A field is out of its range; the message names it.
    """

    num_folds: int = 0
    """Folds of owners, each decoded by a decoder trained on the others; 0: the model itself decodes the
    photos that it was validated with."""
    steps: int = 0
    """Steps of each of these decoders; 0: as many as the model's settings say."""

    def __post_init__(self) -> None:
        if self.num_folds < 0 or self.num_folds == 1:
            raise ConfigError(f"num_folds is {self.num_folds}; give 0, or at least 2")
        if self.steps < 0:
            raise ConfigError(f"steps of the folds is {self.steps}; give at least 0")


SECTIONS: Final[dict[str, type]] = {
    "network": RewardConfig,
    "candidates": CandidateOptions,
    "training": RewardTraining,
    "folds": FoldOptions,
    "loop": LoopConfig,
}
"""The dataclass of each section of a file."""

RECIPE: Final[dict[str, dict[str, Any]]] = {
    "loop": {
        "epochs": 40,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "warmup_steps": 50,
        "schedule": "cosine",
        "clip_norm": 1.0,
        "patience": 10,
    },
}
"""Our recipe, where it differs from the defaults of the dataclasses; `configs/reward.toml` spells it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSettings:
    """Resolved settings of the reward model."""

    network: RewardConfig
    """The network."""
    candidates: CandidateOptions
    """Which candidates it is trained on."""
    training: RewardTraining
    """Loss and validation."""
    folds: FoldOptions
    """Who decodes them."""
    loop: LoopConfig
    """The training loop."""

    @classmethod
    def resolve(
        cls,
        path: Path | None = None,
        flags: Mapping[str, Mapping[str, Any]] | None = None,
        network: Mapping[str, Any] | None = None,
    ) -> "RewardSettings":
        """Settings by our recipe, a file and flags, each of which overrules those before.

        Args:
            path: TOML file; none when None.
            flags: Entries of each section by name; None counts as not given.
            network: Entries of the network that suit the model, for what the file does not say.

        Returns:
            The settings.

        Raises:
            ConfigError: An entry is unknown, of a wrong type, or out of its range.
        """
        layers = read_layers(path, flags, SECTIONS, RECIPE)
        layers["network"].insert(0, network or {})
        resolved: dict[str, Any] = {name: resolve(kind, *layers[name]) for name, kind in SECTIONS.items()}
        return cls(**resolved)
