"""Fit the weights of the closed-form evidence model by maximum likelihood on cases with known truth.

Owns features, objective and optimiser; a case is evidence with its true place. Needs PyTorch ([dev]).

The likelihood is the mixture's own density at the truth, in closed form, so nothing here depends on cells'
levels or on decoding. Parameters are penalised by `REGULARISATION` times their square.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geotoken import cells
from geotoken.evidence import Evidence
from geotoken.geo import to_xyz
from geotoken.kernels import chord2_km2, falloff, peak_density
from geotoken.mixture import GuessTrust, NeighborTrust
from geotoken.mixture.weights import agreements
from geotoken.prior import WorldPrior

Floats = NDArray[np.float64]
REGULARISATION = 0.002


@dataclass(frozen=True, slots=True)
class Features:
    """What the likelihood of N cases depends on; K points and S scales, absent points masked."""

    present: torch.Tensor
    """Whether the point exists, shape (N, K)."""
    log_density: torch.Tensor
    """Log density per km2 of each kernel at the truth, shape (N, K, S)."""
    prior_log_density: torch.Tensor
    """Log density per km2 of the prior at the truth, shape (N,)."""
    log_rank: torch.Tensor
    """Log of the rank, shape (N, K)."""
    agreement: torch.Tensor
    """Agreement with the (other) neighbors at each scale, shape (N, K, S)."""
    similarity: torch.Tensor
    """Standardised similarity, zeros where unknown, shape (N, K)."""

    def rows(self, index: NDArray[np.int64]) -> "Features":
        """The features of some cases, by position."""
        return Features(*(getattr(self, name)[index] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Scales:
    """Scales of a mixture in km."""

    sharp_km: tuple[float, ...]
    broad_km: tuple[float, ...]

    @property
    def all_km(self) -> tuple[float, ...]:
        """All scales, sharp first."""
        return self.sharp_km + self.broad_km


def kernel_log_densities(
    points: Floats, truth: Floats, scales: Scales, prior: WorldPrior
) -> tuple[Floats, Floats]:
    """Log density of every kernel of one case at its truth.

    Args:
        points: Unit vectors, shape (K, 3).
        truth: Unit vector, shape (3,).
        scales: The scales.
        prior: The world prior that broad kernels are multiplied with.

    Returns:
        Natural log of the density per km2, shape (K, S); log of the prior mass around, shape (K, B).
    """
    chord2 = chord2_km2(points, truth[None])[:, 0]
    sharp = [np.log(falloff(chord2, s) * peak_density(np.asarray(s))) for s in scales.sharp_km]
    row = prior.find(cells.from_xyz(truth[None]))
    tilts = prior.tilt(points, scales.broad_km)
    broad = np.log(tilts.at(int(prior.block[row[0]])) * prior.density[row])
    return np.concatenate([np.stack(sharp, axis=1), broad], axis=1), tilts.log_share


def prior_log_density(truth: Floats, prior: WorldPrior) -> Floats:
    """Log density of the prior.

    Args:
        truth: Unit vectors, shape (N, 3).
        prior: The prior.

    Returns:
        Natural log of the density per km2, shape (N,).
    """
    return np.asarray(np.log(prior.density[prior.find(cells.from_xyz(truth))]))


def neighbor_features(
    cases: Sequence[Evidence],
    truth: Floats,
    scales: Scales,
    prior: WorldPrior,
    similarity: tuple[float, float],
) -> Features:
    """Features of the neighbors of N cases.

    Args:
        cases: Evidence of each.
        truth: Unit vectors of the true places, shape (N, 3).
        scales: The scales.
        prior: The world prior.
        similarity: Mean and standard deviation that standardise similarities.

    Returns:
        The features.
    """
    width = max(len(c.neighbor_lat) for c in cases)
    num_scales = len(scales.all_km)
    present = np.zeros((len(cases), width), dtype=bool)
    per_point = np.zeros((2, len(cases), width))
    per_kernel = np.zeros((2, len(cases), width, num_scales))
    for n, case in enumerate(cases):
        k = len(case.neighbor_lat)
        points = to_xyz(case.neighbor_lat, case.neighbor_lng)
        present[n, :k] = True
        per_point[0, n, :k] = np.log(case.neighbor_rank)
        if case.neighbor_similarity is not None:
            per_point[1, n, :k] = (case.neighbor_similarity - similarity[0]) / similarity[1]
        per_kernel[0, n, :k], _ = kernel_log_densities(points, truth[n], scales, prior)
        per_kernel[1, n, :k] = agreements(points, points, scales.all_km, exclude_self=True)
    return Features(
        *map(
            torch.as_tensor,
            (
                present,
                per_kernel[0],
                prior_log_density(truth, prior),
                per_point[0],
                per_kernel[1],
                per_point[1],
            ),
        )
    )


def guess_features(cases: Sequence[Evidence], truth: Floats, scales: Scales, prior: WorldPrior) -> Features:
    """Features of the first guess of N cases, masked where there is none; as `neighbor_features`."""
    num_scales = len(scales.all_km)
    present = np.array([[len(c.guess_lat) > 0] for c in cases])
    density, agreement = np.zeros((2, len(cases), 1, num_scales))
    for n, case in enumerate(cases):
        if present[n, 0]:
            guess = to_xyz(case.guess_lat[:1], case.guess_lng[:1])
            neighbors = to_xyz(case.neighbor_lat, case.neighbor_lng)
            density[n], _ = kernel_log_densities(guess, truth[n], scales, prior)
            agreement[n] = agreements(guess, neighbors, scales.all_km, exclude_self=False)
    zeros = np.zeros(present.shape)
    tensors = map(torch.as_tensor, (present, density, np.zeros(len(cases)), zeros, agreement, zeros))
    return Features(*tensors)


def neighbor_log_likelihood(parameters: dict[str, torch.Tensor], features: Features) -> torch.Tensor:
    """Log density of the truth of each case under neighbors and prior, shape (N,)."""
    p, f = parameters, features
    best = (
        torch.where(f.present, f.similarity, -torch.inf).amax(dim=1) if f.present.shape[1] else f.similarity
    )
    score = p["bias"] + f.log_rank[..., None] * p["rank_slope"] + f.agreement @ p["agreement_slope"].T
    score = score + f.similarity[..., None] * p["similarity_slope"]
    score = score + best[:, None, None] * p["best_similarity_slope"]
    score = torch.where(f.present[..., None], score, -torch.inf).flatten(1)
    score = torch.cat([score, p["prior_bias"].expand(len(score), 1)], dim=1)
    log_density = torch.cat([f.log_density.flatten(1), f.prior_log_density[:, None]], dim=1)
    return torch.logsumexp(torch.log_softmax(score, dim=1) + log_density, dim=1)


def guess_log_likelihood(
    parameters: dict[str, torch.Tensor], features: Features, without_guess: torch.Tensor
) -> torch.Tensor:
    """Log density of the truth when a guess of weight 1 competes with the rest, shape (N,)."""
    score = parameters["bias"] + features.agreement @ parameters["agreement_slope"].T
    score = torch.where(features.present[..., None], score, -torch.inf).flatten(1)
    score = torch.cat([score, torch.zeros(len(score), 1)], dim=1)
    log_density = torch.cat([features.log_density.flatten(1), without_guess[:, None]], dim=1)
    return torch.logsumexp(torch.log_softmax(score, dim=1) + log_density, dim=1)


def fit_neighbors(
    features: Features, case_weight: Floats, *, free: tuple[str, ...], max_iter: int = 150
) -> dict[str, torch.Tensor]:
    """Fit the parameters of `NeighborTrust`.

    Args:
        features: Features of N cases.
        case_weight: Weight of each case, shape (N,).
        free: Names of the parameters to fit; the others stay 0.
        max_iter: Iterations of L-BFGS.

    Returns:
        The parameters by name.
    """
    num_scales = features.log_density.shape[2]
    shapes = {
        "bias": (num_scales,),
        "rank_slope": (num_scales,),
        "agreement_slope": (num_scales, num_scales),
        "similarity_slope": (num_scales,),
        "best_similarity_slope": (num_scales,),
        "prior_bias": (1,),
    }
    parameters = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
    return _minimise(parameters, free, case_weight, lambda p: neighbor_log_likelihood(p, features), max_iter)


def fit_guess(
    features: Features, without_guess: torch.Tensor, max_iter: int = 150
) -> dict[str, torch.Tensor]:
    """Fit the parameters of `GuessTrust`, the neighbors' parameters being fixed.

    Args:
        features: Features of the guess of N cases.
        without_guess: Log density of the truth without it, shape (N,).
        max_iter: Iterations of L-BFGS.

    Returns:
        The parameters by name.
    """
    num_scales = features.log_density.shape[2]
    parameters = {
        "bias": torch.zeros(num_scales, dtype=torch.float64),
        "agreement_slope": torch.zeros(num_scales, num_scales, dtype=torch.float64),
    }
    weight = np.ones(len(without_guess))
    names = tuple(parameters)
    return _minimise(
        parameters, names, weight, lambda p: guess_log_likelihood(p, features, without_guess), max_iter
    )


def to_neighbor_trust(
    parameters: dict[str, torch.Tensor], similarity: tuple[float, float], num_neighbors: int
) -> NeighborTrust:
    """Fitted parameters in the model's own form."""
    values = {name: _nested(p) for name, p in parameters.items() if name != "prior_bias"}
    return NeighborTrust(
        **values,
        prior_bias=float(parameters["prior_bias"]),
        similarity_mean=similarity[0],
        similarity_std=similarity[1],
        num_neighbors=num_neighbors,
    )


def to_guess_trust(parameters: dict[str, torch.Tensor]) -> GuessTrust:
    """Fitted parameters in the model's own form."""
    return GuessTrust(**{name: _nested(p) for name, p in parameters.items()})


def owner_folds(owner: Sequence[str], num_folds: int, seed: int) -> NDArray[np.int64]:
    """Split cases into folds so that no owner is in two, balanced by count.

    Args:
        owner: Owner of each case, length N.
        num_folds: Folds.
        seed: Order of the owners.

    Returns:
        Fold of each case, shape (N,).
    """
    names, inverse, counts = np.unique(np.asarray(owner), return_inverse=True, return_counts=True)
    fold_of_name = np.zeros(len(names), dtype=np.int64)
    size = np.zeros(num_folds)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    for name in shuffled[np.argsort(-counts[shuffled] // 10, kind="stable")]:
        fold_of_name[name] = np.argmin(size)
        size[fold_of_name[name]] += counts[name]
    return fold_of_name[inverse]


def _minimise(parameters, free, case_weight, log_likelihood, max_iter):  # noqa: ANN001, ANN202
    weight = torch.as_tensor(case_weight / np.sum(case_weight))
    leaves = [parameters[name].requires_grad_() for name in free]
    optimizer = torch.optim.LBFGS(leaves, max_iter=max_iter, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = -(weight * log_likelihood(parameters)).sum()
        loss = loss + REGULARISATION * sum((leaf**2).sum() for leaf in leaves)
        loss.backward()
        return loss

    optimizer.step(closure)
    return {name: value.detach() for name, value in parameters.items()}


def _nested(values: torch.Tensor):  # noqa: ANN202
    rows = values.tolist()
    return tuple(tuple(r) for r in rows) if values.dim() == 2 else tuple(rows)
