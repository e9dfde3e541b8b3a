"""A small network that weighs neighbors and guesses by where they lie among each other, in plain numpy.

Owns its features, arithmetic and file; must not know kernels' densities or how it was trained.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError
from geotoken.files import ARRAY_DAMAGE
from geotoken.kernels import chord2_km2

Floats = NDArray[np.float64]

NEAR_SCALES_KM: Final = (0.1, 0.6, 4.0, 25.0, 100.0, 400.0, 1500.0)
"""Scales at which points are near each other."""
CLIP: Final = 5.0
"""Largest absolute value of a standardised feature: what training has hardly seen is taken as its edge."""
NUM_ROUNDS: Final = 2
_SCALE_NAMES: Final = ("sharp_scales_km", "broad_scales_km")
_EPSILON = 1e-6
_NORM_EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The places that evidence names: neighbors first, then guesses; E in all."""

    xyz: Floats
    """Unit vectors, shape (E, 3)."""
    rank: Floats
    """Rank of each neighbor, from 1; 1 for guesses; shape (E,)."""
    is_guess: NDArray[np.bool_]
    """Whether it is a guess, shape (E,)."""
    weight: Floats
    """Trust in it: 1 for neighbors, > 0, shape (E,)."""


@dataclass(frozen=True, slots=True)
class EvidenceNetwork:
    """Weights of points at S scales and of the prior: the mean of M small networks of one shape.

    Each point has features (rank, agreement with neighbors and guesses at every scale, prior mass around);
    two rounds of messages pass weighted means over the points near at every scale, and over all; the score is
    linear in the features, plus what the rounds add.
    """

    parameters: dict[str, NDArray[np.float32]]
    """Arrays by name, of shape (M, ...); a linear map is stored as (M, outputs, inputs)."""
    sharp_scales_km: tuple[float, ...]
    """Scales of the kernels on bare distance, km, rising."""
    broad_scales_km: tuple[float, ...]
    """Scales of the kernels multiplied with the world prior, km, rising."""
    num_neighbors: int = 20
    """Neighbors used of each photo, the best first."""

    @classmethod
    def load(cls, path: Path) -> "EvidenceNetwork":
        """Read a network written by `save`.

        Args:
            path: The .npz file.

        Returns:
            The network.

        Raises:
            ArtifactError: If the file is missing or does not hold such a network.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            sharp_km, broad_km = (tuple(arrays.pop(name).tolist()) for name in _SCALE_NAMES)
            num_neighbors = int(arrays.pop("num_neighbors"))
            _check(arrays, sharp_km, broad_km, num_neighbors)
        except ARRAY_DAMAGE as error:
            raise ArtifactError(
                f"{path} is not a network that weighs evidence ({error}); install the model again"
            ) from error
        return cls(arrays, sharp_km, broad_km, num_neighbors)

    def save(self, path: Path) -> None:
        """Write the parameters.

        Args:
            path: The .npz file to write.
        """
        scales = dict(zip(_SCALE_NAMES, (self.sharp_scales_km, self.broad_scales_km), strict=True))
        arrays = {**self.parameters, **scales, "num_neighbors": self.num_neighbors}
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # the stub takes each for a flag

    def log_weights(self, points: Points, log_share: Floats) -> Floats:
        """Weigh the points and the prior against each other.

        Args:
            points: The E points; E > 0.
            log_share: Log of the prior mass around each at the B broad scales, shape (E, B).

        Returns:
            Log-weights of points and scales, row by row, and of the prior at the end, shape (E * S + 1,), of
            total 1. In each of the M networks the weight of a guess multiplies its odds.
        """
        trust = np.minimum(points.weight, 1.0)
        nearness = 1 / (1 + chord2_km2(points.xyz, points.xyz) / np.square(NEAR_SCALES_KM)[:, None, None])
        features = features_of(points, trust, nearness, log_share)
        reached = nearness * trust
        reached /= reached.sum(axis=2, keepdims=True) + _EPSILON
        members = [
            {name: array[m] for name, array in self.parameters.items()}
            for m in range(len(self.parameters["mean"]))
        ]
        each = [_member(member, features, reached, trust, np.log(points.weight)) for member in members]
        return np.asarray(np.logaddexp.reduce(each, axis=0) - np.log(len(each)))


def _member(
    parameters: dict[str, NDArray[np.float32]],
    features: Floats,
    reached: Floats,
    trust: Floats,
    log_odds: Floats,
) -> Floats:
    """Log-weights of one network, shape (E * S + 1,)."""
    p = parameters
    standard = np.clip((features - p["mean"]) / p["std"], -CLIP, CLIP)
    hidden = _silu(_linear(p, "input", standard))
    for i in range(NUM_ROUNDS):
        normal = _layer_norm(p, f"norm{i}", hidden)
        everywhere = np.broadcast_to(_mean(normal, trust), normal.shape)
        messages = np.concatenate([reached @ normal, everywhere[None]])
        joined = messages.transpose(1, 0, 2).reshape(len(hidden), -1)
        hidden = hidden + _silu(_linear(p, f"round{i}", joined))
    hidden = _layer_norm(p, "norm_out", hidden)
    scores = _linear(p, "linear", standard) + _linear(p, "output", hidden) + log_odds[:, None]
    logits = np.append(scores, _linear(p, "prior", _mean(hidden, trust)))
    return np.asarray(logits - np.logaddexp.reduce(logits))


def features_of(points: Points, trust: Floats, nearness: Floats, log_share: Floats) -> Floats:
    """What the network is told of each point, before standardisation.

    Args:
        points: The E points.
        trust: How much each counts for the others, in (0, 1], shape (E,).
        nearness: How near points are at each of the T scales, in (0, 1], shape (T, E, E).
        log_share: Log of the prior mass around each at the B broad scales, shape (E, B).

    Returns:
        Features, shape (E, 2 + 4 T + B).
    """
    others = nearness * (1 - np.eye(len(trust)))
    neighbor, guess = trust * ~points.is_guess, trust * points.is_guess
    agreement = np.log1p(others @ neighbor).T
    ranked = np.log1p(others @ (neighbor / np.sqrt(points.rank))).T
    guessed = (others @ guess).T
    most = np.broadcast_to(agreement.max(axis=0), agreement.shape)
    own = np.stack([np.log(points.rank), points.is_guess], axis=1)
    return np.concatenate([own, agreement, ranked, guessed, most, log_share], axis=1)


def num_features(num_broad: int) -> int:
    """Number of features of a point.

    Args:
        num_broad: Number B of broad scales.

    Returns:
        The number.
    """
    return 2 + 4 * len(NEAR_SCALES_KM) + num_broad


def parameter_shapes(hidden: int, num_scales: int, num_broad: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters of one network.

    Args:
        hidden: Width of the network.
        num_scales: Number S of scales scored.
        num_broad: How many of them are broad.

    Returns:
        Shape of each array by name.
    """
    width, joined = num_features(num_broad), hidden * (len(NEAR_SCALES_KM) + 1)
    linear = {"linear": (num_scales, width), "input": (hidden, width), "output": (num_scales, hidden)}
    linear |= {"prior": (1, hidden)} | {f"round{i}": (hidden, joined) for i in range(NUM_ROUNDS)}
    norms = [*(f"norm{i}" for i in range(NUM_ROUNDS)), "norm_out"]
    return {
        "mean": (width,),
        "std": (width,),
        **{f"{name}.weight": shape for name, shape in linear.items()},
        **{f"{name}.bias": shape[:1] for name, shape in linear.items()},
        **{f"{name}.{part}": (hidden,) for name in norms for part in ("weight", "bias")},
    }


def _check(
    parameters: dict[str, NDArray[np.float32]],
    sharp_km: tuple[float, ...],
    broad_km: tuple[float, ...],
    num_neighbors: int,
) -> None:
    """Refuse what is no network.

    Raises:
        ValueError: A name, a shape or a value is not what it must be.
    """
    scales = np.array([*sharp_km, *broad_km])
    if not (sharp_km and np.all(scales > 0) and np.all(np.isfinite(scales)) and num_neighbors >= 1):
        raise ValueError(f"its scales are {scales} km, its neighbors {num_neighbors}")
    num_members, hidden = parameters["input.bias"].shape
    shapes = parameter_shapes(hidden, len(scales), len(broad_km))
    found = {name: array.shape for name, array in parameters.items()}
    if num_members < 1 or found != {name: (num_members, *shape) for name, shape in shapes.items()}:
        raise ValueError("its arrays do not fit the scales of the mixture")
    if not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in parameters.values()):
        raise ValueError("its arrays hold what is no finite number")
    if not (parameters["std"] > 0).all():
        raise ValueError("its standard deviations are not positive")


def _linear(parameters: dict[str, NDArray[np.float32]], name: str, values: Floats) -> Floats:
    return np.asarray(values @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"])


def _layer_norm(parameters: dict[str, NDArray[np.float32]], name: str, values: Floats) -> Floats:
    centered = values - values.mean(axis=-1, keepdims=True)
    centered /= np.sqrt(np.square(centered).mean(axis=-1, keepdims=True) + _NORM_EPSILON)
    return np.asarray(centered * parameters[f"{name}.weight"] + parameters[f"{name}.bias"])


def _silu(values: Floats) -> Floats:
    return np.asarray(values / (1 + np.exp(np.clip(-values, None, 80.0))))


def _mean(values: Floats, trust: Floats) -> Floats:
    return np.asarray(trust @ values / trust.sum())
