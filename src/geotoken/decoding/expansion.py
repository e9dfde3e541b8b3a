"""The expansion of the token tree, level by level, into the posterior of each photo.

Owns `posterior`; must not know the model or what the posterior is used for.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.decoding.distribution import Posterior
from geotoken.decoding.search import Floats, Ints, encode_once
from geotoken.errors import InputError
from geotoken.evidence import Evidence
from geotoken.protocol import Cache, Memory, TokenModel
from geotoken.tokens import TokenScheme

Divide = Callable[[NDArray[np.uint64]], NDArray[np.bool_]]
"""Tells of cell ids, shape (N,), uint64, which are worth dividing, shape (N,), bool."""
_Part = tuple[Ints, NDArray[np.uint64], Ints, Floats]  # photo, cell id, level, log-probability of final cells


def posterior(
    model: TokenModel,
    evidence: Sequence[Evidence] | Memory,
    epsilon: float = 1e-4,
    *,
    divide: Divide | None = None,
    photos: Ints | None = None,
) -> list[Posterior]:
    """The whole distribution over places of each photo, down to the cells that still matter.

    Every prefix of probability `epsilon` or more is expanded, all photos and all prefixes of one length in
    one step call; at most `1 / epsilon` prefixes a photo are live at once.

    Args:
        model: Any token model.
        evidence: Evidence of B photos, or what `model.encode` made of it.
        epsilon: Probability below which a cell is not divided further, in (0, 1].
        divide: Tells of cell ids, shape (N,), which are worth dividing, shape (N,), bool; all when None.
        photos: Photos that are asked for, each once, shape (N,); all when None.

    Returns:
        The posterior of each photo asked for, in order; the answer for one does not depend on the others.

    Raises:
        InputError: epsilon is out of range.
    """
    if not 0 < epsilon <= 1:
        raise InputError(
            f"epsilon is {epsilon}; give a probability greater than 0 and at most 1, such as 1e-4"
        )
    memory = encode_once(model, evidence)
    if memory is None:
        return []
    cache = memory.new_cache()
    if photos is not None:
        cache = cache.reorder(photos)
    parts = _expand(model, memory, cache, math.log(epsilon), divide)
    return [_assemble(model.scheme, parts, row) for row in range(cache.num_rows)]


def _expand(
    model: TokenModel, memory: Memory, cache: Cache, log_epsilon: float, divide: Divide | None
) -> list[_Part]:
    """Divide every live prefix until it is a leaf or below epsilon; one part of final cells a length.

    Begins at the empty prefixes in `cache`, whose rows are the photos of a part, and uses it up. The rows of
    a part are sorted by photo, then cell id, because rows keep their order and children follow the Hilbert
    curve.
    """
    scheme = model.scheme
    photo = np.arange(cache.num_rows, dtype=np.int64)
    log_prob = np.zeros(cache.num_rows)
    cell_id = np.empty(0, dtype=np.uint64)
    tokens: Ints | None = None
    parts: list[_Part] = []
    for num_tokens in range(1, scheme.length + 1):
        log_probs = model.step(tokens, memory, cache)
        total = log_prob[:, None] + log_probs  # (R, V)
        level = scheme.level_at(num_tokens)
        if num_tokens == 1:
            child_id = np.tile(scheme.to_cells(np.arange(total.shape[1])[:, None]), (len(photo), 1))
        else:
            child_id = cells.children(cell_id, level - scheme.level_at(num_tokens - 1))  # (R, V)
        live = (total >= log_epsilon) & (num_tokens < scheme.length)
        if divide is not None:
            live[live] = divide(child_id[live])
        final = ~live
        final_photo = np.repeat(photo, final.sum(axis=1))
        parts.append((final_photo, child_id[final], np.full(len(final_photo), level), total[final]))
        rows, tokens = np.nonzero(live)
        if len(rows) == 0:
            break
        photo, cell_id, log_prob = photo[rows], child_id[rows, tokens], total[rows, tokens]
        cache = cache.reorder(rows)
    return parts


def _assemble(scheme: TokenScheme, parts: list[_Part], photo: int) -> Posterior:
    """Put the final cells of one photo in the order of the Hilbert curve."""
    spans = [slice(*np.searchsorted(part[0], (photo, photo + 1))) for part in parts]
    cell_id, level, log_prob = (
        np.concatenate([part[column][span] for part, span in zip(parts, spans, strict=True)])
        for column in (1, 2, 3)
    )
    order = np.argsort(cell_id, kind="stable")  # few sorted runs: a merge
    probability = np.exp(log_prob[order])
    return Posterior(
        scheme=scheme, cell_id=cell_id[order], level=level[order], probability=probability / probability.sum()
    )
