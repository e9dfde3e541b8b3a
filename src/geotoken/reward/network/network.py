"""The network that judges a candidate place: it beside all items of the evidence, as seen from it.

Owns the arithmetic; must not know where numbers come from. Dimension letters: B photos, C candidates,
E items, D width, R thresholds.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from geotoken.metrics import THRESHOLDS_KM
from geotoken.model.batch import PLACE_DIM
from geotoken.model.network.layers import EncoderLayer
from geotoken.reward.batch import CANDIDATE_DIM, RELATION_DIM, item_dim
from geotoken.reward.config import RewardConfig


class RewardNetwork(nn.Module):
    """Corrects the posterior's log-odds at each threshold by what the evidence looks like from a candidate.

    Every candidate is a sequence of its own: itself, then all items, each with its relation to this
    candidate. Nothing tells the order of items, and no candidate sees another. Untrained, the network gives
    the posterior's own log-odds.
    """

    def __init__(self, config: RewardConfig) -> None:
        super().__init__()
        self.config = config
        num_thresholds, width = len(THRESHOLDS_KM), config.width
        self.candidate = nn.Linear(CANDIDATE_DIM + num_thresholds, width)
        self.item = nn.Linear(item_dim(config), width)
        self.relation = nn.Linear(RELATION_DIM, width, bias=False)
        if config.places:
            self.place = nn.Linear(PLACE_DIM, width, bias=False)
        self.item_out = nn.Linear(width, width)
        layers = config.as_layers()
        self.layers = nn.ModuleList(EncoderLayer(layers) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_thresholds)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Judge candidates.

        Args:
            inputs: The arrays of `geotoken.reward.batch.describe` by name.

        Returns:
            Log-odds that the photo was taken within each threshold of a candidate, shape (B, C, R).
        """
        expected, relation = inputs["expected"], inputs["relation"]
        num_photos, num_candidates, num_items = relation.shape[:3]
        first = self.candidate(torch.cat([inputs["candidate"], expected / 4], dim=-1))  # (B, C, D)
        if self.config.places:
            first = first + self.place(inputs["place"])
        # Items are the same for all candidates of a photo; the relation is what differs.
        items = self.item(inputs["item"])[:, None] + self.relation(relation)  # (B, C, E, D)
        items = self.item_out(gelu(items + first[:, :, None]))
        x = torch.cat([first[:, :, None], items], dim=2).flatten(0, 1)  # (B * C, 1 + E, D)
        mask = inputs["item_mask"][:, None, :].expand(num_photos, num_candidates, num_items).flatten(0, 1)
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)[:, None, None]
        for layer in self.layers:
            x = layer(x, mask)
        correction = self.head(self.norm(x[:, 0]))
        return expected + correction.view(num_photos, num_candidates, -1)  # type: ignore[no-any-return]
