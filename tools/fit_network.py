"""Train the network that weighs evidence without similarities, by maximum likelihood on an evidence table.

Owns the torch twin of geotoken.mixture.network, what of a case is dropped in training, and the optimiser.
Needs PyTorch ([dev]). The likelihood is the mixture's own density at the truth, in closed form.

One network serves photos with and without a guess. So that it stays sane where the table has nothing to say,
each case of each epoch loses its guess, some neighbors, all beyond some rank, or all of them, by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import fit_mixture as fit
from geotoken.evidence import Evidence
from geotoken.geo import EARTH_RADIUS_KM, to_xyz
from geotoken.mixture import EvidenceNetwork
from geotoken.mixture.network import CLIP, NEAR_SCALES_KM, NUM_ROUNDS, num_features
from geotoken.prior import WorldPrior

HIDDEN, DROPOUT, WEIGHT_DECAY = 32, 0.3, 0.1
EPOCHS, BATCH, LEARNING_RATE = 20, 96, 2e-3
WITH_GUESS, WITH_ALL_NEIGHBORS, ONLY_FIRST, NO_NEIGHBORS = 0.6, 0.4, 0.1, 0.03
"""Shares of training cases; of those without some neighbors each neighbor is dropped with `DROPPED`."""
DROPPED = 0.15
NUM_MEMBERS = 3
"""Networks whose weights are averaged, beside one that is only linear."""
LINEAR_RATE = 2e-2
"""Learning rate of the linear one."""
MAX_NLL = 25.0
"""Loss of a case at most: one truth that nothing speaks for must not rule the rest."""
FIRST_PRIOR_SCORE = 1.6


@dataclass(frozen=True, slots=True)
class NetworkCases:
    """N cases of up to K neighbors, and one place for a guess behind them; E = K + 1."""

    present: torch.Tensor
    """Whether the point is there, shape (N, E)."""
    xyz: torch.Tensor
    """Unit vectors, shape (N, E, 3), float64."""
    rank: torch.Tensor
    """Rank of neighbors, 1 for the guess, shape (N, E)."""
    log_share: torch.Tensor
    """Log of the prior mass around each point, shape (N, E, B)."""
    log_density: torch.Tensor
    """Log density per km2 of each kernel at the truth, shape (N, E, S)."""
    prior_log_density: torch.Tensor
    """Log density per km2 of the prior at the truth, shape (N,)."""

    @property
    def size(self) -> int:
        """Number of cases N."""
        return len(self.present)

    def rows(self, index: torch.Tensor | NDArray[np.int64]) -> "NetworkCases":
        """Some of the cases, by position."""
        return NetworkCases(*(getattr(self, name)[index] for name in self.__slots__))


def network_cases(
    evidence: Sequence[Evidence], truth: NDArray[np.float64], scales: fit.Scales, prior: WorldPrior
) -> NetworkCases:
    """Everything the likelihood depends on.

    Args:
        evidence: Evidence of N cases.
        truth: Unit vectors of the true places, shape (N, 3).
        scales: The scales of the mixture.
        prior: The world prior.

    Returns:
        The cases.
    """
    width = max(len(one.neighbor_lat) for one in evidence) + 1
    shape = len(evidence), width
    present, rank = np.zeros(shape, dtype=bool), np.ones(shape)
    xyz = np.zeros((*shape, 3))
    xyz[..., 0] = 1.0
    log_share = np.zeros((*shape, len(scales.broad_km)))
    log_density = np.zeros((*shape, len(scales.all_km)))
    for n, one in enumerate(evidence):
        where = [*range(len(one.neighbor_lat)), *([width - 1] if len(one.guess_lat) else [])]
        lat = np.concatenate([one.neighbor_lat, one.guess_lat[:1]])
        lng = np.concatenate([one.neighbor_lng, one.guess_lng[:1]])
        present[n, where], xyz[n, where] = True, to_xyz(lat, lng)
        rank[n, : len(one.neighbor_rank)] = one.neighbor_rank
        log_density[n, where], log_share[n, where] = fit.kernel_log_densities(
            xyz[n, where], truth[n], scales, prior
        )
    arrays = (rank, log_share, log_density, fit.prior_log_density(truth, prior))
    single = [torch.as_tensor(array, dtype=torch.float32) for array in arrays]
    return NetworkCases(torch.as_tensor(present), torch.as_tensor(xyz), *single)


class Twin(nn.Module):
    """The network of geotoken.mixture.network in torch, over batches of cases."""

    def __init__(
        self, num_scales: int, num_broad: int, hidden: int = HIDDEN, dropout: float = DROPOUT
    ) -> None:
        super().__init__()
        width = num_features(num_broad)
        joined = hidden * (len(NEAR_SCALES_KM) + 1)
        self.linear, self.input = nn.Linear(width, num_scales), nn.Linear(width, hidden)
        self.output, self.prior = nn.Linear(hidden, num_scales), nn.Linear(hidden, 1)
        for i in range(NUM_ROUNDS):
            self.add_module(f"round{i}", nn.Linear(joined, hidden))
            self.add_module(f"norm{i}", nn.LayerNorm(hidden))
        self.norm_out = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.linear, self.output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.prior.bias, FIRST_PRIOR_SCORE)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def forward(self, cases: NetworkCases, weight: torch.Tensor) -> torch.Tensor:
        """Log-weights of points and scales, and of the prior at the end, shape (N, E * S + 1).

        Args:
            cases: N cases.
            weight: Weight of each point, 0 for those that are left out, shape (N, E).
        """
        trust = weight.clamp(max=1.0)
        nearness = _nearness(cases)
        features = (features_of(cases, trust, nearness) - self.mean) / self.std
        features = features.clamp(-CLIP, CLIP)
        hidden = self.dropout(nn.functional.silu(self.input(features)))
        reached = nearness * trust[:, None, None, :]
        reached = reached / (reached.sum(-1, keepdim=True) + 1e-6)
        for i in range(NUM_ROUNDS):
            normal = self.get_submodule(f"norm{i}")(hidden)
            near = torch.einsum("ntij,njh->nith", reached, normal).flatten(2)
            everywhere = _mean(normal, trust)[:, None].expand_as(hidden)
            joined = self.get_submodule(f"round{i}")(torch.cat([near, everywhere], -1))
            hidden = hidden + self.dropout(nn.functional.silu(joined))
        hidden = self.norm_out(hidden)
        scores = self.linear(features) + self.output(hidden) + torch.log(weight)[..., None]
        prior = self.prior(_mean(hidden, trust))
        return torch.log_softmax(torch.cat([scores.flatten(1), prior], 1), 1)


def export(twins: Sequence[Twin], scales: fit.Scales, num_neighbors: int) -> EvidenceNetwork:
    """The mean of trained networks, in numpy.

    Args:
        twins: The networks.
        scales: Their scales.
        num_neighbors: Neighbors used of each photo.

    Returns:
        What `MixtureModel` runs.
    """
    states = [twin.state_dict() for twin in twins]
    arrays = {name: np.stack([state[name].numpy() for state in states]) for name in states[0]}
    return EvidenceNetwork(arrays, scales.sharp_km, scales.broad_km, num_neighbors)


def features_of(cases: NetworkCases, trust: torch.Tensor, nearness: torch.Tensor) -> torch.Tensor:
    """What `geotoken.mixture.network.features_of` computes, over batches; shape (N, E, F)."""
    size = trust.shape[1]
    others = nearness * (1 - torch.eye(size))
    is_guess = torch.zeros(size)
    is_guess[-1] = 1.0
    neighbor, guess = trust * (1 - is_guess), trust * is_guess

    def count(weight: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ntij,nj->nit", others, weight)

    agreement = torch.log1p(count(neighbor))
    ranked = torch.log1p(count(neighbor / cases.rank.sqrt()))
    most = (agreement * (trust > 0)[..., None]).amax(1, keepdim=True).expand_as(agreement)
    own = torch.stack([cases.rank.log(), is_guess.expand_as(trust)], -1)
    return torch.cat([own, agreement, ranked, count(guess), most, cases.log_share], -1)


def nll(twin: Twin, cases: NetworkCases, weight: torch.Tensor) -> torch.Tensor:
    """Minus log density per km2 at the truth, nats, shape (N,)."""
    log_density = torch.cat([cases.log_density.flatten(1), cases.prior_log_density[:, None]], 1)
    return -torch.logsumexp(twin(cases, weight) + log_density, 1)


def full_weight(cases: NetworkCases, *, guess: bool) -> torch.Tensor:
    """Weight of points when all neighbors, and the guess if wanted, are used; shape (N, E)."""
    weight = cases.present.float()
    return weight if guess else torch.cat([weight[:, :-1], torch.zeros(len(weight), 1)], 1)


def train(cases: NetworkCases, seed: int = 0, epochs: int = EPOCHS, *, linear: bool = False) -> Twin:
    """Fit a network.

    Args:
        cases: The training cases.
        seed: Of first weights, order and what is dropped.
        epochs: Passes over the cases.
        linear: Whether only the linear score and the bias of the prior are fitted; the rest adds nothing.

    Returns:
        The network, ready to be asked.
    """
    torch.manual_seed(seed)
    num_broad = cases.log_share.shape[2]
    twin = Twin(cases.log_density.shape[2], num_broad)
    trust = full_weight(cases, guess=True)
    features = features_of(cases, trust, _nearness(cases))[cases.present]
    twin.mean, twin.std = features.mean(0), features.std(0) + 1e-3
    batches = cases.size // min(BATCH, cases.size)
    fitted, rate = list(twin.parameters()), LEARNING_RATE
    if linear:
        nn.init.zeros_(twin.prior.weight)
        fitted, rate = [*twin.linear.parameters(), twin.prior.bias], LINEAR_RATE
    optimizer = torch.optim.AdamW(fitted, lr=rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * batches, pct_start=0.2)
    for _ in range(epochs):
        for rows in torch.randperm(cases.size)[: batches * BATCH].chunk(batches):
            batch = cases.rows(rows)
            loss = nll(twin, batch, _dropped(batch)).clamp(max=MAX_NLL).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(fitted, 1.0)
            optimizer.step()
            schedule.step()
    return twin.eval()


def train_members(cases: NetworkCases, number: int = NUM_MEMBERS) -> list[Twin]:
    """Networks that differ in their seed alone, and the linear one."""
    return [*(train(cases, seed) for seed in range(number)), train(cases, linear=True)]


def _dropped(cases: NetworkCases) -> torch.Tensor:
    """Weight of points with some left out by chance, shape (N, E)."""
    weight = cases.present.float()
    size, last = len(weight), weight.shape[1] - 1
    chance = torch.rand(size, 4)
    kept = (torch.rand(size, last) > DROPPED) | (chance[:, :1] < WITH_ALL_NEIGHBORS)
    first = torch.where(chance[:, 1:2] < ONLY_FIRST, torch.rand(size, 1) * last + 1, torch.inf)
    kept &= torch.arange(last) < first
    kept &= chance[:, 2:3] > NO_NEIGHBORS
    weight[:, :last] *= kept
    weight[:, last] *= chance[:, 3] < WITH_GUESS
    return weight


def _nearness(cases: NetworkCases) -> torch.Tensor:
    """How near points are at each scale, shape (N, T, E, E)."""
    chord2 = torch.cdist(cases.xyz, cases.xyz, compute_mode="donot_use_mm_for_euclid_dist").square()
    square = torch.tensor(NEAR_SCALES_KM, dtype=torch.float64).square()[:, None, None]
    return (1 / (1 + chord2[:, None] * EARTH_RADIUS_KM**2 / square)).float()


def _mean(values: torch.Tensor, trust: torch.Tensor) -> torch.Tensor:
    total = trust.sum(1, keepdim=True)
    return torch.einsum("ne,neh->nh", trust, values) / total.clamp(min=1e-6)
