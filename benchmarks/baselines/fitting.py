"""What the baselines share: their data, one perceptron, and one training loop with early stopping.

Owns nothing about places; must not know what a baseline predicts. Dimension letters: N photos, D numbers of a
feature, B rows of a batch.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Answers = tuple[Floats, Floats]
"""Latitudes and longitudes in degrees, shape (N,) each."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Photos with known places."""

    feature: Singles
    """Unit vectors, shape (N, D)."""
    lat: Floats
    """Latitudes in degrees, shape (N,)."""
    lng: Floats
    """Longitudes in degrees, shape (N,)."""


class Baseline(Protocol):
    """A way from feature vectors to places."""

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Learn from photos; validation decides when to stop."""
        ...

    def answer(self, feature: Singles) -> Answers:
        """Answer for photos, shape (N, D)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How a baseline is trained."""

    epochs: int = 12
    """Passes over the photos at most."""
    patience: int = 2
    """Passes without a better validation loss before it stops."""
    batch_size: int = 512
    """Photos of a step, B."""
    learning_rate: float = 1e-3
    """Of AdamW; falls to nothing by a cosine over `epochs`."""
    weight_decay: float = 0.01
    """Of AdamW."""
    hidden: int = 256
    """Units of each of the two hidden layers of the perceptron."""
    dropout: float = 0.1
    """Share of hidden units dropped."""
    seed: int = 0
    """Seed of weights and batches."""


def perceptron(dim: int, out: int, budget: Budget) -> nn.Sequential:
    """Two hidden layers from features of length `dim` to `out` numbers.

    Args:
        dim: Numbers of a feature, D; features are unit vectors and are brought to entries of size 1.
        out: Numbers of the output.
        budget: Gives width and dropout.

    Returns:
        The network, from shape (B, D) to shape (B, out).
    """
    return nn.Sequential(
        nn.LayerNorm(dim, elementwise_affine=False),
        nn.Linear(dim, budget.hidden),
        nn.GELU(),
        nn.Dropout(budget.dropout),
        nn.Linear(budget.hidden, budget.hidden),
        nn.GELU(),
        nn.Dropout(budget.dropout),
        nn.Linear(budget.hidden, out),
    )


def train(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    num_rows: int,
    validate: Callable[[], float],
    budget: Budget,
) -> None:
    """Train a network in place and leave it with the weights of the best validation, ready to be used.

    Args:
        network: The network.
        loss: Mean loss over rows, shape (B,), of the training photos.
        num_rows: Training photos.
        validate: Loss over the validation photos; called without gradients, the network in evaluation mode.
        budget: How long and how fast.
    """
    torch.manual_seed(budget.seed)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=budget.learning_rate, weight_decay=budget.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, budget.epochs)
    best, best_state, waited = np.inf, copy.deepcopy(network.state_dict()), 0
    for _ in range(budget.epochs):
        network.train()
        for rows in torch.randperm(num_rows).split(budget.batch_size):
            optimizer.zero_grad()
            loss(rows).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
        network.eval()
        with torch.inference_mode():
            found = validate()
        waited += 1
        if found < best:
            best, best_state, waited = found, copy.deepcopy(network.state_dict()), 0
        if waited == budget.patience:
            break
    network.load_state_dict(best_state)
    network.eval()


@torch.inference_mode()
def apply(network: nn.Module, feature: Singles, batch_size: int = 4096) -> Singles:
    """Outputs of a network for features, shape (N, D), in batches: shape (N, out)."""
    parts = [network(part).numpy() for part in torch.from_numpy(feature).split(batch_size)]
    found: Singles = np.concatenate(parts)
    return found
