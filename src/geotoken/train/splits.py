"""Which photos of a store are learnt from, which validate, and which are never looked at.

Owns the names of splits, what each stage takes of them, and the order in which owners are held out; must not
know what is learnt.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.features import FeatureStore
from geotoken.gallery.storage import BLOCK_ROWS

TRAIN: Final = "train"
"""The split that is learnt from and makes the gallery."""
VALIDATION: Final = "val"
"""The split that is validated with, if there is one."""
TEST: Final = "test"
"""The split that no stage looks at."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: spreads neighboring numbers evenly


def training_rows(store: FeatureStore) -> Ints:
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


def known_rows(store: FeatureStore) -> Ints:
    """Rows that may be learnt from or validated with: those that get neighbors.

    Args:
        store: The store.

    Returns:
        Positions, rising, shape (Q,).
    """
    rows = training_rows(store)
    return np.union1d(rows, store.rows_of(VALIDATION)) if VALIDATION in store.splits else rows


def held_out(store: FeatureStore, rows: Ints, owner: Ints, share: float) -> Bools:
    """Which rows are validated with and not trained on: the same in every run and stage.

    Args:
        store: The store.
        rows: Rows that may be learnt from or validated with, shape (N,).
        owner: Their `owner_codes`, shape (N,).
        share: Share of the owners that is held out, in (0, 1), of a store without the split "val".

    Returns:
        Whether a row has the split "val", or without one is of an owner that is held out, shape (N,).
    """
    if VALIDATION in store.splits:
        return np.isin(rows, store.rows_of(VALIDATION))
    return np.asarray(owner_hash(owner) < share)


def owner_codes(store: FeatureStore, rows: Ints) -> Ints:
    """Number the owners of rows.

    Args:
        store: The store.
        rows: Rows of the store, shape (N,).

    Returns:
        Equal for photos of one owner, shape (N,); a photo without an owner has a code of its own.
    """
    codes = np.empty(len(rows), dtype=np.int64)
    known: dict[str, int] = {}
    for start in range(0, len(rows), BLOCK_ROWS):
        owners = store.table(rows[start : start + BLOCK_ROWS], ("owner",))["owner"]
        codes[start : start + BLOCK_ROWS] = [
            -1 if owner is None else known.setdefault(owner, len(known)) for owner in owners
        ]
    alone = codes < 0
    codes[alone] = len(known) + np.arange(int(alone.sum()))
    return codes


def owner_hash(owner: Ints) -> Floats:
    """Where each owner lies between 0 and 1: the same in every run, and even for numbers in sequence.

    Args:
        owner: A number for each photo's owner, shape (N,).

    Returns:
        Numbers in [0, 1), shape (N,), equal for equal owners.

    References:
        Knuth, The Art of Computer Programming, volume 3, section 6.4: Fibonacci hashing.
    """
    spread = (owner.astype(np.uint64) + np.uint64(1)) * _GOLDEN  # owner 0 too lies anywhere
    return (spread >> np.uint64(11)).astype(np.float64) * 2.0**-53


def owner_order(owner: Ints) -> tuple[Ints, int]:
    """Number the owners in the order of `owner_hash`, in which they are held out.

    Args:
        owner: Code of each photo's owner, shape (N,).

    Returns:
        Number of each photo's owner, from 0, shape (N,); and how many owners there are.
    """
    distinct, place = np.unique(owner, return_inverse=True)
    return np.argsort(np.argsort(owner_hash(distinct), kind="stable"))[place], len(distinct)
