"""Attention, feed-forward and their residual sums, for whole sequences and for one position at a time.

Owns the arithmetic of a layer; must not know evidence, tokens or how keys and values are kept.
Dimension letters: N sequences, T positions, D width, H heads, B photos, P positions of evidence,
R hypotheses, W slots of a photo.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from geotoken.model.config import ModelConfig

Recall = Callable[[Tensor, Tensor], Tensor]
"""Takes queries, shape (R, D), and keys and values, shape (R, 2 D), of the new position of each hypothesis;
keeps the latter and gives what attention gathers from the new position and all before, shape (R, D)."""


class SelfAttention(nn.Module):
    """Attention of positions to those of the same sequence."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.dropout = config.dropout
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Attend within whole sequences.

        Args:
            x: Sequences, shape (N, T, D).
            mask: True where a position may be attended to, shape (N, 1, 1, T); everywhere when None.
            causal: Whether a position sees only itself and those before.

        Returns:
            What was gathered, shape (N, T, D).
        """
        q, k, v = (split_heads(part, self.num_heads) for part in self.query_key_value(x).chunk(3, dim=-1))
        dropout = self.dropout if self.training else 0.0
        return self.out(join_heads(attend(q, k, v, mask, dropout, causal)))  # type: ignore[no-any-return]

    def step(self, x: Tensor, recall: Recall) -> Tensor:
        """Attend from one new position of each hypothesis to it and all before.

        Args:
            x: New positions, shape (R, D).
            recall: Keeps the new keys and values and attends.

        Returns:
            What was gathered, shape (R, D).
        """
        width = x.shape[-1]
        projected = self.query_key_value(x)  # (R, 3 D)
        return self.out(recall(projected[:, :width], projected[:, width:]))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Attention of hypotheses to the evidence of their photo, whose keys and values they share."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.dropout = config.dropout
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(config.width, 2 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the evidence, computed once a photo.

        Args:
            memory: The encoded evidence, shape (B, P, D).

        Returns:
            Keys and values, shape (B, H, P, D / H) each.
        """
        k, v = (split_heads(part, self.num_heads) for part in self.key_value(memory).chunk(2, dim=-1))
        return k.contiguous(), v.contiguous()

    def forward(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from several positions of each photo.

        Args:
            x: Positions, shape (B, W, D).
            k: Keys, shape (B, H, P, D / H).
            v: Values, shape (B, H, P, D / H).
            mask: True where there is evidence, shape (B, 1, 1, P); everywhere when None.

        Returns:
            What was gathered, shape (B, W, D).
        """
        q = split_heads(self.query(x), self.num_heads)
        dropout = self.dropout if self.training else 0.0
        return self.out(join_heads(attend(q, k, v, mask, dropout)))  # type: ignore[no-any-return]

    def step(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, pad: Tensor, slot: Tensor) -> Tensor:
        """Attend from ragged rows: each photo's rows are laid side by side, and its evidence is not copied.

        Args:
            x: Rows, shape (R, D).
            k: Keys, shape (B, H, P, D / H).
            v: Values, shape (B, H, P, D / H).
            mask: True where there is evidence, shape (B, 1, 1, P); everywhere when None.
            pad: Row in each slot of a photo, shape (B, W).
            slot: Place of each row in the flat `pad`, shape (R,).

        Returns:
            What was gathered, shape (R, D).
        """
        q = self.query(x).index_select(0, pad.flatten()).view(pad.shape[0], pad.shape[1], x.shape[-1])
        heads = attend_few(split_heads(q, self.num_heads), k, v, mask)
        return self.out(join_heads(heads).flatten(0, 1).index_select(0, slot))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """What encoder and decoder layers share: the feed-forward block and the residual sum around a block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.post_norm = config.norm == "post"
        self.drop = nn.Dropout(config.dropout)
        self.feed_forward_in = nn.Linear(config.width, config.feed_forward)
        self.feed_forward_out = nn.Linear(config.feed_forward, config.width)
        self.feed_forward_norm = nn.LayerNorm(config.width)

    def add(self, norm: nn.Module, x: Tensor, block: Callable[[Tensor], Tensor]) -> Tensor:
        """Add what a block makes of x to x.

        Args:
            norm: The layer normalisation, after the sum or before the block.
            x: Positions, shape (..., D).
            block: From and to shape (..., D).

        Returns:
            The sum, shape (..., D).
        """
        if self.post_norm:
            return norm(x + self.drop(block(x)))  # type: ignore[no-any-return]
        return x + self.drop(block(norm(x)))  # type: ignore[no-any-return]

    def feed_forward(self, x: Tensor) -> Tensor:
        """The feed-forward block with its residual sum, from and to shape (..., D)."""
        return self.add(
            self.feed_forward_norm,
            x,
            lambda y: self.feed_forward_out(self.drop(relu(self.feed_forward_in(y)))),
        )


class EncoderLayer(Layer):
    """Self-attention over the evidence, then feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Refine the positions of the evidence.

        Args:
            x: Positions, shape (B, P, D).
            mask: True where there is evidence, shape (B, 1, 1, P); everywhere when None.

        Returns:
            Refined positions, shape (B, P, D).
        """
        x = self.add(self.attention_norm, x, lambda y: self.attention(y, mask))
        return self.feed_forward(x)


class DecoderLayer(Layer):
    """Causal self-attention over the tokens, cross-attention to the evidence, then feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.width)
        self.cross_attention = CrossAttention(config)
        self.cross_attention_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Refine whole sequences, one a photo.

        Args:
            x: Positions, shape (B, T, D).
            k: Keys of the evidence, shape (B, H, P, D / H).
            v: Values of the evidence, shape (B, H, P, D / H).
            mask: True where there is evidence, shape (B, 1, 1, P); everywhere when None.

        Returns:
            Refined positions, shape (B, T, D).
        """
        x = self.add(self.attention_norm, x, lambda y: self.attention(y, causal=True))
        x = self.add(self.cross_attention_norm, x, lambda y: self.cross_attention(y, k, v, mask))
        return self.feed_forward(x)

    def step(
        self,
        x: Tensor,
        recall: Recall,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        pad: Tensor,
        slot: Tensor,
    ) -> Tensor:
        """Refine one new position of each hypothesis.

        Args:
            x: New positions, shape (R, D).
            recall: Keeps the new keys and values of this layer and attends.
            k: Keys of the evidence, shape (B, H, P, D / H).
            v: Values of the evidence, shape (B, H, P, D / H).
            mask: True where there is evidence, shape (B, 1, 1, P); everywhere when None.
            pad: Row in each slot of a photo, shape (B, W).
            slot: Place of each row in the flat `pad`, shape (R,).

        Returns:
            Refined positions, shape (R, D).
        """
        x = self.add(self.attention_norm, x, lambda y: self.attention.step(y, recall))
        x = self.add(
            self.cross_attention_norm, x, lambda y: self.cross_attention.step(y, k, v, mask, pad, slot)
        )
        return self.feed_forward(x)


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float = 0.0, causal: bool = False
) -> Tensor:
    """Attention of every head.

    Args:
        q: Queries, shape (N, H, T, D / H).
        k: Keys, shape (N, H, P, D / H).
        v: Values, shape (N, H, P, D / H).
        mask: True where a key may be attended to, shape (N, 1, 1, P); everywhere when None.
        dropout: Share of the attention dropped.
        causal: Whether a position sees only itself and those before.

    Returns:
        What was gathered, shape (N, H, T, D / H).
    """
    return scaled_dot_product_attention(q, k, v, mask, dropout, causal)


def attend_few(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of every head from few queries to many keys, which are read but not scaled or copied.

    PyTorch's own attention takes queries by the dozen, and its export to ONNX would scale all keys at every
    step.

    Args:
        q: Queries, shape (N, H, T, D / H).
        k: Keys, shape (N, H, P, D / H).
        v: Values, shape (N, H, P, D / H).
        mask: True where a key may be attended to, shape (N, 1, 1, P); everywhere when None.

    Returns:
        What was gathered, shape (N, H, T, D / H).
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)  # (N, H, T, P)
    if mask is not None:
        scores = scores + (~mask).to(q.dtype) * -1e9
    gathered: Tensor = scores.softmax(dim=-1) @ v
    return gathered


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Lay the heads of each position side by side: shape (N, T, D) becomes (N, H, T, D / H)."""
    return torch.unflatten(x, 2, (num_heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """The inverse of `split_heads`: shape (N, H, T, D / H) becomes (N, T, D)."""
    return x.transpose(1, 2).flatten(2)


def sinusoid(position: Tensor, width: int) -> Tensor:
    """Encode positions as waves.

    Args:
        position: Positions from 0, shape (T,).
        width: Numbers a position, even.

    Returns:
        Sines, then cosines, shape (T, width), float32.

    References:
        Vaswani et al. (2017), Attention is all you need, section 3.5.
    """
    rate = torch.exp(torch.arange(0, width, 2, device=position.device) * (-9.210340371976184 / width))
    angle = position[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)
