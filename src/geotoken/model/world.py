"""What the network is told of where photos are taken at all: the share of each cell that may come next.

Owns walking the prior down the token tree; must not know the network.
Dimension letters: B sequences, R hypotheses, T tokens, V vocabulary.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.prior import WorldPrior
from geotoken.tokens import TokenScheme

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

LEAST_SHARE: Final = 1e-9
"""Smaller shares are told as this one."""


class World:
    """A world prior, cut into the cells of a token scheme."""

    def __init__(self, prior: WorldPrior, scheme: TokenScheme) -> None:
        self.prior = prior
        self.scheme = scheme
        self._faces = cells.from_hex([f"{face * 2 + 1:x}" for face in range(cells.NUM_FACES)])
        self._size = max(scheme.vocabulary_sizes)

    def advance(self, cell_ids: cells.CellIds | None, tokens: Ints) -> cells.CellIds:
        """Cells of prefixes with one token more.

        Args:
            cell_ids: Cells of R prefixes, shape (R,); None if these are empty.
            tokens: Their next tokens, shape (R,).

        Returns:
            Cells, shape (R,), uint64.
        """
        if cell_ids is None:
            return np.asarray(self._faces[tokens])
        children = cells.children(cell_ids, self.scheme.group_size)
        return np.asarray(children[np.arange(len(tokens)), tokens])

    def log_shares(self, cell_ids: cells.CellIds | None, num_rows: int) -> Singles:
        """Logarithms of the shares of what may come next.

        Args:
            cell_ids: Cells of R prefixes, shape (R,); None if these are empty.
            num_rows: Number of prefixes R.

        Returns:
            Natural logarithms, shape (R, V), finite; at their least beyond the vocabulary.
        """
        found = np.full((num_rows, self._size), np.log(LEAST_SHARE), dtype=np.float32)
        if num_rows == 0:
            return found
        if cell_ids is None:
            children = self._faces[None]
        else:
            children = cells.children(cell_ids, self.scheme.group_size)
        shares = self.prior.children_shares(children)
        found[:, : shares.shape[1]] = np.log(np.maximum(shares, LEAST_SHARE))
        return found

    def along(self, tokens: Ints) -> Singles:
        """Logarithms of the shares of what may come at each position of sequences.

        Args:
            tokens: Sequences, or their beginnings, shape (B, T); the last token is not read.

        Returns:
            Natural logarithms, shape (B, T, V).
        """
        cell_ids, found = None, []
        for position in range(tokens.shape[1]):
            found.append(self.log_shares(cell_ids, len(tokens)))
            cell_ids = self.advance(cell_ids, tokens[:, position])
        return np.stack(found, axis=1)
