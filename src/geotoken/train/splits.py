"""Which photos of a store are learnt from, which validate, and which are never looked at.

Owns the names of splits and what each stage takes of them; must not know what is learnt.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.features import FeatureStore

TRAIN: Final = "train"
"""The split that is learnt from and makes the gallery."""
VALIDATION: Final = "val"
"""The split that is validated with, if there is one."""
TEST: Final = "test"
"""The split that no stage looks at."""

Rows = NDArray[np.int64]


def training_rows(store: FeatureStore) -> Rows:
    """Rows that may be learnt from, and be neighbors.

    Args:
        store: The store.

    Returns:
        Positions of the split "train" if there is one, else of all but those of "val" and "test", rising,
        shape (N,).
    """
    if TRAIN in store.splits:
        return store.rows_of(TRAIN)
    held_out = [store.rows_of(name) for name in (VALIDATION, TEST) if name in store.splits]
    return np.setdiff1d(np.arange(len(store)), np.concatenate([np.empty(0, dtype=np.int64), *held_out]))


def known_rows(store: FeatureStore) -> Rows:
    """Rows that may be learnt from or validated with: those that get neighbors.

    Args:
        store: The store.

    Returns:
        Positions, rising, shape (Q,).
    """
    rows = training_rows(store)
    return np.union1d(rows, store.rows_of(VALIDATION)) if VALIDATION in store.splits else rows
