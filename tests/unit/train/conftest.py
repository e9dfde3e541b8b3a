import numpy as np
import pytest
import torch
from torch import nn


class Line:
    """A tiny stage: two weights and a bias of a line, found again from noisy points."""

    name = "line"

    def __init__(self, num_rows: int = 64, seed: int = 0) -> None:
        rng = np.random.default_rng(7)
        self.x = torch.from_numpy(rng.normal(size=(num_rows, 2))).float()
        self.y = self.x @ torch.tensor([2.0, -1.0]) + 0.5
        torch.manual_seed(seed)
        self.module = nn.Linear(2, 1)
        self.num_rows = num_rows
        self.seen: list[np.ndarray] = []
        self.noise = 0.1

    def loss(self, module, rows, rng):
        self.seen.append(rows)
        x = self.x[rows] + self.noise * torch.from_numpy(rng.by_row(2)).float()
        error = module(x)[:, 0] - self.y[rows]
        return error.square().mean(), {"bias": float(error.detach().mean())}

    def validate(self, module):
        return {"loss": float((module(self.x)[:, 0] - self.y).square().mean())}


@pytest.fixture
def line():
    return Line
