"""Places retrieved by their own vectors: an image head trained to meet a location encoder, as GeoCLIP.

Owns the head and its loss; must not know where the vectors of places come from. Dimension letters: N photos,
G places of the gallery, D numbers of a feature, L numbers of a place's vector.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from baselines.fitting import Answers, Budget, Floats, Labelled, Singles, apply, perceptron, train

Embed = Callable[[Floats, Floats], NDArray[np.float32]]
"""Vectors of places given by latitude and longitude, shape (N,) each: shape (N, L), unit norm."""


class GpsGallery:
    """Symmetric contrastive training, then the nearest of the gallery's places by cosine.

    The location encoder stays as it is; a linear layer after it, at first the identity, may adapt it.

    References:
        Vivanco Cepeda, Nayak, Shah, "GeoCLIP" (NeurIPS 2023), sections 3.2 and 3.4.
    """

    def __init__(self, embed: Embed, gallery: Answers, budget: Budget, temperature: float = 0.07) -> None:
        """Say what to retrieve from.

        Args:
            embed: The location encoder.
            gallery: Latitudes and longitudes in degrees of the places to choose among, shape (G,) each.
            budget: How to train.
            temperature: Of the similarities at the start; it is learnt.
        """
        self._embed, self._gallery, self._budget, self._temperature = embed, gallery, budget, temperature

    def fit(self, labelled: Labelled, validation: Labelled) -> None:
        """Learn from photos; validation decides when to stop."""
        budget = self._budget
        torch.manual_seed(budget.seed)
        (x, y), (vx, vy) = (
            (torch.from_numpy(part.feature), torch.from_numpy(self._embed(part.lat, part.lng)))
            for part in (labelled, validation)
        )
        self._network = _Pair(x.shape[1], y.shape[1], self._temperature, budget)

        def validate() -> float:
            parts = zip(vx.split(budget.batch_size), vy.split(budget.batch_size), strict=True)
            return float(np.mean([float(self._network(*part)) for part in parts]))

        train(self._network, lambda rows: self._network(x[rows], y[rows]), len(x), validate, budget)

    def answer(self, feature: Singles) -> Answers:
        """Answer for photos, shape (N, D)."""
        places = apply(self._network.places, self._embed(*self._gallery))
        places /= np.linalg.norm(places, axis=1, keepdims=True)
        photos = apply(self._network.photos, feature)
        parts = [slice(start, start + 512) for start in range(0, len(photos), 512)]
        row = np.concatenate([np.argmax(photos[part] @ places.T, axis=1) for part in parts])
        return self._gallery[0][row], self._gallery[1][row]


class _Pair(nn.Module):
    """Image head, linear layer of the places, and temperature; its output is the loss of a batch."""

    def __init__(self, dim: int, place_dim: int, temperature: float, budget: Budget) -> None:
        super().__init__()
        self.photos = perceptron(dim, place_dim, budget)
        self.places = nn.Linear(place_dim, place_dim)
        nn.init.eye_(self.places.weight)
        nn.init.zeros_(self.places.bias)
        self.log_scale = nn.Parameter(torch.tensor(-np.log(temperature), dtype=torch.float32))

    def forward(self, feature: Tensor, place: Tensor) -> Tensor:
        """Mean of both cross-entropies of photos and places of a batch, shapes (B, D) and (B, L)."""
        photos, places = normalize(self.photos(feature), dim=1), normalize(self.places(place), dim=1)
        logits = self.log_scale.exp() * photos @ places.T  # (B, B)
        target = torch.arange(len(logits))
        return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
