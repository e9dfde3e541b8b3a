"""The closed-form evidence model behind the protocol of `geotoken.protocol`.

Owns encode, step and the cache of the mixture; must not know decoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.evidence import Evidence
from geotoken.mixture.config import MixtureConfig
from geotoken.mixture.density import PhotoDensity
from geotoken.mixture.network import EvidenceNetwork
from geotoken.mixture.weights import weigh, weigh_ranked
from geotoken.prior import WorldPrior
from geotoken.protocol import Cache, Memory
from geotoken.tokens import TokenScheme

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONFIG_FILE = "mixture.json"
PRIOR_FILE = "prior.npz"
RANKED_NETWORK_FILE = "ranked_network.npz"
RANKED_PRIOR_FILE = "ranked_prior.npz"


@dataclass(frozen=True, slots=True)
class Ranked:
    """What weighs evidence that has ranks but no similarities, and guesses alone."""

    network: EvidenceNetwork
    """Its weights and scales."""
    prior: WorldPrior
    """Its world prior: finer, and where photo collections are rather than where people live."""


@dataclass(slots=True)
class MixtureCache:
    """Where each live hypothesis stands: its photo and its cell."""

    photo: Ints
    """Photo of each row, shape (R,)."""
    cell_ids: cells.CellIds
    """Cell of each row's prefix, shape (R,), uint64; empty prefixes hold 0."""

    @property
    def num_rows(self) -> int:
        """Number of live hypotheses R."""
        return len(self.photo)

    def expand(self, n: int) -> "MixtureCache":
        """Repeat each row n times, adjacent."""
        return MixtureCache(np.repeat(self.photo, n), np.repeat(self.cell_ids, n))

    def reorder(self, rows: Ints) -> "MixtureCache":
        """Select rows by position, shape (R',)."""
        return MixtureCache(self.photo[rows], self.cell_ids[rows])


@dataclass(frozen=True, slots=True)
class MixtureMemory:
    """The mixtures of B photos."""

    densities: tuple[PhotoDensity, ...]

    @property
    def num_photos(self) -> int:
        """Number of photos B."""
        return len(self.densities)

    def new_cache(self) -> MixtureCache:
        """A cache with one empty hypothesis a photo."""
        photo = np.arange(self.num_photos, dtype=np.int64)
        return MixtureCache(photo, np.zeros(self.num_photos, dtype=np.uint64))


class MixtureModel:
    """Neighbors and guesses as radial kernels of several scales, plus a world prior, over the token tree.

    Sharp kernels spread over bare distance; broad kernels are multiplied with the prior, so that "within
    a few hundred km" means "where photos are taken within a few hundred km". Evidence without similarities is
    weighed by `ranked`, if there is one.
    """

    def __init__(
        self,
        config: MixtureConfig,
        prior: WorldPrior,
        scheme: TokenScheme | None = None,
        ranked: Ranked | None = None,
    ) -> None:
        self.config = config
        self.prior = prior
        self.ranked = ranked
        self._scheme = scheme if scheme is not None else TokenScheme()
        self._faces = cells.from_hex([f"{face * 2 + 1:x}" for face in range(cells.NUM_FACES)])

    @classmethod
    def load(cls, folder: Path, scheme: TokenScheme | None = None) -> "MixtureModel":
        """Read a model written by `save`.

        Args:
            folder: Folder with mixture.json, prior.npz and, if the first has no weights for evidence without
                similarities, ranked_network.npz and ranked_prior.npz.
            scheme: Token scheme; level 20 in steps of two when not given.

        Returns:
            The model.

        Raises:
            ArtifactError: If a file is missing or damaged.
        """
        config, ranked = MixtureConfig.load(folder / CONFIG_FILE), None
        if config.without_similarity is None:
            ranked = Ranked(
                EvidenceNetwork.load(folder / RANKED_NETWORK_FILE),
                WorldPrior.load(folder / RANKED_PRIOR_FILE),
            )
        return cls(config, WorldPrior.load(folder / PRIOR_FILE), scheme, ranked)

    def save(self, folder: Path) -> None:
        """Write parameters and priors.

        Args:
            folder: An existing folder.
        """
        self.config.save(folder / CONFIG_FILE)
        self.prior.save(folder / PRIOR_FILE)
        if self.ranked is not None:
            self.ranked.network.save(folder / RANKED_NETWORK_FILE)
            self.ranked.prior.save(folder / RANKED_PRIOR_FILE)

    @property
    def scheme(self) -> TokenScheme:
        """The token scheme whose sequences the model scores."""
        return self._scheme

    def encode(self, evidence: Sequence[Evidence]) -> MixtureMemory:
        """Weigh the evidence of B photos.

        Args:
            evidence: Evidence of each photo; one without neighbors and guesses gets the world prior.

        Returns:
            The mixtures, shared by all hypotheses.
        """
        return MixtureMemory(tuple(self._density(one) for one in evidence))

    def _density(self, evidence: Evidence) -> PhotoDensity:
        if self.ranked is not None and evidence.neighbor_similarity is None:
            prior = self.ranked.prior
            return PhotoDensity(weigh_ranked(evidence, self.ranked.network, prior), prior)
        return PhotoDensity(weigh(evidence, self.config, self.prior), self.prior)

    def step(self, tokens: Ints | None, memory: Memory, cache: Cache) -> Floats:
        """Score the next token of every hypothesis.

        Args:
            tokens: Last token of each hypothesis, shape (R,), int64; None when the hypotheses are empty.
            memory: What `encode` returned.
            cache: State of the hypotheses before `tokens`; advanced in place.

        Returns:
            Log-probabilities in nats, shape (R, V), float64.

        Raises:
            TypeError: If memory or cache belong to another model.
        """
        if not isinstance(memory, MixtureMemory) or not isinstance(cache, MixtureCache):
            raise TypeError("memory and cache must be those of a MixtureModel")
        if tokens is not None:
            cache.cell_ids = self._advance(cache.cell_ids, tokens)
        if cache.num_rows == 0:
            width = self._scheme.vocabulary_sizes[0 if tokens is None else -1]
            return np.empty((0, width))
        parents, children = self._expand(cache.cell_ids, empty=tokens is None)
        mass = np.empty(children.shape)
        for photo in np.unique(cache.photo):
            rows = cache.photo == photo
            mass[rows] = memory.densities[photo].children_mass(parents[rows], children[rows])
        mass += np.finfo(np.float64).tiny
        return np.asarray(np.log(mass / mass.sum(axis=1, keepdims=True)))

    def _expand(self, cell_ids: cells.CellIds, *, empty: bool) -> tuple[cells.CellIds, cells.CellIds]:
        """Parents (R,) and children (R, V); the parent of faces stands for the sphere, as one of them."""
        if empty:
            return np.repeat(self._faces[:1], len(cell_ids)), np.tile(self._faces, (len(cell_ids), 1))
        return cell_ids, cells.children(cell_ids, self._scheme.group_size)

    def _advance(self, cell_ids: cells.CellIds, tokens: Ints) -> cells.CellIds:
        if len(cell_ids) and cell_ids[0] == 0:
            return np.asarray(self._faces[tokens])
        rows = np.arange(len(cell_ids))
        return np.asarray(cells.children(cell_ids, self._scheme.group_size)[rows, tokens])
