"""The live hypotheses as paths in a tree of prefixes, and the arrays that one step needs of them.

Owns the bookkeeping, all on the host in numpy; must not know which library keeps the keys and values.

A node is one prefix whose keys and values were computed, once, whoever continues it. A hypothesis is the list
of its nodes, so that reordering and repeating hypotheses moves a few integers and no keys or values.
Dimension letters: B photos, R rows (hypotheses), W rows of the photo that has most, E items of evidence.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geotoken.cells import CellIds
from geotoken.model.batch import EvidenceBatch
from geotoken.model.config import ModelConfig
from geotoken.model.grid import ELSEWHERE, Corners, leaf_centers, side_before
from geotoken.model.world import World
from geotoken.tokens import TokenScheme

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]


class NodeStore(ABC):
    """Keys and values of nodes, numbered in the order in which they came; only ever grows."""

    def __init__(self) -> None:
        self.num_nodes = 0
        """Nodes held so far."""
        self.capacity = 0
        """Nodes there is room for."""

    def reserve(self, num_rows: int, num_steps: int) -> slice:
        """Number new nodes and make room for as many in each of the steps to come.

        Args:
            num_rows: New nodes.
            num_steps: Steps until the sequences are whole, with this one.

        Returns:
            The numbers of the new nodes.
        """
        new = slice(self.num_nodes, self.num_nodes + num_rows)
        if new.stop > self.capacity:
            self.capacity = max(new.start + num_rows * num_steps, self.capacity * 3 // 2)
            self.grow()
        self.num_nodes = new.stop
        return new

    @abstractmethod
    def grow(self) -> None:
        """Make room for `capacity` nodes and keep the first `num_nodes`."""

    @abstractmethod
    def new(self) -> "NodeStore":
        """An empty store of the same kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInput:
    """What the network is told of R hypotheses to score their next tokens."""

    position: int
    """Tokens that each hypothesis has, t."""
    token_rows: Ints
    """Row of the last token in the embedding table, shape (R,); 0 is the start."""
    nodes: Ints
    """Nodes of each row's prefixes in order, the new one last, shape (R, t + 1)."""
    new: slice
    """Numbers of the R new nodes; whoever scores the step stores their keys and values there."""
    photos: slice
    """Photos from the first to the last that has a row; B of them."""
    pad: Ints
    """Row in each slot of a photo, shape (B, W); any row where the photo has fewer."""
    slot: Ints
    """Place of each row in the flat `pad`, shape (R,)."""
    copied: Ints
    """Next token of every item of the row's photo, shape (R, E)."""
    match: Bools
    """Whether the item begins with the row's tokens, shape (R, E)."""
    offset: Singles
    """Each item from the lower corner of the row's cell in sides of the cell, shape (R, E, 2); `ELSEWHERE` if
    not on its face, and where there is no cell yet. Shape (R, 0, 2) if the head does not read it."""
    orientation: Ints
    """Orientation of the row's cell, shape (R,)."""
    world: Singles
    """Logarithms of the world prior's shares of what may come next, shape (R, V); shape (R, 0) if the network
    is not told."""


@dataclass(frozen=True, slots=True)
class ItemPlaces:
    """Where the items of every photo lie, for heads that ask how far off they are."""

    face: Ints
    """Face, shape (photos, E); -1 where there is no item."""
    center: Floats
    """Center of the item's leaf on its face, shape (photos, E, 2)."""

    @classmethod
    def of(cls, scheme: TokenScheme, item_tokens: Ints, item_mask: Bools) -> "ItemPlaces":
        """Places of items.

        Args:
            scheme: The token scheme.
            item_tokens: Tokens of the items, shape (photos, E, T).
            item_mask: Whether there is such an item, shape (photos, E).

        Returns:
            The places.
        """
        face, center = leaf_centers(scheme, item_tokens)
        return cls(np.where(item_mask, face, -1), center)

    def offset(self, photo: Ints, corners: Corners, side: float) -> Singles:
        """Items of each row's photo from the corner of its cell, as in `StepInput`.

        Args:
            photo: Photo of each row, shape (R,).
            corners: The cells of the rows.
            side: Side of these cells on their face.

        Returns:
            Offsets, shape (R, E, 2), float32.
        """
        offset = (self.center[photo] - corners.corner[:, None]) / side
        offset[self.face[photo] != corners.face[:, None]] = ELSEWHERE
        return offset.astype(np.float32)


@dataclass(slots=True)
class PrefixCache:
    """The live hypotheses of one decoding run; a value as `geotoken.protocol.Cache` asks."""

    scheme: TokenScheme
    """The token scheme."""
    item_tokens: Ints
    """Tokens of the items of every photo, shape (photos, E, T)."""
    photo: Ints
    """Photo of each row, shape (R,)."""
    nodes: Ints
    """Nodes of each row's prefixes, shape (R, t)."""
    match: Bools
    """Whether an item of evidence begins with the row's tokens, shape (R, E)."""
    store: NodeStore
    """Keys and values of the nodes; shared by caches that came from one another."""
    places: ItemPlaces | None = None
    """Where the items lie, if the head asks."""
    corners: Corners | None = None
    """The cell of each row, R of them; None while the rows are empty, or if the head does not ask."""
    world: World | None = None
    """The world prior, if the network is told of it."""
    cell_ids: CellIds | None = None
    """The cell of each row by its id, shape (R,); None while the rows are empty, or without a world."""

    @classmethod
    def empty(
        cls,
        scheme: TokenScheme,
        item_tokens: Ints,
        item_mask: Bools,
        store: NodeStore,
        *,
        places: ItemPlaces | None = None,
        world: World | None = None,
    ) -> "PrefixCache":
        """One empty hypothesis a photo.

        Args:
            scheme: The token scheme.
            item_tokens: Tokens of the items of every photo, shape (B, E, T).
            item_mask: Whether there is such an item, shape (B, E).
            store: An empty store.
            places: Where the items lie, if the head asks.
            world: The world prior, if the network is told of it.

        Returns:
            The cache.
        """
        num_photos = len(item_mask)
        photo, nodes = np.arange(num_photos, dtype=np.int64), np.empty((num_photos, 0), np.int64)
        return cls(scheme, item_tokens, photo, nodes, item_mask, store, places, world=world)

    @property
    def num_rows(self) -> int:
        """Number of live hypotheses R."""
        return len(self.photo)

    @property
    def num_tokens(self) -> int:
        """Tokens whose continuation was scored, t."""
        return int(self.nodes.shape[1])

    def expand(self, n: int) -> "PrefixCache":
        """Repeat each row n times, adjacent."""
        return self.reorder(np.repeat(np.arange(self.num_rows), n))

    def reorder(self, rows: Ints) -> "PrefixCache":
        """Select rows by position, shape (R',)."""
        # An empty hypothesis has no nodes to share: a store of its own is freed when its search is over.
        store = self.store if self.num_tokens else self.store.new()
        return PrefixCache(
            self.scheme,
            self.item_tokens,
            self.photo[rows],
            self.nodes[rows],
            self.match[rows],
            store,
            self.places,
            None if self.corners is None else self.corners.take(rows),
            self.world,
            None if self.cell_ids is None else self.cell_ids[rows],
        )

    def advance(self, tokens: Ints | None) -> StepInput:
        """Append the last token of every hypothesis and number the new nodes; in place.

        Args:
            tokens: Last tokens, shape (R,); None when the hypotheses are empty.

        Returns:
            What the network needs.

        Raises:
            TypeError: If tokens are given to empty hypotheses, or none to others, or the sequence is whole.
        """
        position = self.num_tokens
        if (tokens is None) != (position == 0) or position == self.scheme.length:
            raise TypeError(f"step {position} of {self.scheme.length} was given tokens {tokens}")
        token_rows = np.zeros(self.num_rows, dtype=np.int64)
        if tokens is not None:
            token_rows = tokens + embedding_offsets(self.scheme)[position - 1]
            self.match = self.match & (self.item_tokens[self.photo, :, position - 1] == tokens[:, None])
        new = self.store.reserve(self.num_rows, self.scheme.length - position)
        self.nodes = np.concatenate([self.nodes, np.arange(new.start, new.stop)[:, None]], axis=1)
        offset, orientation = self._locate(tokens, position)
        photos, pad, slot = _slots(self.photo)
        return StepInput(
            position=position,
            token_rows=token_rows,
            nodes=self.nodes,
            new=new,
            photos=photos,
            pad=pad,
            slot=slot,
            copied=self.item_tokens[self.photo, :, position],
            match=self.match,
            offset=offset,
            orientation=orientation,
            world=self._look_around(tokens),
        )

    def _look_around(self, tokens: Ints | None) -> Singles:
        """Follow the rows to their new cells, in place; `world` of `StepInput`."""
        if self.world is None:
            return np.empty((self.num_rows, 0), dtype=np.float32)
        if tokens is not None:
            self.cell_ids = self.world.advance(self.cell_ids, tokens)
        return self.world.log_shares(self.cell_ids, self.num_rows)

    def _locate(self, tokens: Ints | None, position: int) -> tuple[Singles, Ints]:
        """Follow the rows to their new cells, in place; `offset` and `orientation` of `StepInput`."""
        num_items = 0 if self.places is None else self.item_tokens.shape[1]
        if tokens is None or self.places is None:
            nowhere = np.full((self.num_rows, num_items, 2), ELSEWHERE, dtype=np.float32)
            return nowhere, np.zeros(self.num_rows, dtype=np.int64)
        size = self.scheme.group_size
        if self.corners is None:
            self.corners = Corners.of_faces(tokens)
        else:
            self.corners = self.corners.child(tokens, size, position - 1)
        offset = self.places.offset(self.photo, self.corners, side_before(size, position))
        return offset, self.corners.orientation


def item_places(config: ModelConfig, batch: EvidenceBatch) -> ItemPlaces | None:
    """Where the items of a batch lie, if the model's head asks.

    Args:
        config: The model.
        batch: Its evidence.

    Returns:
        The places, or None.
    """
    if not config.has_kernels:
        return None
    return ItemPlaces.of(config.scheme, batch.item_tokens, batch.item_mask)


def embedding_offsets(scheme: TokenScheme) -> Ints:
    """Row of token 0 of every position in the table of token embeddings; row 0 is the start.

    Args:
        scheme: The token scheme.

    Returns:
        Offsets, shape (T + 1,); the last is the number of rows in the table.
    """
    return np.cumsum([1, *scheme.vocabulary_sizes])


def _slots(photo: Ints) -> tuple[slice, Ints, Ints]:
    """Group rows by photo: the photos' range, `pad` (B, W) and `slot` (R,) as in `StepInput`."""
    if len(photo) == 0:
        return slice(0, 1), np.zeros((1, 1), np.int64), np.zeros(0, np.int64)
    first = int(photo.min())
    line = photo - first
    counts = np.bincount(line)
    order = np.argsort(line, kind="stable")
    place = np.arange(len(photo)) - (np.cumsum(counts) - counts)[line[order]]
    width = int(counts.max())
    pad = np.zeros((len(counts), width), dtype=np.int64)
    pad[line[order], place] = order
    slot = np.empty(len(photo), dtype=np.int64)
    slot[order] = line[order] * width + place
    return slice(first, first + len(counts)), pad, slot
