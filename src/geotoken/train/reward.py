"""The reward model learns how far candidates are from the truth.

Owns its loss, its split by owner and its validation; must not know where candidates come from.
Dimension letters: B photos, C candidates, R thresholds.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from geotoken.errors import ConfigError, InputError
from geotoken.metrics import THRESHOLDS_KM
from geotoken.reward import RewardBatch, describe
from geotoken.reward.network import RewardNetwork
from geotoken.train.config import check_least
from geotoken.train.draws import Draws
from geotoken.train.reward_cases import RewardCases
from geotoken.train.splits import owner_order

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

VALIDATED_TOGETHER: Final = 64
"""Photos in one batch of a validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardTraining:
    """How the reward model is trained, beside what the loop says.

    Raises:
        ConfigError: A field is out of its range; the message names it.
    """

    validation_share: float = 0.2
    """Share of the owners of the candidates' photos that are validated with and not trained on, in (0, 1)."""
    num_candidates: int = 16
    """Candidates of a photo in one step, drawn anew each time, >= 2."""
    ranking_weight: float = 0.0
    """Weight of the ranking loss: what is missed by choosing candidates in proportion to
    exp(reward / temperature); >= 0."""
    ranking_temperature: float = 0.05
    """That temperature, > 0."""

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1:
            raise ConfigError(f"validation_share is {self.validation_share}; give more than 0, less than 1")
        check_least(self, num_candidates=2)
        if not (self.ranking_weight >= 0 and self.ranking_temperature > 0):
            raise ConfigError(
                f"ranking_weight and ranking_temperature are {self.ranking_weight} and "
                f"{self.ranking_temperature}; give at least 0 and more than 0"
            )


class RewardStage:
    """The reward model for the training loop."""

    name = "reward"

    def __init__(self, network: RewardNetwork, cases: RewardCases, training: RewardTraining) -> None:
        """Split the cases by owner.

        Args:
            network: The network, as it is to begin with.
            cases: Candidates of photos that the token model was not trained on.
            training: Loss and split.

        Raises:
            InputError: No photo is left to train on, or to validate with.
        """
        self.module: nn.Module = network
        self.config = network.config
        self.cases = cases
        self.training = training
        held_out = split_owners(cases.owner, training.validation_share)
        self.train_rows, self.validation_rows = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        if not len(self.train_rows) or not len(self.validation_rows):
            raise InputError(
                f"the {len(held_out)} photos with candidates are of {len(np.unique(cases.owner))} owners; "
                "training and validation need at least one each: give photos of more owners"
            )

    @property
    def num_rows(self) -> int:
        """Training rows."""
        return len(self.train_rows)

    def loss(self, module: nn.Module, rows: Ints, rng: Draws) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Cross-entropy of "the truth is within the threshold" at all thresholds, and what ranking adds.

        Args:
            module: The network.
            rows: Numbers of training rows, shape (B,).
            rng: Randomness of these positions of the batch.

        Returns:
            The loss, shape (), and `utility`: the mean share of thresholds met by the best candidate.
        """
        cases = self.train_rows[rows]
        # As many candidates as asked for in random order, those that are there first.
        order = rng.by_row(self.cases.batch.mask.shape[1]) + ~self.cases.batch.mask[cases]
        chosen = np.argsort(order, axis=1)[:, : self.training.num_candidates]
        batch = self.cases.batch.take(cases).choose(chosen)
        distance_km = np.take_along_axis(self.cases.distance_km[cases], chosen, axis=1)
        device = next(module.parameters()).device
        met, mask = (torch.from_numpy(one).to(device) for one in (thresholds_met(distance_km), batch.mask))
        logits = module(self._tensors(batch, device))  # (B, C, R)
        loss = judge_loss(logits, met, mask)
        rewards = torch.sigmoid(logits).mean(dim=-1)
        utility = met.mean(dim=-1)
        if self.training.ranking_weight:
            weights = (
                (rewards / self.training.ranking_temperature).masked_fill(~mask, -torch.inf).softmax(dim=1)
            )
            missed = utility.masked_fill(~mask, 0.0).amax(dim=1) - (weights * utility).sum(dim=1)
            loss = loss + self.training.ranking_weight * missed.mean()
        best = rewards.detach().masked_fill(~mask, -torch.inf).argmax(dim=1, keepdim=True)
        return loss, {"utility": utility.gather(1, best).mean()}

    @torch.no_grad()
    def validate(self, module: nn.Module) -> dict[str, float]:
        """Judge the network on all candidates of the photos of held-out owners.

        Args:
            module: The network.

        Returns:
            `loss`: the cross-entropy, in nats; and the mean share of thresholds met, in percent, by the
            candidate that is chosen by `reward`, by `log_prob`, by the `posterior`'s expected utility, and by
            who knows the truth (`best`).
        """
        device = next(module.parameters()).device
        losses, chosen = [], []
        for start in range(0, len(self.validation_rows), VALIDATED_TOGETHER):
            rows = self.validation_rows[start : start + VALIDATED_TOGETHER]
            batch = self.cases.batch.take(rows)
            met = thresholds_met(self.cases.distance_km[rows])
            logits = module(self._tensors(batch, device)).double().cpu()
            present = torch.from_numpy(batch.mask)
            losses.append(len(rows) * float(judge_loss(logits, torch.from_numpy(met), present)))
            utility = met.mean(axis=-1, dtype=np.float64)
            scores = {
                "reward": torch.sigmoid(logits).mean(dim=-1).numpy(),
                "log_prob": batch.log_prob,
                "posterior": batch.within.mean(axis=-1),
                "best": utility,
            }
            chosen.append([_chosen(one, batch.mask, utility) for one in scores.values()])
        shares = 100 * np.concatenate(chosen, axis=1).mean(axis=1)
        return {
            "loss": sum(losses) / len(self.validation_rows),
            **dict(zip(scores, shares.tolist(), strict=True)),
        }

    def _tensors(self, batch: RewardBatch, device: torch.device) -> dict[str, Tensor]:
        described = describe(batch, self.config)
        return {n: torch.from_numpy(np.ascontiguousarray(a)).to(device) for n, a in described.items()}


def split_owners(owner: Ints, validation_share: float) -> NDArray[np.bool_]:
    """Choose owners to validate with; never none or all of them if there are two.

    Args:
        owner: Code of each photo's owner, shape (N,).
        validation_share: Share of the owners, in (0, 1).

    Returns:
        Whether a photo is of a chosen owner, shape (N,). The order of owners is that of the decoder's split,
        so that the first are those that it chose.
    """
    order, num_owners = owner_order(owner)
    count = int(np.clip(round(validation_share * num_owners), 1, max(1, num_owners - 1)))
    return np.asarray(order < count)


def thresholds_met(distance_km: Floats) -> NDArray[np.float32]:
    """Which thresholds candidates meet.

    Args:
        distance_km: Distance of each to the truth in km, shape (B, C).

    Returns:
        1 where the distance is at most the threshold, else 0; shape (B, C, R), float32.
    """
    return (distance_km[..., None] <= np.array(THRESHOLDS_KM)).astype(np.float32)


def judge_loss(logits: Tensor, met: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy over photos; within a photo over candidates and thresholds.

    Args:
        logits: Log-odds, shape (B, C, R).
        met: 1 where the threshold is met, else 0, shape (B, C, R).
        mask: Whether there is a candidate, shape (B, C).

    Returns:
        Nats, shape ().
    """
    each = binary_cross_entropy_with_logits(logits, met.to(logits.dtype), reduction="none").mean(dim=-1)
    present = mask.to(logits.dtype)
    return ((each * present).sum(dim=1) / present.sum(dim=1)).mean()


def _chosen(scores: Floats, mask: NDArray[np.bool_], utility: Floats) -> Floats:
    """Utility of the candidate of the highest score, shape (B,)."""
    best = np.argmax(np.where(mask, scores, -np.inf), axis=1)
    return np.asarray(utility[np.arange(len(best)), best])
