"""Decoding as a story: from evidence to candidate places, the same for every model.

Owns `decode`, `score` and the loop over token positions; must not know how a model or a search works.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geotoken.decoding.beam import BeamSearch
from geotoken.decoding.best_first import search_best_first
from geotoken.decoding.options import DecodingOptions
from geotoken.decoding.sampling import Sampler, TokenFilter
from geotoken.decoding.search import Floats, Hypotheses, Ints, Strategy, encode_once, merge
from geotoken.errors import InputError
from geotoken.evidence import Evidence
from geotoken.protocol import Memory, TokenModel
from geotoken.tokens import TokenScheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The finished hypotheses of one photo as places, C of them, likeliest first."""

    tokens: Ints
    """Token sequences, shape (C, T)."""
    log_prob: Floats
    """Log-probability in nats of each whole leaf, untempered, shape (C,)."""
    lat: Floats
    """Latitude of each leaf's center in degrees, shape (C,)."""
    lng: Floats
    """Longitude of each leaf's center in degrees, shape (C,)."""
    num_samples: Ints | None = None
    """How often each candidate was drawn, shape (C,); None from a decoder that does not draw."""
    exact: bool = False
    """Whether these are proved to be the C likeliest leaves (best-first search within its budget)."""


def decode(
    model: TokenModel, evidence: Sequence[Evidence] | Memory, options: DecodingOptions | None = None
) -> list[Candidates]:
    """Find candidate places for each photo; the answer for one does not depend on the others.

    Args:
        model: Any token model.
        evidence: Evidence of B photos, or what `model.encode` made of it.
        options: Which search, and how; beam search of width 5 if None.

    Returns:
        Candidates of each photo, B of them in order; each has at least one.
    """
    options = options or DecodingOptions()
    # 1. Encode the evidence once; every hypothesis of a photo shares it.
    memory = encode_once(model, evidence)
    if memory is None:
        return []
    # 2. Search the token tree: the model scores next tokens, the strategy chooses among them.
    if options.decoder == "best_first":
        found = search_best_first(model, memory, run(model, memory, _seed_beam(options)), options)
    else:
        found = [(hypotheses, False) for hypotheses in run(model, memory, _strategy(options))]
    # 3. Read each finished hypothesis as the place it names.
    return [_places(model.scheme, hypotheses, exact) for hypotheses, exact in found]


def run(model: TokenModel, memory: Memory, strategy: Strategy) -> list[Hypotheses]:
    """Carry one strategy through all token positions.

    Args:
        model: Any token model.
        memory: The encoded evidence of B photos.
        strategy: The search; it is reset first.

    Returns:
        The finished hypotheses of each photo, likeliest first.
    """
    strategy.reset(memory.num_photos)
    cache, tokens = memory.new_cache(), None
    for position in range(model.scheme.length):
        # 1. Score the next token of every live hypothesis of every photo, in one call.
        log_probs = model.step(tokens, memory, cache)
        # 2. Choose which hypotheses go on, and with which token.
        rows, tokens = strategy.update(log_probs)
        # 3. Let the cache follow them; after the last token there is nothing left to score.
        if position < model.scheme.length - 1:
            cache = cache.reorder(rows)
    return strategy.finalize()


def score(model: TokenModel, evidence: Sequence[Evidence] | Memory, tokens: Ints) -> Floats:
    """Score given leaves.

    Args:
        model: Any token model.
        evidence: Evidence of B photos, or what `model.encode` made of it.
        tokens: Token sequences, shape (B, C, T); equal prefixes of a photo are scored once.

    Returns:
        Log-probability in nats of each leaf, shape (B, C); minus infinity where it is impossible.

    Raises:
        InputError: The shape does not fit the photos or the scheme, or a token is outside its vocabulary.
    """
    return score_prefixes(model, evidence, tokens)[..., -1]


def score_prefixes(model: TokenModel, evidence: Sequence[Evidence] | Memory, tokens: Ints) -> Floats:
    """Score given leaves and every cell on the way to them.

    Args:
        model: Any token model.
        evidence: Evidence of B photos, or what `model.encode` made of it.
        tokens: Token sequences, shape (B, C, T); equal prefixes of a photo are scored once.

    Returns:
        Log-probability in nats of each prefix, shape (B, C, T), falling along a sequence; minus infinity
        from the first impossible token on.

    Raises:
        InputError: The shape does not fit the photos or the scheme, or a token is outside its vocabulary.
    """
    memory = encode_once(model, evidence)
    num_photos = 0 if memory is None else memory.num_photos
    _check_tokens(model.scheme, tokens, num_photos)
    if memory is None or tokens.size == 0:
        return np.zeros(tokens.shape)

    paths = tokens.reshape(-1, tokens.shape[2])
    totals = np.full(paths.shape, -np.inf)
    total = np.zeros(len(paths))
    row = np.repeat(np.arange(num_photos), tokens.shape[1])  # live row of each path
    cache, last = memory.new_cache(), None
    for position, vocabulary_size in enumerate(model.scheme.vocabulary_sizes):
        log_probs = model.step(last, memory, cache)
        possible = np.flatnonzero(total > -np.inf)
        total[possible] += log_probs[row[possible], paths[possible, position]]
        totals[:, position] = total
        # An impossible path is not followed further: a model need not know what comes after it.
        possible = np.flatnonzero(total > -np.inf)
        if position == model.scheme.length - 1 or len(possible) == 0:
            break
        rows, last, row[possible] = merge(row[possible], paths[possible, position], vocabulary_size)
        cache = cache.reorder(rows)
    return totals.reshape(tokens.shape)


def _strategy(options: DecodingOptions) -> Strategy:
    if options.decoder == "sample":
        token_filter = TokenFilter(options.temperature, options.top_k, options.top_p)
        return Sampler(options.num_samples, token_filter, options.seed)
    return BeamSearch(1 if options.decoder == "greedy" else options.beam_width)


def _seed_beam(options: DecodingOptions) -> BeamSearch:
    return BeamSearch(max(options.beam_width, options.num_candidates))


def _places(scheme: TokenScheme, hypotheses: Hypotheses, exact: bool) -> Candidates:
    lat, lng = scheme.decode(hypotheses.tokens)
    return Candidates(
        tokens=hypotheses.tokens,
        log_prob=hypotheses.log_prob,
        lat=lat,
        lng=lng,
        num_samples=hypotheses.num_samples,
        exact=exact,
    )


def _check_tokens(scheme: TokenScheme, tokens: Ints, num_photos: int) -> None:
    if tokens.ndim != 3 or tokens.shape[0] != num_photos or tokens.shape[2] != scheme.length:
        raise InputError(
            f"tokens have shape {tokens.shape}; "
            f"give (photos, leaves, tokens) = ({num_photos}, any, {scheme.length})"
        )
    scheme.to_cells(tokens)  # refuses a token outside its vocabulary
