"""Decoding inside a region: the model's own distribution, given that the photo was taken there.

Owns `RegionModel`, which any decoder takes for a model; must not know which decoder runs or what a region is
made of.

With p the model's probability of a cell and r(c) the share of the cell's probability that lies in the region,

    p(child | prefix, region) = p(child | prefix) r(child) / sum_k p(k | prefix) r(k),

so tokens that lead out of the region are masked, and what every decoder finds is scored as the renormalised
posterior scores it. Where the model's posterior was expanded r is exact up to the resolution of the cells on
the border; below, it is the share of the cell's area.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.decoding.distribution import Posterior
from geotoken.decoding.expansion import posterior
from geotoken.decoding.search import Floats, Ints
from geotoken.decoding.task import Candidates
from geotoken.errors import InputError
from geotoken.evidence import Evidence
from geotoken.protocol import Cache, Memory, TokenModel
from geotoken.regions import INSIDE, OUTSIDE, PARTIAL, Region
from geotoken.tokens import TokenScheme

_FINE: Final = 0.5
"""A region with less of the posterior than this is looked at again, more finely."""
_MAX_BORDER_SHARE: Final = 1e-4
"""A cell on the border with more of the region's probability than this is divided."""
_PROBE_LEVELS: Final = 3  # the share of a small cell's area is counted on 64 points
_LAST_PROBE_LEVELS: Final = 6  # a leaf that none of those hits, on 4096
_TINY: Final = 0.5 / 4**_PROBE_LEVELS  # share of a cell on the border that no point hits
_LOST: Final = 1e-9  # the same where the posterior knows that it is less


def restrict(whole: Posterior, region: Region) -> tuple[Posterior, float]:
    """The part of a posterior that lies in a region, renormalised.

    Cells across the border are divided, their probability taken as uniform inside, until what is left
    undivided does not matter; the smallest are in or out as their center is.

    Args:
        whole: The posterior of one photo.
        region: The region.

    Returns:
        The posterior, whose cells of positive probability have their center in the region; and the
        probability of the region, in [0, 1].

    Raises:
        InputError: The region is impossible, or too small to contain the center of any cell.
    """
    cell_id, probability = whole.cell_id, whole.probability.copy()
    relation = region.relation(cell_id)
    probability[relation == OUTSIDE] = 0.0
    if not probability.any():
        raise InputError(
            f"{region.name} is impossible: the model gives it no probability; give a larger region"
        )
    while True:
        border = np.flatnonzero(relation == PARTIAL)
        held = probability[border]
        inside = probability[relation == INSIDE].sum()
        divided = border[
            (held > _MAX_BORDER_SHARE * (inside + held.sum())) & (cells.level(cell_id[border]) < 30)
        ]
        if len(divided) == 0:
            break
        ids = cells.children(cell_id[divided], 1).reshape(-1)
        kept = np.delete(np.arange(len(cell_id)), divided)
        cell_id = np.concatenate([cell_id[kept], ids])
        probability = np.concatenate([probability[kept], np.repeat(probability[divided] / 4, 4)])
        relation = np.concatenate([relation[kept], region.relation(ids)])
        probability[relation == OUTSIDE] = 0.0
    outside = border[~region.contains(*cells.to_lat_lng(cell_id[border]))]
    probability[outside] = 0.0
    total = float(probability.sum())
    if not total > 0:
        raise InputError(
            f"{region.name} is too small: no point of a 1 cm grid lies in it; give a larger region"
        )
    order = np.argsort(cell_id, kind="stable")
    cell_id = cell_id[order]
    return (
        Posterior(
            scheme=whole.scheme,
            cell_id=cell_id,
            level=cells.level(cell_id),
            probability=probability[order] / total,
        ),
        min(total, 1.0),
    )


@dataclass(frozen=True, slots=True)
class RegionMemory:
    """The evidence of B photos as the model encoded it, and their posteriors inside the region."""

    inner: Memory
    """What the model's own `encode` returned."""
    expanded: tuple[Posterior, ...]
    """The model's posterior of each photo, as fine as the region needs it."""
    posteriors: tuple[Posterior, ...]
    """The posterior of each photo inside the region."""
    region_probability: tuple[float, ...]
    """Probability of the region under the model's own posterior, of each photo."""

    @property
    def num_photos(self) -> int:
        """Number of photos B."""
        return self.inner.num_photos

    def new_cache(self) -> "RegionCache":
        """A cache with one empty hypothesis a photo."""
        photo = np.arange(self.num_photos, dtype=np.int64)
        return RegionCache(self.inner.new_cache(), photo, np.empty((len(photo), 0), dtype=np.int64))


@dataclass(slots=True)
class RegionCache:
    """The model's own cache, and the prefix of each live hypothesis."""

    inner: Cache
    """The model's own."""
    photo: Ints
    """Photo of each row, shape (R,)."""
    tokens: Ints
    """Prefix of each row, shape (R, t)."""

    @property
    def num_rows(self) -> int:
        """Number of live hypotheses R."""
        return len(self.photo)

    def expand(self, n: int) -> "RegionCache":
        """Repeat each row n times, adjacent."""
        return RegionCache(self.inner.expand(n), np.repeat(self.photo, n), np.repeat(self.tokens, n, axis=0))

    def reorder(self, rows: Ints) -> "RegionCache":
        """Select rows by position, shape (R',)."""
        return RegionCache(self.inner.reorder(rows), self.photo[rows], self.tokens[rows])


class RegionModel:
    """A token model given that the photo was taken in a region."""

    def __init__(self, model: TokenModel, region: Region, epsilon: float = 1e-4) -> None:
        """Wrap a model.

        Args:
            model: Any token model.
            region: Where the photo was taken.
            epsilon: Probability, given the region, below which the posterior's cells are not divided further.
        """
        self.region = region
        self._model = model
        self._epsilon = epsilon

    @property
    def scheme(self) -> TokenScheme:
        """The token scheme whose sequences the model scores."""
        return self._model.scheme

    def encode(self, evidence: Sequence[Evidence]) -> RegionMemory:
        """Encode the evidence of B photos and find their posteriors in the region.

        Args:
            evidence: The evidence of each photo.

        Returns:
            The memory, which holds the posteriors and the probability of the region.

        Raises:
            InputError: The region is impossible, or too small.
        """
        memory = self._model.encode(evidence)
        expanded = posterior(self._model, memory, self._epsilon, divide=self._touches)
        restricted = [restrict(whole, self.region) for whole in expanded]
        for photo, (_, probability) in enumerate(restricted):
            if probability < _FINE:
                finer = max(self._epsilon * probability, np.finfo(np.float64).tiny)
                (expanded[photo],) = posterior(
                    self._model, memory, finer, divide=self._touches, photos=np.array([photo])
                )
                restricted[photo] = restrict(expanded[photo], self.region)
        return RegionMemory(
            inner=memory,
            expanded=tuple(expanded),
            posteriors=tuple(inside for inside, _ in restricted),
            region_probability=tuple(probability for _, probability in restricted),
        )

    def step(self, tokens: Ints | None, memory: Memory, cache: Cache) -> Floats:
        """Score the next token of every hypothesis.

        Args:
            tokens: Last token of each hypothesis, shape (R,), int64; None when the hypotheses are empty.
            memory: What `encode` returned.
            cache: State of the hypotheses before `tokens`; advanced in place.

        Returns:
            Log-probabilities in nats given the region, shape (R, V), float64; minus infinity for a token
            that leads out of it. A prefix that no place of the region continues keeps the model's own.

        Raises:
            TypeError: If memory or cache belong to another model.
        """
        if not isinstance(memory, RegionMemory) or not isinstance(cache, RegionCache):
            raise TypeError("memory and cache must be those of a RegionModel")
        if tokens is not None:
            cache.tokens = np.concatenate([cache.tokens, tokens[:, None]], axis=1)
        log_probs = self._model.step(tokens, memory.inner, cache.inner)  # (R, V)
        share = np.empty(log_probs.shape)
        for photo in np.unique(cache.photo):
            rows = cache.photo == photo
            share[rows] = self._shares(
                memory.expanded[photo], memory.posteriors[photo], cache.tokens[rows], log_probs.shape[1]
            )
        share[~(share > 0).any(axis=1)] = 1.0
        with np.errstate(divide="ignore"):
            inside: Floats = log_probs + np.log(share)
        return inside - np.logaddexp.reduce(inside, axis=1, keepdims=True)

    def place(self, candidates: Candidates, inside: Posterior) -> Candidates:
        """Move candidates whose leaf reaches into the region, but not with its center, to a point inside.

        Args:
            candidates: What a decoder found with this model.
            inside: The posterior in the region.

        Returns:
            The candidates, all in the region; those of which no point inside was found are left out. If
            that leaves none, the likeliest cell of the posterior is the one candidate.
        """
        lat, lng = candidates.lat.copy(), candidates.lng.copy()
        kept = np.array(self.region.contains(lat, lng), dtype=bool)
        for row in np.flatnonzero(~kept):
            leaf = cells.from_lat_lng(lat[row], lng[row], self.scheme.level)
            for wanted in (_PROBE_LEVELS, _LAST_PROBE_LEVELS):
                levels = min(wanted, cells.MAX_LEVEL - self.scheme.level)
                points = cells.to_lat_lng(cells.children(leaf, levels))
                found = np.flatnonzero(self.region.contains(*points))
                if len(found):
                    middle = found[len(found) // 2]
                    lat[row], lng[row], kept[row] = points[0][middle], points[1][middle], True
                    break
        if kept.any():
            counts = candidates.num_samples
            return replace(
                candidates,
                tokens=candidates.tokens[kept],
                log_prob=candidates.log_prob[kept],
                lat=lat[kept],
                lng=lng[kept],
                num_samples=None if counts is None else counts[kept],
            )
        likeliest = int(np.argmax(inside.probability))
        one_lat, one_lng = cells.to_lat_lng(inside.cell_id[likeliest : likeliest + 1])
        return Candidates(
            tokens=self.scheme.encode(one_lat, one_lng),
            log_prob=np.log(inside.probability_of(cells.from_lat_lng(one_lat, one_lng, self.scheme.level))),
            lat=one_lat,
            lng=one_lng,
        )

    def _touches(self, cell_ids: cells.CellIds) -> NDArray[np.bool_]:
        """Whether cells of shape (N,) may have a part in the region."""
        return np.asarray(self.region.relation(cell_ids) != OUTSIDE)

    def _shares(self, whole: Posterior, inside: Posterior, prefixes: Ints, vocabulary_size: int) -> Floats:
        """Share of the probability of each child of R prefixes that lies in the region, shape (R, V).

        Up to a common factor in each row, which normalisation removes.
        """
        num_rows, num_tokens = prefixes.shape
        children = self._children(prefixes, vocabulary_size)  # (R, V)
        if num_tokens == 0:
            divided = np.ones(num_rows, dtype=bool)
        else:
            parent = self.scheme.to_cells(prefixes)
            divided = whole.resolution_at(parent) > self.scheme.level_at(num_tokens)
        share = np.empty(children.shape)
        known = children[divided].reshape(-1)
        if len(known):
            held = whole.probability_of(known)
            reached = inside.probability_of(known) / np.maximum(held, np.finfo(np.float64).tiny)
            # Cells that the resolution lost are unlikely, but only those outside are impossible.
            lost = np.flatnonzero(reached == 0)
            reached[lost[self._touches(known[lost])]] = _LOST
            share[divided] = reached.reshape(-1, vocabulary_size)
        small = children[~divided].reshape(-1)
        if len(small):
            share[~divided] = self._area_share(small).reshape(-1, vocabulary_size)
        return share

    def _children(self, prefixes: Ints, vocabulary_size: int) -> cells.CellIds:
        """Cells of every continuation of R prefixes, shape (R, V)."""
        num_rows = len(prefixes)
        tokens = np.tile(np.arange(vocabulary_size), num_rows)
        paths = np.concatenate([np.repeat(prefixes, vocabulary_size, axis=0), tokens[:, None]], axis=1)
        return np.asarray(self.scheme.to_cells(paths)).reshape(num_rows, vocabulary_size)

    def _area_share(self, cell_ids: cells.CellIds) -> Floats:
        """Share of the area of cells that lies in the region, shape (N,)."""
        relation = self.region.relation(cell_ids)
        share: Floats = (relation == INSIDE).astype(np.float64)
        border = np.flatnonzero(relation == PARTIAL)
        if len(border):
            levels = min(_PROBE_LEVELS, cells.MAX_LEVEL - self.scheme.level)
            points = cells.children(cell_ids[border], levels)  # (N, 64)
            hit = self.region.contains(*cells.to_lat_lng(points.reshape(-1))).reshape(points.shape)
            share[border] = np.maximum(hit.mean(axis=1), _TINY)
        return share
