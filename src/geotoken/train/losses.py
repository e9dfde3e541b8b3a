"""Contrastive losses, over one process or several.

Owns what is compared with what; must not know images, places or texts.
Dimension letters: B queries of this process, M keys of all processes, D width of the common space.
"""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn.functional import cross_entropy


def info_nce(
    queries: Tensor, keys: Tensor, targets: Tensor, scale: Tensor, ignored: Tensor | None = None
) -> Tensor:
    """Cross-entropy of finding each query's own key among all.

    Args:
        queries: Vectors of length 1, shape (B, D).
        keys: Vectors of length 1, shape (M, D).
        targets: Position of each query's own key, shape (B,), int64.
        scale: What similarities are multiplied with, shape (): the inverse of the temperature.
        ignored: Keys that must not count as wrong for a query, shape (B, M); its own key counts all the same.

    Returns:
        The mean over the queries in nats, shape ().

    References:
        van den Oord et al. (2018), Representation Learning with Contrastive Predictive Coding, equation 4.
    """
    logits = scale * queries @ keys.T
    if ignored is not None:
        own = torch.zeros_like(ignored).scatter_(1, targets[:, None], True)
        logits = logits.masked_fill(ignored & ~own, float("-inf"))
    return cross_entropy(logits, targets)


def symmetric_info_nce(
    a: Tensor,
    b: Tensor,
    scale: Tensor,
    *,
    first: int = 0,
    ignored: Tensor | None = None,
    more_b: Tensor | None = None,
    alone: bool = False,
) -> Tensor:
    """Find each vector's partner in both directions, among the pairs of all processes.

    With R processes and pairs divided evenly, the mean of their losses is the loss of one process with all
    pairs; so is the mean of the gradients, for `gather` sends back what others make of its vectors.

    Args:
        a: Vectors of length 1 of this process's pairs, shape (B, D).
        b: Their partners, shape (B, D).
        scale: What similarities are multiplied with, shape ().
        first: Position of this process's first pair among those of all processes.
        ignored: Pairs that must not count as wrong, shape (B, M) for M pairs of all processes, or
            (B, M + Q) with those of `more_b`.
        more_b: Further vectors that are nobody's partner, shape (Q, D).
        alone: Whether only the pairs of this process count, as where each validates for itself.

    Returns:
        The mean of both directions in nats, shape ().
    """
    targets = torch.arange(first, first + len(a), device=a.device)
    all_a, all_b = (a, b) if alone else (gather(a), gather(b))
    num_pairs = len(all_a)
    keys = all_b if more_b is None else torch.cat([all_b, more_b])
    forth = info_nce(a, keys, targets, scale, ignored)
    back = info_nce(b, all_a, targets, scale, None if ignored is None else ignored[:, :num_pairs])
    return (forth + back) / 2


def num_processes() -> int:
    """Processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def process_number() -> int:
    """Number of this process among those that train together, from 0."""
    return distributed.get_rank() if num_processes() > 1 else 0


def gather(tensor: Tensor) -> Tensor:
    """Join the rows of all processes, in their order; gradients flow back to where the rows came from.

    Args:
        tensor: Rows of this process, shape (B, ...), of the same shape in every process.

    Returns:
        Rows of all R processes, shape (R * B, ...).
    """
    if num_processes() == 1:
        return tensor
    joined: Tensor = _Gather.apply(tensor)  # type: ignore[no-untyped-call]
    return joined


class _Gather(torch.autograd.Function):
    """`gather` of several processes; backward, the gradients of all processes are summed."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.num_rows = len(tensor)
        parts = [torch.empty_like(tensor) for _ in range(num_processes())]
        distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        first = distributed.get_rank() * ctx.num_rows
        return total[first : first + ctx.num_rows]
