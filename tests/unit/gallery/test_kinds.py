import threading

import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.gallery.kinds import (
    KINDS,
    MAX_EXACT,
    MAX_HNSW,
    TARGET_RECALL,
    ApproximateIndex,
    Effort,
    ExactIndex,
    choose_kind,
    make_approximate,
    make_exact,
    read_index,
    scan,
    tune,
)
from geotoken.gallery.storage import VectorFile, write_vectors

N, D = 6000, 16


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def make_vectors(num_rows=N, seed=0, dim=D):
    """Clusters with noise: neighbors that are worth finding."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(80, dim))
    return unit(centers[rng.integers(80, size=num_rows)] + 0.6 * rng.normal(size=(num_rows, dim)))


def nearest_rows(vectors, query, k):
    """By sorting every cosine in float64."""
    cosine = vectors.astype(np.float64) @ query.astype(np.float64)
    return np.argsort(-cosine, kind="stable")[:k]


VECTORS, QUERIES = make_vectors(), make_vectors(40, seed=1)


@pytest.fixture(scope="module")
def vector_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors") / "vectors.npy"
    write_vectors(path, [VECTORS[:1000], VECTORS[1000:]], (N, D))
    return VectorFile(path)


@pytest.fixture(scope="module", params=["hnsw", "ivfpq"])
def index(request, vector_file):
    made = make_approximate(request.param, vector_file.blocks, (N, D))
    effort, recall = tune(request.param, made, vector_file)
    assert recall >= TARGET_RECALL
    return ApproximateIndex(request.param, made, vector_file, effort)


def test_the_kind_grows_with_the_gallery():
    kinds = [choose_kind("auto", n) for n in (1, MAX_EXACT, MAX_EXACT + 1, MAX_HNSW, MAX_HNSW + 1, 10**7)]
    assert kinds == ["exact", "exact", "hnsw", "hnsw", "ivfpq", "ivfpq"]
    assert choose_kind("ivfpq", 1) == "ivfpq"
    with pytest.raises(InputError, match="'flat' is unknown; choose auto, exact, hnsw, ivfpq"):
        choose_kind("flat", 1)


@pytest.mark.parametrize("block", [1, 7, N])
def test_a_scan_finds_the_nearest_whatever_the_blocks(block):
    vectors = VECTORS[:200]
    found = scan([vectors[i : i + block] for i in range(0, 200, block)], QUERIES, 9)
    for query, (similarity, rows) in zip(QUERIES, found, strict=True):
        np.testing.assert_array_equal(rows, nearest_rows(vectors, query, 9))
        np.testing.assert_allclose(similarity, vectors[rows] @ query, atol=1e-6)
    assert len(scan([vectors[:5]], QUERIES, 9)[0][0]) == 5


def test_an_exact_index_finds_the_nearest():
    index = ExactIndex(make_exact([VECTORS[:500], VECTORS[500:]], D))
    found, certain = index.nearest(QUERIES, 20)
    assert certain
    for query, (_, rows) in zip(QUERIES, found, strict=True):
        assert set(rows) == set(nearest_rows(VECTORS, query, 20))
    assert len(index.nearest(QUERIES, 2 * N)[0][0][0]) == N


def test_an_approximate_index_finds_nearly_all_and_its_similarities_are_exact(index):
    found, certain = index.nearest(QUERIES, index.depth)
    assert not certain
    hits = []
    for query, (similarity, rows) in zip(QUERIES, found, strict=True):
        assert np.all(np.diff(similarity) <= 0)
        np.testing.assert_allclose(similarity, VECTORS[rows] @ query, atol=2e-3)  # vectors of 16 bits
        assert len(set(rows)) == len(rows)
        hits.append(np.isin(nearest_rows(VECTORS, query, 15), rows[:15]).mean())
    assert np.mean(hits) >= 0.93


def test_who_asks_for_much_gets_all_of_it_exactly(index):
    found, certain = index.nearest(QUERIES[:3], N // 4)
    assert certain
    for query, (_, rows) in zip(QUERIES, found, strict=False):
        assert np.isin(rows, nearest_rows(VECTORS, query, N // 4)).mean() > 0.995  # ties of 16 bits


def test_more_effort_finds_more(index, vector_file):
    least = ApproximateIndex(index.kind, index.faiss_index, vector_file, Effort(1, 15))
    recalls = []
    for one in (least, index):
        found = one.nearest(QUERIES, one.depth)[0]
        hits = [
            np.isin(nearest_rows(VECTORS, query, 15), rows[:15]).mean()
            for query, (_, rows) in zip(QUERIES, found, strict=True)
        ]
        recalls.append(np.mean(hits))
    assert recalls[0] < recalls[1]


def test_threads_do_not_disturb_each_other(index):
    expected = [rows for _, rows in index.nearest(QUERIES, index.depth)[0]]
    wrong = []

    def search():
        for _ in range(5):
            found = index.nearest(QUERIES, index.depth)[0]
            wrong.extend(
                1 for (_, rows), right in zip(found, expected, strict=True) if list(rows) != list(right)
            )

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("kind", ["hnsw", "ivfpq"])
@pytest.mark.parametrize("shape", [(1, 4), (3, 5), (40, 1), (50, 7)])
def test_tiny_galleries_of_odd_dimension_can_have_any_index(tmp_path, kind, shape):
    vectors = unit(np.random.default_rng(0).normal(size=shape) + 0.1)
    write_vectors(tmp_path / "v.npy", [vectors], shape)
    stored = VectorFile(tmp_path / "v.npy")
    made = make_approximate(kind, stored.blocks, shape)
    effort, _ = tune(kind, made, stored)
    (_, rows), *_ = ApproximateIndex(kind, made, stored, effort).nearest(vectors[:1], shape[0])[0]
    assert sorted(rows) == list(range(shape[0]))


@pytest.mark.parametrize(
    ("factory", "kind"), [("Flat", "exact"), ("HNSW8,SQ8", "hnsw"), ("IVF2,PQ2x4fs", "ivfpq")]
)
def test_an_index_is_read_as_the_kind_it_is_and_as_no_other(tmp_path, factory, kind):
    faiss = pytest.importorskip("faiss")
    vectors, path = make_vectors(200, dim=4), tmp_path / "index"
    for metric in (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2):
        index = faiss.index_factory(4, factory, metric)
        index.train(vectors)
        index.add(vectors)
        faiss.write_index(index, str(path))
        for wanted in KINDS:
            if wanted == kind and metric == faiss.METRIC_INNER_PRODUCT:
                assert read_index(path, wanted).ntotal == 200
            else:
                with pytest.raises(ValueError, match="not"):
                    read_index(path, wanted)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises((ValueError, MemoryError)):
        read_index(path, kind)
