"""Coordinates as numbers: a perceptron from the feature to a point in space, put back on the sphere.

Owns that; must not know cells. Dimension letters: N photos, D numbers of a feature.
"""

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from baselines.fitting import Answers, Budget, Labelled, Singles, apply, perceptron, train
from geotoken.geo import from_xyz, to_xyz


class Regression:
    """Least squares on unit vectors."""

    def __init__(self, budget: Budget) -> None:
        """Args: budget: How to train."""
        self._budget = budget

    def fit(self, labelled: Labelled, validation: Labelled) -> None:
        """Learn from photos; validation decides when to stop."""
        torch.manual_seed(self._budget.seed)
        self._network = perceptron(labelled.feature.shape[1], 3, self._budget)
        (x, y), (vx, vy) = (
            (torch.from_numpy(part.feature), torch.from_numpy(to_xyz(part.lat, part.lng)).float())
            for part in (labelled, validation)
        )

        def loss(rows: Tensor) -> Tensor:
            return mse_loss(self._network(x[rows]), y[rows])

        train(self._network, loss, len(x), lambda: float(mse_loss(self._network(vx), vy)), self._budget)

    def answer(self, feature: Singles) -> Answers:
        """Answer for photos, shape (N, D)."""
        return from_xyz(apply(self._network, feature))
