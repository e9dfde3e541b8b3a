"""How the vectors of a gallery are searched: exactly, by a graph (HNSW), or by lists and codes (IVF-PQ).

Owns the choice by size, the making and the tuning of indexes; must not know what a row is about.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import InputError
from geotoken.gallery.storage import VectorFile

KINDS = ("exact", "hnsw", "ivfpq")
"""The kinds of index, for small to big galleries."""

MAX_EXACT = 100_000
"""Vectors up to which "auto" takes the exact index (measured, see docs/decisions.md)."""

MAX_HNSW = 300_000
"""Vectors up to which "auto" takes HNSW; beyond, IVF-PQ."""

TARGET_RECALL = 0.97
"""Recall of the `TUNED_NEIGHBORS` nearest that tuning asks for, on rows of the gallery itself."""

TUNED_NEIGHBORS = 15
"""Neighbors whose recall is tuned and checked."""

_NUM_TUNING = 256  # rows that serve as queries
_SCAN_FROM = 8  # where more than 1 / 8 of the rows are asked for, all vectors are read instead
_DEPTHS = (64, 128, 256, 512, 1024)  # candidates compared exactly
_READ_COST = 100  # reading a vector from disk takes as long as looking at so many codes
_TRAINING_ROWS_A_LIST = 40  # FAISS asks for 39
_HNSW_LINKS, _HNSW_BUILD_EFFORT, _MIN_HNSW_BREADTH = 32, 80, 256
_TUNED_SEED, _TRAINED_SEED = 1, 2

Found = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Similarities, falling, and rows, each of shape (M,)."""

Blocks = Callable[[], Iterable[NDArray[np.float32]]]
"""Starts over all vectors of a gallery, in blocks of shape (M, D)."""


class Index(Protocol):
    """What a search needs of an index over N unit vectors; safe for threads."""

    @property
    def depth(self) -> int:
        """Rows to ask for at least; with fewer, neighbors may be missed."""
        ...

    def nearest(self, queries: NDArray[np.float32], k: int) -> tuple[list[Found], bool]:
        """Find about k rows near each query.

        Args:
            queries: Unit vectors, shape (B, D).
            k: Rows wanted for each, at least 1.

        Returns:
            For each query its rows with their similarities, best first; and whether they are the k nearest
            (all N, if there are fewer) for certain.
        """
        ...


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard an approximate index looks."""

    breadth: int
    """Lists searched (IVF-PQ) or length of the queue (HNSW)."""
    depth: int
    """Candidates that are compared exactly."""


class ExactIndex:
    """All vectors in memory as 32-bit floats; every one is compared."""

    depth = 1

    def __init__(self, faiss_index: Any) -> None:
        self.faiss_index = faiss_index

    def nearest(self, queries: NDArray[np.float32], k: int) -> tuple[list[Found], bool]:
        """Find the k rows nearest to each query, see `Index`.

        Args:
            queries: Unit vectors, shape (B, D).
            k: Rows wanted for each, at least 1.

        Returns:
            Rows and similarities of each query, best first; always certain.
        """
        with one_thread():
            similarity, rows = self.faiss_index.search(queries, min(k, self.faiss_index.ntotal))
        return [(s[r >= 0], r[r >= 0]) for s, r in zip(similarity, rows, strict=True)], True


class ApproximateIndex:
    """A small structure in memory that proposes candidates, and the vectors on disk that judge them."""

    def __init__(self, kind: str, faiss_index: Any, vectors: VectorFile, effort: Effort) -> None:
        self.kind = kind
        self.faiss_index = faiss_index
        self.vectors = vectors
        self.effort = effort

    @property
    def depth(self) -> int:
        """Candidates that are compared exactly, at least."""
        return self.effort.depth

    def nearest(self, queries: NDArray[np.float32], k: int) -> tuple[list[Found], bool]:
        """Find about k rows near each query, see `Index`.

        Where more than the tuned depth is asked for, the breadth grows with it.

        Args:
            queries: Unit vectors, shape (B, D).
            k: Rows wanted for each, at least 1.

        Returns:
            Rows and similarities of each query, best first; certain where so many were asked for that all
            vectors were read.
        """
        num_rows = self.vectors.shape[0]
        if k * _SCAN_FROM > num_rows:
            return scan(self.vectors.blocks(), queries, min(k, num_rows)), True
        breadth = self.effort.breadth * -(-k // self.effort.depth)
        rows = _propose(self.kind, self.faiss_index, queries, k, breadth)
        known = (rows >= 0) & (rows < num_rows)
        return [
            self._judge(query, row[good]) for query, row, good in zip(queries, rows, known, strict=True)
        ], False

    def _judge(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> Found:
        rows = np.sort(rows)  # read in the order of the file
        similarity = _similarities(self.vectors.take(rows), query[None])[:, 0]
        order = np.argsort(-similarity, kind="stable")
        return similarity[order], rows[order]


def choose_kind(kind: str, num_vectors: int) -> str:
    """Resolve "auto" by size.

    Args:
        kind: One of `KINDS`, or "auto".
        num_vectors: Number of vectors N.

    Returns:
        One of `KINDS`.

    Raises:
        InputError: The kind is unknown.
    """
    if kind == "auto":
        return "exact" if num_vectors <= MAX_EXACT else "hnsw" if num_vectors <= MAX_HNSW else "ivfpq"
    if kind not in KINDS:
        raise InputError(f"index kind {kind!r} is unknown; choose auto, {', '.join(KINDS)}")
    return kind


def make_exact(blocks: Iterable[NDArray[np.float32]], dim: int) -> Any:
    """Make a flat FAISS index.

    Args:
        blocks: All unit vectors, each block of shape (M, D).
        dim: D.

    Returns:
        The FAISS index.
    """
    import faiss

    index = faiss.IndexFlatIP(dim)
    for block in blocks:
        index.add(np.ascontiguousarray(block))
    return index


def make_approximate(kind: str, blocks: Blocks, shape: tuple[int, int]) -> Any:
    """Train and fill an approximate FAISS index; memory is that of the index and its training rows.

    IVF-PQ: 2 sqrt(N) lists; codes of 4 bits for every 2 numbers, laid out for SIMD lookup. HNSW: a graph over
    vectors of 8 bits a number.

    Args:
        kind: "hnsw" or "ivfpq".
        blocks: Starts over all unit vectors, each block of shape (M, D).
        shape: (N, D).

    Returns:
        The FAISS index.

    References:
        Y. Malkov, D. Yashunin, arXiv 1603.09320 (HNSW); H. Jégou et al., "Product quantization for nearest
        neighbor search" (2011); F. André et al., arXiv 1812.09162 (4-bit codes in registers).
    """
    import faiss

    index: Any
    num_rows, dim = shape
    num_lists = max(1, min(round(2 * num_rows**0.5), num_rows // _TRAINING_ROWS_A_LIST))
    if kind == "hnsw":
        index = faiss.index_factory(dim, f"HNSW{_HNSW_LINKS},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _HNSW_BUILD_EFFORT
        num_training = 10_000
    else:
        num_codes = dim // 2 if dim % 2 == 0 else dim
        name = f"IVF{num_lists},PQ{num_codes}x4fs"
        index = faiss.index_factory(dim, name, faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = 1  # a tiny gallery is searched by reading all of it anyway
        index.pq.cp.min_points_per_centroid = 1
        num_training = num_lists * _TRAINING_ROWS_A_LIST
    training = _sample(blocks(), num_rows, max(num_training, 256), _TRAINED_SEED)[1]
    if len(training) < 256:  # a code of 4 bits needs 16 rows
        training = np.resize(training, (256, dim))
    with one_thread():  # as for searches: with two, training took 5 times longer on a busy machine
        index.train(training)
    del training
    for block in blocks():
        index.add(np.ascontiguousarray(block))
    return index


def read_index(path: Path, kind: str) -> Any:
    """Read a FAISS index from a file that somebody else may have made.

    Args:
        path: The file.
        kind: One of `KINDS`, which it must be of.

    Returns:
        The FAISS index.

    Raises:
        ValueError: It is damaged or of another kind, or its vectors are not of length 1.
        MemoryError: It claims to be larger than the file.
    """
    import faiss

    library: Any = faiss
    if hasattr(library, "set_deserialization_vector_byte_limit"):  # from 1.14 on
        library.set_deserialization_vector_byte_limit(path.stat().st_size)
    try:
        index = library.read_index(str(path))
    except RuntimeError as error:  # its message is for those who build FAISS
        raise ValueError("its index is damaged") from error
    wanted = {
        "exact": library.IndexFlat,
        "hnsw": library.IndexHNSWSQ,
        "ivfpq": library.IndexIVFPQFastScan,
    }[kind]
    if not isinstance(index, wanted) or index.metric_type != library.METRIC_INNER_PRODUCT:
        raise ValueError(f"its index is a {type(index).__name__}, not {kind} by inner product")
    if kind == "exact":
        vectors = library.rev_swig_ptr(index.get_xb(), index.ntotal * index.d)
        with np.errstate(over="ignore", invalid="ignore"):
            total = float(vectors @ vectors)
        if not 0.99 * index.ntotal <= total <= 1.01 * index.ntotal:  # also if it is not finite
            raise ValueError("its vectors are not of length 1")
    return index


def tune(kind: str, faiss_index: Any, vectors: VectorFile) -> tuple[Effort, float]:
    """Find the least effort that reaches `TARGET_RECALL`.

    Rows of the gallery serve as queries; a row is not its own neighbor.

    Args:
        kind: "hnsw" or "ivfpq".
        faiss_index: The index.
        vectors: Its vectors.

    Returns:
        The effort, and the recall it had; the greatest effort if none reaches the target.
    """
    num_rows = vectors.shape[0]
    own, queries = _sample(vectors.blocks(), num_rows, _NUM_TUNING, _TUNED_SEED)
    nearest = scan(vectors.blocks(), queries, TUNED_NEIGHBORS + 1)
    truth = [_others(rows, row) for (_, rows), row in zip(nearest, own, strict=True)]
    greatest = faiss_index.nlist if kind == "ivfpq" else _DEPTHS[-1]
    rows_a_step = num_rows / greatest if kind == "ivfpq" else 2 * _HNSW_LINKS
    tried: list[tuple[float, float, Effort]] = []  # cost, recall, effort
    # The links of a graph lead to its own rows more easily than to a photo that is not in it.
    breadth = min(_DEPTHS[0] if kind == "ivfpq" else _MIN_HNSW_BREADTH, greatest)
    while True:
        recalls = _recalls(kind, faiss_index, vectors, (own, queries, truth), breadth)
        tried += [
            (breadth * rows_a_step + _READ_COST * depth, recall, Effort(breadth, depth))
            for depth, recall in zip(_DEPTHS, recalls, strict=True)
            if kind == "ivfpq" or depth <= breadth
        ]
        good = [one for one in tried if one[1] >= TARGET_RECALL]
        if breadth == greatest or (good and 2 * breadth * rows_a_step >= min(good)[0]):
            break
        breadth = min(2 * breadth, greatest)
    _, recall, effort = min(good, key=lambda one: one[0]) if good else max(tried, key=lambda one: one[1])
    return effort, recall


def _recalls(
    kind: str,
    faiss_index: Any,
    vectors: VectorFile,
    sample: tuple[NDArray[np.int64], NDArray[np.float32], list[NDArray[np.int64]]],
    breadth: int,
) -> list[float]:
    """Recall over rows that serve as queries (rows, vectors, true neighbors) at each of `_DEPTHS`."""
    own, queries, truth = sample
    hits = np.zeros((len(own), len(_DEPTHS)))
    proposed = _propose(kind, faiss_index, queries, min(_DEPTHS[-1], vectors.shape[0]), breadth)
    for i, rows in enumerate(proposed):
        rows = rows[rows >= 0]
        similarity = _similarities(vectors.take(rows), queries[i : i + 1])[:, 0]
        for j, depth in enumerate(_DEPTHS):
            found = rows[:depth][np.argsort(-similarity[:depth], kind="stable")]
            hits[i, j] = np.isin(truth[i], _others(found, own[i])).mean() if len(truth[i]) else 1.0
    return [float(recall) for recall in hits.mean(axis=0)]


def scan(blocks: Iterable[NDArray[np.float32]], queries: NDArray[np.float32], k: int) -> list[Found]:
    """Compare queries with every vector, block by block.

    Args:
        blocks: All unit vectors, each block of shape (M, D).
        queries: Unit vectors, shape (B, D).
        k: Rows wanted for each, at least 1.

    Returns:
        The k nearest rows of each query with their similarities, best first; all rows if there are fewer.
    """
    best: list[Found] = [(np.empty(0, np.float32), np.empty(0, np.int64))] * len(queries)
    first = 0
    for block in blocks:
        similarity = _similarities(block, queries).T  # (B, M)
        for i, mine in enumerate(similarity):
            known, known_rows = best[i]
            if len(known) >= k and mine.max() <= known[-1]:
                continue
            values = np.concatenate([known, mine])
            rows = np.concatenate([known_rows, np.arange(first, first + len(block))])
            if len(values) > k:
                kept = np.argpartition(-values, k - 1)[:k]
                values, rows = values[kept], rows[kept]
            order = np.lexsort((rows, -values))
            best[i] = values[order], rows[order]
        first += len(block)
    return best


@contextmanager
def one_thread() -> Iterator[None]:
    """Let FAISS use one thread, in the calling thread only.

    Reading the vectors from memory takes the time, not arithmetic. With two OpenMP threads, each busy waiting
    for the other, a query took 4 times longer as soon as anything else ran on the machine.

    Yields:
        Once, for the search.
    """
    import faiss

    num_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(num_threads)


def _propose(
    kind: str, faiss_index: Any, queries: NDArray[np.float32], k: int, breadth: int
) -> NDArray[np.int64]:
    """Rows of candidates, about k a query, filled up with -1, shape (B, k)."""
    import faiss

    library: Any = faiss  # its annotations know no parameters
    if kind == "hnsw":
        parameters = library.SearchParametersHNSW(efSearch=max(breadth, k))
    else:
        parameters = library.SearchParametersIVF(nprobe=min(breadth, faiss_index.nlist))
    with one_thread():
        rows: NDArray[np.int64] = faiss_index.search(queries, k, params=parameters)[1]
    return rows


def _similarities(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines of M stored vectors, whose length rounding has changed a little, and B queries: (M, B)."""
    norm = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    with np.errstate(divide="ignore", invalid="ignore"):  # a vector of zeros in a damaged file
        cosine: NDArray[np.float32] = (vectors @ queries.T) / norm[:, None]
    return cosine


def _sample(
    blocks: Iterable[NDArray[np.float32]], num_rows: int, num_wanted: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Some rows drawn without repeats, in order, and their vectors."""
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(num_rows, min(num_wanted, num_rows), replace=False))
    picked, first = [], 0
    for block in blocks:
        start, stop = np.searchsorted(rows, [first, first + len(block)])
        picked.append(block[rows[start:stop] - first])
        first += len(block)
    return rows, np.concatenate(picked)


def _others(rows: NDArray[np.int64], own: int) -> NDArray[np.int64]:
    """The best rows apart from the query's own."""
    others: NDArray[np.int64] = rows[rows != own][:TUNED_NEIGHBORS]
    return others
