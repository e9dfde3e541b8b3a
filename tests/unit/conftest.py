"""A scripted token model: conditional probabilities by rule, and an exhaustive list of its leaves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pytest

from geotoken.evidence import Evidence
from geotoken.prior import WorldPrior
from geotoken.tokens import TokenScheme

Table = Callable[[int, tuple[int, ...], int], np.ndarray]


@dataclass
class ScriptedCache:
    """Prefix of every row; refuses what the protocol does not allow."""

    memory: "ScriptedMemory"
    photos: list[int]
    prefixes: list[tuple[int, ...]]
    num_steps: int = 0

    @property
    def num_rows(self) -> int:
        return len(self.photos)

    def expand(self, n: int) -> "ScriptedCache":
        return self.reorder(np.repeat(np.arange(self.num_rows), n))

    def reorder(self, rows: np.ndarray) -> "ScriptedCache":
        assert rows.dtype == np.int64
        assert rows.ndim == 1
        assert len(rows) > 0
        assert rows.min() >= 0
        assert rows.max() < self.num_rows
        chosen = [int(row) for row in rows]
        return ScriptedCache(
            self.memory, [self.photos[i] for i in chosen], [self.prefixes[i] for i in chosen], self.num_steps
        )


@dataclass
class ScriptedMemory:
    """The key of each photo, which is what its table is looked up by."""

    keys: list[int]

    @property
    def num_photos(self) -> int:
        return len(self.keys)

    def new_cache(self) -> ScriptedCache:
        return ScriptedCache(self, list(range(self.num_photos)), [()] * self.num_photos)


@dataclass
class ScriptedModel:
    """Looks conditional probabilities up by photo key and prefix; counts its calls and the rows it scored."""

    scheme: TokenScheme
    table: Table
    num_calls: int = 0
    num_rows: int = 0
    known: dict[tuple[int, tuple[int, ...]], np.ndarray] = field(default_factory=dict)

    def encode(self, evidence: Sequence[Evidence]) -> ScriptedMemory:
        return ScriptedMemory([int(one.guess_lat[0]) for one in evidence])

    def step(self, tokens: np.ndarray | None, memory: ScriptedMemory, cache: ScriptedCache) -> np.ndarray:
        assert cache.memory is memory, "a cache belongs to the memory that made it"
        assert cache.num_steps < self.scheme.length, "nothing follows a whole sequence"
        if cache.num_steps == 0:
            assert tokens is None, "an empty hypothesis has no last token"
        else:
            assert tokens is not None
            assert tokens.shape == (cache.num_rows,)
            assert tokens.dtype == np.int64
            cache.prefixes = [(*p, int(t)) for p, t in zip(cache.prefixes, tokens, strict=True)]
        cache.num_steps += 1
        self.num_calls += 1
        self.num_rows += cache.num_rows
        rows = zip(cache.photos, cache.prefixes, strict=True)
        return np.stack([self.log_probs(memory.keys[photo], prefix) for photo, prefix in rows])

    def log_probs(self, key: int, prefix: tuple[int, ...]) -> np.ndarray:
        """Log-probabilities of the next token; to ask after an impossible prefix is a mistake."""
        if prefix:
            assert self.log_probs(key, prefix[:-1])[prefix[-1]] > -np.inf, f"{prefix} is impossible"
        if (key, prefix) not in self.known:
            size = self.scheme.vocabulary_sizes[len(prefix)]
            probabilities = np.asarray(self.table(key, prefix, size), dtype=np.float64)
            assert probabilities.shape == (size,)
            with np.errstate(divide="ignore"):
                self.known[key, prefix] = np.log(probabilities / probabilities.sum())
        return self.known[key, prefix]

    def leaves(self, key: int) -> tuple[np.ndarray, np.ndarray]:
        """Every leaf, shape (N, T), in token order and its log-probability, shape (N,), by enumeration."""
        tokens = np.array(list(product(*map(range, self.scheme.vocabulary_sizes))), dtype=np.int64)
        return tokens, np.array([self.log_prob(key, tuple(map(int, leaf))) for leaf in tokens])

    def log_prob(self, key: int, leaf: tuple[int, ...]) -> float:
        total = 0.0
        for position, token in enumerate(leaf):
            total += float(self.log_probs(key, leaf[:position])[token])
            if total == -np.inf:
                break
        return total


def random_table(key: int, prefix: tuple[int, ...], size: int) -> np.ndarray:
    """Uneven random probabilities; all possible."""
    random = np.random.default_rng([key, len(prefix), *prefix])
    return random.dirichlet(np.full(size, 0.5)) + 1e-6


def sparse_table(key: int, prefix: tuple[int, ...], size: int) -> np.ndarray:
    """Like `random_table`, but about half the tokens are impossible."""
    random = np.random.default_rng([key, len(prefix), *prefix, 99])
    probabilities = random.dirichlet(np.full(size, 0.5)) * (random.random(size) < 0.5)
    if probabilities.sum() == 0:
        probabilities[int(random.integers(size))] = 1.0
    return probabilities


@pytest.fixture
def make_model() -> Callable[..., ScriptedModel]:
    """Build a scripted model; by default 6 * 4**3 = 384 leaves with random probabilities."""
    tables = {"random": random_table, "sparse": sparse_table}

    def make(table: str | Table = "random", level: int = 3, group_size: int = 1) -> ScriptedModel:
        return ScriptedModel(
            TokenScheme(level, group_size), tables[table] if isinstance(table, str) else table
        )

    return make


@pytest.fixture
def photos() -> Callable[..., list[Evidence]]:
    """Evidence that the scripted model reads as the given table keys, one photo each."""

    def make(*keys: int) -> list[Evidence]:
        one = np.ones(1)
        return [Evidence(guess_lat=one * key, guess_lng=one, guess_weight=one) for key in keys]

    return make


@pytest.fixture(scope="session")
def prior():
    rng = np.random.default_rng(7)
    lat = np.concatenate([rng.normal(48, 4, 400), rng.normal(35, 6, 300), rng.uniform(-60, 70, 100)])
    lng = np.concatenate([rng.normal(8, 8, 400), rng.normal(-90, 15, 300), rng.uniform(-180, 180, 100)])
    return WorldPrior.from_points(lat, lng, max_level=9)
