"""What stages train on: photos whose place is known, with evidence about each.

Owns the protocol; must not know where cases come from. Dimension letter: N cases.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geotoken.model.batch import EvidenceBatch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Cases(Protocol):
    """Photos with their true places and evidence; read from a store, or simulated."""

    @property
    def lat(self) -> Floats:
        """True latitude in degrees, shape (N,)."""
        ...

    @property
    def lng(self) -> Floats:
        """True longitude in degrees, shape (N,)."""
        ...

    @property
    def owner(self) -> Ints:
        """A number for each photo's owner, shape (N,); no split parts the photos of one owner."""
        ...

    def evidence(self, rows: Ints, rng: np.random.Generator | None) -> EvidenceBatch:
        """Evidence about some of the photos; training asks from a thread of its own.

        Args:
            rows: Numbers of B cases, shape (B,), each 0..N - 1.
            rng: Randomness for cases that are simulated; None: the cases as they are, always the same.

        Returns:
            The evidence of these cases, in this order.
        """
        ...
