"""The GeoToken transformer: evidence in, probabilities of the next token out.

Owns the network from batch to log-probabilities; must not know decoding or where keys and values are kept.
Dimension letters: B photos, E items, P positions of the evidence, T tokens, V vocabulary, D width, H heads,
R hypotheses, W slots of a photo.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from geotoken.model.cache import embedding_offsets
from geotoken.model.config import ModelConfig
from geotoken.model.grid import ELSEWHERE
from geotoken.model.network.embedding import EvidenceEmbedding
from geotoken.model.network.kernel import KernelPointer
from geotoken.model.network.layers import DecoderLayer, EncoderLayer, sinusoid
from geotoken.model.network.pointer import Pointer, consistent
from geotoken.model.world import World
from geotoken.prior import WorldPrior


@dataclass(frozen=True, slots=True)
class Memory:
    """The encoded evidence of B photos, shared by all their hypotheses."""

    keys: list[Tensor]
    """Keys of the evidence for each decoder layer, shape (B, H, P, D / H)."""
    values: list[Tensor]
    """Values of the evidence for each decoder layer, shape (B, H, P, D / H)."""
    mask: Tensor | None
    """Whether there is evidence, shape (B, 1, 1, P), bool; None if there is everywhere."""
    item_keys: Tensor | None
    """What the pointer compares with, shape (B, E, D); None without one."""
    item_shift: Tensor | None = None
    """From items to their kernels, shape (B, E, S, 2), see `KernelPointer.shift`; None without kernels."""

    def take(self, photos: slice) -> "Memory":
        """The memory of some photos; nothing is copied."""
        return Memory(
            [k[photos] for k in self.keys],
            [v[photos] for v in self.values],
            None if self.mask is None else self.mask[photos],
            None if self.item_keys is None else self.item_keys[photos],
            None if self.item_shift is None else self.item_shift[photos],
        )


@dataclass(frozen=True, slots=True)
class StepTensors:
    """`geotoken.model.cache.StepInput` as tensors, without the nodes, which are the store's affair."""

    position: Tensor
    """Tokens that each hypothesis has, shape (1,)."""
    token_rows: Tensor
    """Row of the last token in the embedding table, shape (R,)."""
    pad: Tensor
    """Row in each slot of a photo, shape (B, W)."""
    slot: Tensor
    """Place of each row in the flat `pad`, shape (R,)."""
    copied: Tensor
    """Next token of every item of the row's photo, shape (R, E)."""
    match: Tensor
    """Whether the item begins with the row's tokens, shape (R, E), bool."""
    offset: Tensor
    """Each item from the corner of the row's cell, shape (R, E, 2), float32; read by the head `kernel`."""
    orientation: Tensor
    """Orientation of the row's cell, shape (R,); read by the head `kernel`."""
    world: Tensor
    """Logarithms of the world prior's shares of what may come next, shape (R, V); read with `world_prior`."""


class GeoTokenModel(nn.Module):
    """Encoder over the evidence, decoder over the tokens, one output head a position."""

    def __init__(self, config: ModelConfig, prior: WorldPrior | None = None) -> None:
        """Build the network with random weights.

        Args:
            config: Its shape and switches.
            prior: The world prior, if the configuration asks for one.

        Raises:
            TypeError: There is no prior, but the configuration asks for one, or the other way round.
        """
        super().__init__()
        if (prior is not None) != config.world_prior:
            raise TypeError(f"world_prior is {config.world_prior}, and the prior {prior}")
        self.config = config
        self.world = None if prior is None else World(prior, config.scheme)
        sizes = torch.tensor(config.scheme.vocabulary_sizes)
        offsets = torch.from_numpy(embedding_offsets(config.scheme))
        length, width = config.scheme.length, config.width

        self.embedding = EvidenceEmbedding(config)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.tokens = nn.Embedding(int(offsets[-1]), width)
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.head_weight = nn.Parameter(torch.empty(length, config.vocabulary_size, width))
        self.head_bias = nn.Parameter(torch.zeros(length, config.vocabulary_size))
        kinds = {"pointer": Pointer, "kernel": KernelPointer, "kernel_only": KernelPointer}
        self.pointer = kinds[config.head](config) if config.has_items else None

        self.offsets: Tensor
        self.positions: Tensor
        self.possible: Tensor
        self.register_buffer("offsets", offsets[:-1], persistent=False)
        self.register_buffer("positions", sinusoid(torch.arange(length), width), persistent=False)
        possible = torch.arange(config.vocabulary_size) < sizes[:, None]  # (T, V)
        self.register_buffer("possible", possible, persistent=False)
        self._initialise()

    def forward(self, arrays: Mapping[str, Tensor], tokens: Tensor, *, complete: bool = False) -> Tensor:
        """Score every token of one sequence a photo: encode, then decode; what training calls.

        Args:
            arrays: The arrays of an `EvidenceBatch` by name.
            tokens: One sequence a photo, shape (B, T), int64.
            complete: Whether the batch is known to be complete.

        Returns:
            Log-probabilities in nats, shape (B, T, V), float32; minus infinity beyond the vocabulary.
        """
        return self.decode(tokens, self.encode(arrays, complete=complete), arrays)

    def encode(self, arrays: Mapping[str, Tensor], *, complete: bool = False) -> Memory:
        """Encode the evidence of B photos, with the keys and values that every decoder layer needs of it.

        Args:
            arrays: The arrays of an `EvidenceBatch` by name.
            complete: Whether the batch is known to be complete; attention without masks is quicker.

        Returns:
            The memory.
        """
        memory = self.remember(*self.read(arrays, complete=complete))
        if isinstance(self.pointer, KernelPointer):
            shift = self.pointer.shift(arrays["item_tokens"], arrays["item_mask"])
            memory = replace(memory, item_shift=shift)
        return memory

    def read(self, arrays: Mapping[str, Tensor], *, complete: bool = False) -> tuple[Tensor, Tensor | None]:
        """Run the encoder alone.

        Args:
            arrays: The arrays of an `EvidenceBatch` by name.
            complete: Whether the batch is known to be complete.

        Returns:
            The encoded evidence, shape (B, P, D), and whether each position is there, shape (B, 1, 1, P);
            None if all are.
        """
        x, present = self.embedding(arrays)
        mask = None if complete else present[:, None, None, :]
        for layer in self.encoder:
            x = layer(x, mask)
        return self.encoder_norm(x), mask

    def remember(self, x: Tensor, mask: Tensor | None) -> Memory:
        """Compute what the decoder needs of the encoded evidence, once a photo.

        Args:
            x: The encoded evidence, shape (B, P, D).
            mask: Whether each position is there, shape (B, 1, 1, P); everywhere when None.

        Returns:
            The memory.
        """
        keys, values = [], []
        for layer in self.decoder:
            assert isinstance(layer, DecoderLayer)
            k, v = layer.cross_attention.keys_values(x)
            keys.append(k)
            values.append(v)
        items = None if self.pointer is None else self.pointer.item_keys(self._items(x))
        return Memory(keys, values, mask, items)

    def decode(self, tokens: Tensor, memory: Memory, arrays: Mapping[str, Tensor]) -> Tensor:
        """Score every token of sequences or prefixes, each given those before (teacher forcing).

        Args:
            tokens: One sequence a photo, shape (B, T), int64; the last token is not read.
            memory: What `encode` returned.
            arrays: The arrays of the `EvidenceBatch`.

        Returns:
            Log-probabilities in nats, shape (B, T, V), float32; minus infinity beyond the vocabulary.
        """
        length = tokens.shape[1]
        start = torch.zeros_like(tokens[:, :1])
        rows = torch.cat([start, tokens[:, :-1] + self.offsets[: length - 1]], dim=1)
        x = self.tokens(rows) + self.positions[:length]
        for layer, k, v in zip(self.decoder, memory.keys, memory.values, strict=True):
            x = layer(x, k, v, memory.mask)
        x = self.decoder_norm(x)
        logits = torch.einsum("btd,tvd->btv", x, self.head_weight[:length]) + self.head_bias[:length]
        possible = self.possible[:length]
        world = self._along(tokens)
        log_probs = _log_softmax(logits if world is None else logits + world, possible)
        if self.pointer is not None and memory.item_keys is not None:
            scores = self.pointer.query(x) @ memory.item_keys.transpose(1, 2)  # (B, T, E)
            item_tokens = arrays["item_tokens"][..., :length]
            match = consistent(tokens, item_tokens, arrays["item_mask"])
            copied = item_tokens.transpose(1, 2)
            if isinstance(self.pointer, KernelPointer):
                given = _Spread(x, scores, tokens, match, world)
                log_probs = self._spread(log_probs, given, memory, arrays)
            else:
                log_probs = self.pointer.mix(log_probs, x, scores, copied, match)
        return log_probs.masked_fill(~possible, -torch.inf)

    def step(
        self, given: StepTensors, memory: Memory, recall: Callable[[int, Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Score the next token of R hypotheses, computing their last position only.

        Args:
            given: The hypotheses.
            memory: Encoded evidence of the photos that have rows.
            recall: The self-attention of a layer, given its number, new queries, shape (R, D), and new keys
                and values, shape (R, 2 D); see `geotoken.model.network.layers.Recall`.

        Returns:
            Log-probabilities in nats, shape (R, V), float32; minus infinity beyond the position's vocabulary.
        """
        x = self.tokens(given.token_rows) + self.positions.index_select(0, given.position)
        for i, layer in enumerate(self.decoder):
            assert isinstance(layer, DecoderLayer)
            x = layer.step(
                x,
                partial(recall, i),
                memory.keys[i],
                memory.values[i],
                memory.mask,
                given.pad,
                given.slot,
            )
        x = self.decoder_norm(x)
        weight = self.head_weight.index_select(0, given.position)[0]
        possible = self.possible.index_select(0, given.position)
        logits = x @ weight.T + self.head_bias.index_select(0, given.position)
        world = given.world if self.config.world_prior else None
        log_probs = _log_softmax(logits if world is None else logits + world, possible)
        if self.pointer is not None and memory.item_keys is not None:
            queries = self.pointer.query(x).index_select(0, given.pad.flatten())
            queries = queries.view(given.pad.shape[0], given.pad.shape[1], x.shape[-1])
            scores = (queries @ memory.item_keys.transpose(1, 2)).flatten(0, 1)  # (B * W, E)
            scores = scores.index_select(0, given.slot)
            mixed = self.pointer.mix(log_probs, x, scores, given.copied, given.match)
            if isinstance(self.pointer, KernelPointer) and memory.item_shift is not None:
                side = self.pointer.sides.index_select(0, given.position)
                photo = given.slot // given.pad.shape[1]
                shift = memory.item_shift.index_select(0, photo) / side  # (R, E, S, 2)
                offset = given.offset[:, :, None] + shift
                around, near = self.pointer.spread(x, scores, offset, given.orientation, side)
                soft = self.pointer.join(log_probs, x, around, near, world)
                mixed = torch.where(given.position == 0, mixed, soft)
            log_probs = mixed
        return log_probs.masked_fill(~possible, -torch.inf)

    def _along(self, tokens: Tensor) -> Tensor | None:
        """The world prior's shares along sequences, shape (B, T, V); None if the model is not told."""
        if self.world is None:
            return None
        return torch.from_numpy(self.world.along(tokens.cpu().numpy())).to(tokens.device)

    def _spread(
        self, log_probs: Tensor, given: "_Spread", memory: Memory, arrays: Mapping[str, Tensor]
    ) -> Tensor:
        """`KernelPointer` along whole sequences: shapes as in `decode` and (B, T, ...); gives (B, T, V)."""
        pointer, shift = self.pointer, memory.item_shift
        x, scores, tokens, match = given.x, given.scores, given.tokens, given.match
        assert isinstance(pointer, KernelPointer)
        assert shift is not None
        first = slice(0, 1)
        copied = arrays["item_tokens"][..., first].transpose(1, 2)
        face = pointer.mix(log_probs[:, first], x[:, first], scores[:, first], copied, match[:, first])
        if tokens.shape[1] == 1:
            return face
        corner, orientation = pointer.walk(tokens[:, :-1])  # of the cells whose children are scored
        items = pointer.walk(arrays["item_tokens"])[0][..., -1, :] + pointer.leaf_side / 2  # (B, E, 2)
        side = pointer.sides[1 : tokens.shape[1]]
        offset = (items[:, None] - corner[:, :, None]) / side.double()[:, None, None]  # (B, T - 1, E, 2)
        offset = offset.masked_fill(~match[:, 1:2, :, None], ELSEWHERE).float()
        offset = offset[..., None, :] + shift[:, None] / side[:, None, None, None]  # (B, T - 1, E, S, 2)
        around, near = pointer.spread(x[:, 1:], scores[:, 1:], offset, orientation, side)
        world = None if given.world is None else given.world[:, 1:]
        return torch.cat([face, pointer.join(log_probs[:, 1:], x[:, 1:], around, near, world)], dim=1)

    def _items(self, x: Tensor) -> Tensor:
        """One vector for each item out of the encoder's positions: shape (B, P, D) becomes (B, E, D)."""
        num_vectors = len(self.config.modalities)
        x = x[:, 1 + num_vectors :]
        if self.config.layout == "pooled":
            return x
        x = torch.unflatten(x, 1, (-1, num_vectors + self.config.scheme.length))
        return x[:, :, num_vectors:].mean(dim=2)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for name, dim in self.config.modalities:
            projection = self.embedding.vectors[name]
            assert isinstance(projection, nn.Linear)
            nn.init.normal_(projection.weight, std=dim**-0.5)
        nn.init.normal_(self.head_weight, std=self.config.width**-0.5)


@dataclass(frozen=True, slots=True)
class _Spread:
    """What the kernels along whole sequences are made of; shapes as in `GeoTokenModel.decode`."""

    x: Tensor
    scores: Tensor
    tokens: Tensor
    match: Tensor
    world: Tensor | None


def _log_softmax(logits: Tensor, possible: Tensor) -> Tensor:
    """Log-probabilities, shape (..., V), float32; hugely negative, but finite, where impossible."""
    return logits.float().masked_fill(~possible, -1e9).log_softmax(dim=-1)
