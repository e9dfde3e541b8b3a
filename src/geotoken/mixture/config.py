"""Parameters of the closed-form evidence model, as fitted, and their JSON form.

Owns the parameter values and their checks; must not know how they are used or fitted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geotoken.configs import reading_config, write_config
from geotoken.errors import ConfigError
from geotoken.files import read_json

Row = tuple[float, ...]
Matrix = tuple[Row, ...]

_MAX_VALUE, _MIN_POSITIVE = 1e6, 1e-6  # far beyond what fitting finds, and far from overflow


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborTrust:
    """How much mass each neighbor puts into each scale, as a softmax of linear scores.

    S scales, sharp ones first. The prior competes in the same softmax.
    """

    bias: Row
    """Score of each scale, nats, shape (S,)."""
    rank_slope: Row
    """Score per unit of log(rank), shape (S,)."""
    agreement_slope: Matrix
    """Score of scale (row) per unit of agreement at scale (column), shape (S, S)."""
    similarity_slope: Row
    """Score per unit of standardised similarity, shape (S,); zeros where similarity is not known."""
    best_similarity_slope: Row
    """Score per unit of the standardised similarity of the best neighbor, shape (S,)."""
    prior_bias: float
    """Score of the world prior, nats."""
    similarity_mean: float = 0.0
    """Similarity that counts as 0 after standardisation."""
    similarity_std: float = 1.0
    """Similarity difference that counts as 1 after standardisation, > 0."""
    num_neighbors: int = 20
    """Neighbors used of each photo, the best first."""

    def __post_init__(self) -> None:
        _check_shapes(
            self,
            ("bias", "rank_slope", "similarity_slope", "best_similarity_slope"),
            self.agreement_slope,
        )
        _check_values(
            prior_bias=self.prior_bias,
            similarity_mean=self.similarity_mean,
            similarity_std=self.similarity_std,
        )
        if self.similarity_std < _MIN_POSITIVE:
            raise ConfigError(
                f"similarity_std is {self.similarity_std}; it must be at least {_MIN_POSITIVE:g}"
            )
        if not isinstance(self.num_neighbors, int) or self.num_neighbors < 1:
            raise ConfigError(
                f"num_neighbors is {self.num_neighbors}; it must be a whole number of at least 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessTrust:
    """How much mass a guess of weight 1 takes from the photo's own evidence, and at which scales."""

    bias: Row
    """Score of each scale, nats, shape (S,); the photo's own evidence has the total score 0."""
    agreement_slope: Matrix
    """Score of scale (row) per unit of agreement with the neighbors at scale (column), shape (S, S)."""

    def __post_init__(self) -> None:
        _check_shapes(self, ("bias",), self.agreement_slope)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureConfig:
    """All parameters of the closed-form evidence model."""

    sharp_scales_km: Row
    """Scales of the kernels on bare distance, km, rising."""
    broad_scales_km: Row
    """Scales of the kernels multiplied with the world prior, km, rising."""
    with_similarity: NeighborTrust
    """Used when the evidence has similarities."""
    without_similarity: NeighborTrust | None
    """Used when the evidence has only ranks; None: a network weighs that."""
    guess: GuessTrust
    """Used for guesses."""

    def __post_init__(self) -> None:
        scales = self.scales_km
        _check_values(scales=scales)
        if not self.sharp_scales_km or min(scales) < _MIN_POSITIVE or list(scales) != sorted(scales):
            raise ConfigError(
                f"the scales are {scales} km; they must be positive, rising, and one at least sharp"
            )
        for name in ("with_similarity", "without_similarity", "guess"):
            if getattr(self, name) is not None and len(getattr(self, name).bias) != len(scales):
                raise ConfigError(
                    f"{name} has {len(getattr(self, name).bias)} scales, but the model has {len(scales)}"
                )

    @property
    def scales_km(self) -> Row:
        """All S scales in km, sharp ones first."""
        return self.sharp_scales_km + self.broad_scales_km

    def save(self, path: Path) -> None:
        """Write the parameters as JSON; the file appears whole or not at all.

        Args:
            path: The file to write.
        """
        write_config(path, self)

    @classmethod
    def load(cls, path: Path) -> "MixtureConfig":
        """Read parameters written by `save`.

        Args:
            path: The JSON file.

        Returns:
            The parameters.

        Raises:
            ArtifactError: If the file is missing, is no JSON, or has missing, unknown or impossible entries.
        """
        with reading_config(path, "the parameters of a mixture", "install the model again"):
            data = read_json(path)
            ranked = data["without_similarity"]
            return cls(
                sharp_scales_km=_row(data["sharp_scales_km"]),
                broad_scales_km=_row(data["broad_scales_km"]),
                with_similarity=NeighborTrust(**_tuples(data["with_similarity"])),
                without_similarity=None if ranked is None else NeighborTrust(**_tuples(ranked)),
                guess=GuessTrust(**_tuples(data["guess"])),
            )


def _check_shapes(trust: Any, names: tuple[str, ...], matrix: Matrix) -> None:
    size = len(trust.bias)
    _check_values(agreement_slope=[value for row in matrix for value in row])
    for name in names:
        _check_values(**{name: getattr(trust, name)})
        if len(getattr(trust, name)) != size:
            raise ConfigError(f"{name} has {len(getattr(trust, name))} entries; bias has {size}")
    if [len(row) for row in matrix] != [size] * size:
        raise ConfigError(f"agreement_slope must have {size} rows of {size} entries, as bias has {size}")


def _check_values(**entries: float | Sequence[float]) -> None:
    for name, value in entries.items():
        if not (np.abs(np.asarray(value, dtype=np.float64)) <= _MAX_VALUE).all():  # also if it is not finite
            raise ConfigError(f"{name} is {value}; it must be from -{_MAX_VALUE:g} to {_MAX_VALUE:g}")


def _row(values: list[float]) -> Row:
    return tuple(float(v) for v in values)


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(data)
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = (
                tuple(_row(v) for v in value) if value and isinstance(value[0], list) else _row(value)
            )
    return values
