"""All settings of stage 3 together: network, loop, loss, dropout, neighbors; and our recipe, their default.

Owns which sections there are and what overrules what; must not know stores or commands.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geotoken.model.config import ModelConfig
from geotoken.train.config import LoopConfig, read_layers, resolve
from geotoken.train.decoder import DecoderConfig
from geotoken.train.dropout import DropoutConfig
from geotoken.train.neighbors import NeighborRule

SECTIONS: Final[dict[str, type]] = {
    "model": ModelConfig,
    "loop": LoopConfig,
    "decoder": DecoderConfig,
    "dropout": DropoutConfig,
    "neighbors": NeighborRule,
}
"""The dataclass of each section of a file."""

RECIPE: Final[dict[str, dict[str, Any]]] = {
    "model": {n: v for n, v in dataclasses.asdict(ModelConfig.compact()).items() if n != "modalities"},
    "loop": {
        "epochs": 30,
        "batch_size": 256,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "warmup_steps": 200,
        "schedule": "cosine",
        "clip_norm": 1.0,
        "ema_decay": 0.999,
        "patience": 8,
    },
    "decoder": {"smoothing": 0.05, "validation_share": 0.05},
    "dropout": {"neighbor": 0.1, "modality": 0.1, "query": 0.1, "similarity": 0.1},
}
"""Our recipe, where it differs from the defaults of the dataclasses; `configs/compact.toml` spells it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSettings:
    """Resolved settings of stage 3."""

    model: ModelConfig
    """The network."""
    loop: LoopConfig
    """The training loop."""
    decoder: DecoderConfig
    """Loss and validation."""
    dropout: DropoutConfig
    """Evidence taken away in training."""
    neighbors: NeighborRule
    """Which gallery photos are neighbors."""

    @classmethod
    def resolve(
        cls,
        path: Path | None = None,
        flags: Mapping[str, Mapping[str, Any]] | None = None,
        modalities: tuple[tuple[str, int], ...] = (),
    ) -> "DecoderSettings":
        """Settings by our recipe, a file and flags, each of which overrules those before.

        Args:
            path: TOML file; none when None.
            flags: Entries of each section by name; None counts as not given.
            modalities: Name and length of the vectors at hand, for a network of which the file says none.

        Returns:
            The settings; as many neighbors are found as the network reads, unless the file says otherwise.

        Raises:
            ConfigError: An entry is unknown, of a wrong type, or out of its range.
            InputError: An entry of [neighbors] is out of its range.
        """
        layers = read_layers(path, flags, SECTIONS, RECIPE)
        model = resolve(ModelConfig, {"modalities": modalities}, *layers["model"])
        return cls(
            model=model,
            loop=resolve(LoopConfig, *layers["loop"]),
            decoder=resolve(DecoderConfig, *layers["decoder"]),
            dropout=resolve(DropoutConfig, *layers["dropout"]),
            neighbors=resolve(NeighborRule, {"num_neighbors": model.num_neighbors}, *layers["neighbors"]),
        )
