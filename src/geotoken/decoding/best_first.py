"""Best-first search: the exact k likeliest leaves, because a prefix is never less likely than its leaves.

Owns the frontier and its pruning; must not know how a model scores or what the tokens mean.

References:
    Hart, Nilsson, Raphael (1968), A formal basis for the heuristic determination of minimum cost paths: with
    -log p as cost and the zero heuristic, which is admissible since no token has log p > 0.
"""

import heapq
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np

from geotoken.decoding.options import DecodingOptions
from geotoken.decoding.search import Floats, Hypotheses, Ints
from geotoken.protocol import Cache, Memory, TokenModel

ROWS_PER_STEP: Final = 128
"""Prefixes expanded together, at most: the price of a step call is shared, few are expanded in vain."""


def search_best_first(
    model: TokenModel, memory: Memory, seeds: list[Hypotheses], options: DecodingOptions
) -> list[tuple[Hypotheses, bool]]:
    """Find the likeliest leaves of each photo and say whether that is proved.

    Args:
        model: Any token model.
        memory: The encoded evidence of B photos.
        seeds: Leaves already known of each photo, from a beam search: the k-th of them is the first bound
            below which nothing needs to be expanded.
        options: `num_candidates` leaves are sought; at most `max_expansions` prefixes are expanded a photo.

    Returns:
        For each photo its leaves, likeliest first, at most `num_candidates` (fewer only if fewer are
        possible), and whether they are proved to be the likeliest. Without proof they are the best seen.
    """
    root = memory.new_cache()
    results = []
    for photo, seed in enumerate(seeds):
        search = _BestFirst(model, memory, seed, options)
        results.append(search.run(root.reorder(np.array([photo], dtype=np.int64))))
    return results


@dataclass(frozen=True, slots=True)
class _Block:
    """Prefixes of one length that share a cache, with the continuations still worth expanding."""

    cache: Cache
    prefixes: Hypotheses
    rows: Ints
    """Prefix of each continuation, likeliest continuation first."""
    tokens: Ints
    """Token that each continuation appends."""
    log_probs: Floats
    """Log-probabilities of the next token of each prefix, shape (R, V)."""
    total: Floats
    """Log-probability of each continuation, falling."""


class _BestFirst:
    """The search for one photo."""

    def __init__(self, model: TokenModel, memory: Memory, seed: Hypotheses, options: DecodingOptions) -> None:
        self._model = model
        self._memory = memory
        self._num_candidates = options.num_candidates
        self._budget = options.max_expansions
        self._frontier: list[tuple[float, int, _Block]] = []
        self._ticket = count()  # breaks ties: first in, first out
        self._best = seed
        self._keep_best(seed)

    def run(self, cache: Cache) -> tuple[Hypotheses, bool]:
        """Search from the empty prefix in `cache` (one row, which is not changed)."""
        self._expand(cache, None, Hypotheses.empty(1))
        while self._frontier and -self._frontier[0][0] > self._bound:
            _, _, block = heapq.heappop(self._frontier)
            num_rows = min(ROWS_PER_STEP, self._budget, int(np.searchsorted(-block.total, -self._bound)))
            if num_rows == 0:
                return self._best, False
            rows, tokens = block.rows[:num_rows], block.tokens[:num_rows]
            self._push(block, num_rows)
            prefixes = block.prefixes.extend(rows, tokens, block.log_probs)
            self._expand(block.cache.reorder(rows), tokens, prefixes)
        return self._best, True

    @property
    def _bound(self) -> float:
        """What a prefix must exceed to matter: the log-probability of the k-th leaf so far."""
        return float(self._best.log_prob[-1]) if len(self._best.log_prob) == self._num_candidates else -np.inf

    def _expand(self, cache: Cache, tokens: Ints | None, prefixes: Hypotheses) -> None:
        """Score what follows `prefixes`: good enough leaves are kept, longer prefixes join the frontier."""
        log_probs = self._model.step(tokens, self._memory, cache)
        self._budget -= len(log_probs)
        total = prefixes.log_prob[:, None] + log_probs
        rows, next_tokens = np.nonzero(total > self._bound)
        if prefixes.tokens.shape[1] == self._model.scheme.length - 1:
            self._keep_best(prefixes.extend(rows, next_tokens, log_probs))
            return
        order = np.argsort(-total[rows, next_tokens], kind="stable")
        rows, next_tokens = rows[order], next_tokens[order]
        self._push(_Block(cache, prefixes, rows, next_tokens, log_probs, total[rows, next_tokens]), 0)

    def _push(self, block: _Block, start: int) -> None:
        """Put a block, without its first `start` continuations, on the frontier."""
        if start < len(block.total):
            rest = _Block(
                block.cache,
                block.prefixes,
                block.rows[start:],
                block.tokens[start:],
                block.log_probs,
                block.total[start:],
            )
            heapq.heappush(self._frontier, (-float(rest.total[0]), next(self._ticket), rest))

    def _keep_best(self, leaves: Hypotheses) -> None:
        """Merge leaves into the best k; a leaf found again keeps the log-probability it had first."""
        tokens = np.concatenate([self._best.tokens, leaves.tokens])
        log_prob = np.concatenate([self._best.log_prob, leaves.log_prob])
        _, first = np.unique(tokens, axis=0, return_index=True)
        chosen = first[np.argsort(-log_prob[first], kind="stable")][: self._num_candidates]
        self._best = Hypotheses(np.zeros(len(chosen), dtype=np.int64), tokens[chosen], log_prob[chosen])
