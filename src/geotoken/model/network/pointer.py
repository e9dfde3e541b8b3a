"""The head that copies: the next token of evidence that begins as the hypothesis does, by a learned gate.

Owns the mixture of generator and copy; must not know how hypotheses are searched.
Dimension letters: B photos, E items, T tokens, V vocabulary, D width.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from geotoken.model.config import ModelConfig

_TINY: Final = 1e-30  # probability of copying what no item would: its logarithm is finite, its share nothing


class Pointer(nn.Module):
    """p = (1 - g) generator + g copy, where g is 0 if no item is consistent with the prefix.

    References:
        See, Liu, Manning (2017), Get to the point: summarization with pointer-generator networks,
        section 2.2; here only items that agree with the whole prefix may be copied.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.scale = config.width**-0.5
        self.key = nn.Linear(config.width, config.width)
        self.ask = nn.Linear(config.width, config.width)
        self.gate = nn.Linear(config.width, 1)

    def item_keys(self, items: Tensor) -> Tensor:
        """What items are found by, once a photo, from and to shape (B, E, D)."""
        return self.key(items)  # type: ignore[no-any-return]

    def query(self, x: Tensor) -> Tensor:
        """What hypotheses look for, from and to shape (..., D); times a key it is a score."""
        return self.ask(x) * self.scale  # type: ignore[no-any-return]

    def mix(self, log_probs: Tensor, x: Tensor, scores: Tensor, copied: Tensor, match: Tensor) -> Tensor:
        """Mix the generator's distribution with the copy of consistent items.

        Args:
            log_probs: The generator's log-probabilities, shape (..., V), float32, finite.
            x: State of each hypothesis, shape (..., D), for the gate.
            scores: Score of each item, shape (..., E).
            copied: Token that each item would put next, shape (..., E).
            match: Whether the item is consistent with the prefix, shape (..., E), bool.

        Returns:
            Log-probabilities, shape (..., V), float32.
        """
        weights = scores.float().masked_fill(~match, -1e9).softmax(dim=-1) * match  # (..., E)
        vocabulary = torch.arange(log_probs.shape[-1], device=copied.device)
        chosen = (copied[..., None] == vocabulary).to(weights.dtype)  # (..., E, V)
        copy = (weights[..., None] * chosen).sum(dim=-2).clamp_min(_TINY).log()
        return self.blend(log_probs, x, copy, match.any(dim=-1, keepdim=True))

    def blend(self, log_probs: Tensor, x: Tensor, copy: Tensor, known: Tensor) -> Tensor:
        """Mix the generator's distribution with another by the gate.

        Args:
            log_probs: The generator's log-probabilities, shape (..., V), float32, finite.
            x: State of each hypothesis, shape (..., D).
            copy: The other log-probabilities, shape (..., V), float32, finite.
            known: Whether there is another, shape (..., 1), bool.

        Returns:
            Log-probabilities, shape (..., V), float32.
        """
        return torch.where(known, mix_by_gate(log_probs, copy, self.gate(x)), log_probs)


def mix_by_gate(log_probs: Tensor, other: Tensor, gate: Tensor) -> Tensor:
    """Mix two distributions.

    Args:
        log_probs: Log-probabilities of one, shape (..., V), float32, finite.
        other: Those of the other, shape (..., V), float32, finite.
        gate: Log-odds of the other, shape (..., 1).

    Returns:
        Log-probabilities of the mixture, shape (..., V), float32.
    """
    gate = gate.float()
    # Not logsigmoid: ONNX takes the logarithm of a sigmoid, which runtimes approximate in the tails.
    one, two = log_probs - softplus(gate), other - softplus(-gate)
    return torch.maximum(one, two) + torch.log1p(torch.exp(-(one - two).abs()))  # logaddexp


def consistent(tokens: Tensor, item_tokens: Tensor, item_mask: Tensor) -> Tensor:
    """Which items begin as each prefix of a sequence.

    Args:
        tokens: One sequence a photo, shape (B, T).
        item_tokens: Tokens of the items, shape (B, E, T).
        item_mask: Whether there is such an item, shape (B, E).

    Returns:
        Whether item e agrees with the tokens before t, shape (B, T, E), bool.
    """
    equal = tokens[:, None, :-1] == item_tokens[:, :, :-1]  # (B, E, T - 1)
    agrees = torch.cat([torch.ones_like(item_tokens[:, :, :1]), equal.cumprod(dim=2)], dim=2)
    return agrees.bool().transpose(1, 2) & item_mask[:, None]
