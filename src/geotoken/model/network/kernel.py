"""The head that copies softly: each item spreads over the cells around it, by a learned mixture of widths.

Owns the kernels and their mixture with the generator; must not know how hypotheses are searched.
Dimension letters: B photos, E items, T tokens, V vocabulary, D width, S scales, n = 2 ** group_size.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from geotoken.model.config import ModelConfig
from geotoken.model.grid import ELSEWHERE, WIDTHS_KM, grid, side_before
from geotoken.model.network.pointer import Pointer, mix_by_gate

_FACE_KM: Final = 10_007.5  # side of a face: a quarter of the Earth's circumference
_SHORT: Final = 0.1  # widths; below it 1 - exp(-x) loses digits, and a series is exact
_REACH: Final = 4.0  # how far items draw each other, in widths, at first


class KernelPointer(Pointer):
    """p = (1 - g) generator + g kernels: what an item puts next is a density around it, not one token.

    On the grid of a face, where cells are squares, the kernel of an item is a product of two logistic
    distributions: its mass in any cell is known in closed form, far off too. The next token's distribution
    is the mass of all items' kernels in the children of the prefix's cell; attention and a bias of each
    scale are the weights. So items beside a cell count, and items far off weigh next to nothing by
    themselves. Faces, which no distance joins, are copied as they are.

    The kernel of an item stands at the mean of the items around it, nearer ones counting more: several photos
    of one place tell where it is better than each alone.

    References:
        Parzen (1962), On estimation of a probability density function and mode; Khandelwal et al. (2020),
        Generalization through memorization: nearest neighbor language models, equation 3; Cheng (1995), Mean
        shift, mode seeking, and clustering, section 2 (one shift, blurring).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        size = config.group_size
        self.num_children = 2**size
        self.log_width = nn.Parameter((torch.tensor(WIDTHS_KM) / _FACE_KM).log())
        self.log_reach = nn.Parameter(torch.full((len(WIDTHS_KM),), _REACH).log())
        self.scale_bias = nn.Linear(config.width, len(WIDTHS_KM))
        nn.init.zeros_(self.scale_bias.weight)
        if config.world_prior:
            self.tilt = nn.Linear(config.width, 1)
        sides = [1.0, *(side_before(size, position) for position in range(1, config.scheme.length))]
        self.sides: Tensor
        self.register_buffer("sides", torch.tensor(sides), persistent=False)
        self.alone = config.head == "kernel_only"
        self.leaf_side = side_before(size, config.scheme.length)
        table = grid(size)
        place = torch.from_numpy(table.place)
        missing = config.vocabulary_size - place.shape[1]  # beyond the vocabulary: masked by the caller
        self.place: Tensor
        self.register_buffer("place", nn.functional.pad(place, (0, max(missing, 0))), persistent=False)
        self.corner: Tensor
        self.register_buffer("corner", torch.from_numpy(table.corner), persistent=False)
        self.turn: Tensor
        self.register_buffer("turn", torch.from_numpy(table.turn), persistent=False)

    def join(
        self, log_probs: Tensor, x: Tensor, around: Tensor, near: Tensor, world: Tensor | None
    ) -> Tensor:
        """Mix the generator's distribution with that of the kernels, or take theirs alone.

        With a world prior the kernels' own distribution is first mixed with its product with the prior, which
        says "around here, where photos are taken".

        Args:
            log_probs: The generator's log-probabilities, shape (..., V), float32, finite.
            x: State of each hypothesis, shape (..., D).
            around: Log-probabilities of the kernels, shape (..., V).
            near: Whether there are kernels, shape (..., 1), bool.
            world: Logarithms of the prior's shares, shape (..., V); None if the model is not told.

        Returns:
            Log-probabilities, shape (..., V), float32.
        """
        if world is not None:
            around = mix_by_gate(around, (around + world).log_softmax(dim=-1), self.tilt(x))
        if self.alone:
            return torch.where(near, around, log_probs)
        return self.blend(log_probs, x, around, near)

    def shift(self, item_tokens: Tensor, item_mask: Tensor) -> Tensor:
        """How far the kernels stand from their items.

        Args:
            item_tokens: Tokens of the items, shape (B, E, T).
            item_mask: Whether there is such an item, shape (B, E).

        Returns:
            Steps on the face, whose side is 1, shape (B, E, S, 2), float32.
        """
        place = self.walk(item_tokens)[0][..., -1, :]  # (B, E, 2)
        face = item_tokens[..., 0]
        step = (place[:, None] - place[:, :, None]).float()  # (B, E, E, 2), from an item to another
        joined = (face[:, None] == face[:, :, None]) & item_mask[:, None]
        reach = (self.log_width + self.log_reach).exp()
        distance = step.square().sum(dim=-1)[..., None] / reach.square()  # (B, E, E, S)
        weight = torch.exp(-distance / 2) * joined[..., None]
        weight = weight / weight.sum(dim=2, keepdim=True).clamp_min(1e-9)
        return weight.transpose(2, 3) @ step

    def spread(
        self, x: Tensor, scores: Tensor, offset: Tensor, orientation: Tensor, side: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The kernels' distribution over the children of each prefix's cell.

        Args:
            x: State of each hypothesis, shape (..., D).
            scores: Score of each item, shape (..., E).
            offset: The kernels of each item from the lower corner of the prefix's cell, in sides of the cell,
                shape (..., E, S, 2), float32; `ELSEWHERE`, more or less, if it is on no such face.
            orientation: Orientation of the prefix's cell, shape (...).
            side: Side of the cell on its face, shape broadcast with (...).

        Returns:
            Log-probabilities, shape (..., V), and whether any item is on the face, shape (..., 1).
        """
        n = self.num_children
        width = self.log_width.exp()
        step = side[..., None, None, None] / width[:, None]  # (..., 1, S, 1), in widths
        edges = torch.arange(n + 1, device=offset.device, dtype=offset.dtype) / n

        def axis(place: Tensor) -> tuple[Tensor, Tensor]:
            """Share of the best child, shape (..., E, S), and of each against it, shape (..., E, S, n)."""
            z = (edges - place[..., None]) * step  # (..., E, S, n + 1)
            tail = softplus(z)
            log_mass = z[..., 1:] - tail[..., 1:] - tail[..., :-1]
            best = log_mass.amax(dim=-1, keepdim=True)
            return best[..., 0], (log_mass - best).exp()

        best_i, rows = axis(offset[..., 0])
        best_j, columns = axis(offset[..., 1])
        short = step[..., 0] / n
        series = short.log() - short / 2 + short.square() / 24
        log_span = torch.where(short < _SHORT, series, _log1mexp(short.clamp_min(_SHORT)))
        weights = scores.float()[..., None] + self.scale_bias(x).float()[..., None, :]
        weights = weights + best_i + best_j + 2 * log_span  # (..., E, S)
        flat = weights.flatten(-2).softmax(dim=-1)
        rows, columns = rows.flatten(-3, -2), columns.flatten(-3, -2)  # (..., E S, n)
        mass = (flat[..., None] * rows).transpose(-1, -2) @ columns  # (..., n, n)
        mass = mass.flatten(-2)
        mass = mass / mass.sum(dim=-1, keepdim=True)
        near = (offset[..., 0, 0] < ELSEWHERE / 2).any(dim=-1, keepdim=True)
        return mass.gather(-1, self.place[orientation]).clamp_min(1e-30).log(), near

    def walk(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Lower corners and orientations of the cells of all prefixes of sequences.

        Args:
            tokens: Sequences, shape (..., T).

        Returns:
            Corners on the face, shape (..., T, 2), float64, of the prefixes of 1..T tokens, and
            orientations, shape (..., T).
        """
        orientation = tokens[..., 0] % 3 % 2
        corner = torch.zeros(*orientation.shape, 2, dtype=torch.float64, device=tokens.device)
        corners, orientations = [corner], [orientation]
        for position in range(1, tokens.shape[-1]):
            token = tokens[..., position]
            corner = corner + self.corner[orientation, token] * self.sides[position].double()
            orientation = self.turn[orientation, token]
            corners.append(corner)
            orientations.append(orientation)
        return torch.stack(corners, dim=-2), torch.stack(orientations, dim=-1)


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(-x)) for x that is not small."""
    return torch.log1p(-torch.exp(-x))
