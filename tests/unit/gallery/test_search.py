import math

import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.gallery.index import Gallery
from geotoken.gallery.search import Exclusion, Neighbors
from geotoken.gallery.table import GalleryTable

N, D = 3000, 12


def make_gallery():
    """A gallery in which most photos belong to one owner, stand at one place, and point one way."""
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(N, D)).astype(np.float32)
    vectors[: N // 2] += 4.0 * np.eye(D, dtype=np.float32)[0]
    rows = [
        {
            "id": f"p{i}",
            "lat": -1.0 if i < 2000 else rng.uniform(-89, 89),
            "lng": 179.9 if i < 2000 else rng.uniform(-180, 180),
            "owner": "prolific" if i < 2500 else (None if i % 2 else f"owner {i % 5}"),
            "sha256": f"{i:064x}",
            "attribution": f"by {i}",
        }
        for i in range(N)
    ]
    return Gallery.from_vectors(vectors, GalleryTable.from_rows(rows), "fake")


GALLERY = make_gallery()


def distance_km(lat1, lng1, lat2, lng2):
    """Great-circle distance by the spherical law of cosines: another formula than the one under test."""
    a, b, gap = math.radians(lat1), math.radians(lat2), math.radians(lng1 - lng2)
    cosine = math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(gap)
    return 6371.0088 * math.acos(max(-1.0, min(1.0, cosine)))


def brute_force(query, k, exclusion):
    """Every row scored in float64 and judged one by one."""
    table = GALLERY.table
    query = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
    similarity = GALLERY.vectors.astype(np.float64) @ query
    e = exclusion or Exclusion()
    left = []
    for row in range(N):
        reasons = (
            row == e.row,
            e.owner is not None and table.owner[row] == e.owner,
            e.sha256 is not None and table.sha256[row] == e.sha256,
            e.min_duplicate_similarity is not None and similarity[row] >= e.min_duplicate_similarity,
            e.within_km is not None
            and distance_km(table.lat[row], table.lng[row], e.lat, e.lng) <= e.within_km,
        )
        if not any(reasons):
            left.append(row)
    left = np.array(left, dtype=np.int64)
    best = left[np.argsort(-similarity[left], kind="stable")][:k]
    return best, similarity[best]


EXCLUSIONS = [
    None,
    Exclusion(),
    Exclusion(row=2600),
    Exclusion(owner="prolific"),
    Exclusion(owner="nobody"),
    Exclusion(sha256=f"{3:064x}"),
    Exclusion(min_duplicate_similarity=0.5),
    Exclusion(min_duplicate_similarity=-0.2),
    Exclusion(within_km=50.0, lat=-1.0, lng=-179.9),
    Exclusion(within_km=0.0, lat=-1.0, lng=179.9),
    Exclusion(owner="prolific", min_duplicate_similarity=0.3, within_km=8000.0, lat=10.0, lng=10.0),
]


@pytest.mark.parametrize("k", [1, 10, 700])
def test_search_equals_brute_force_whatever_is_excluded(k):
    queries = np.random.default_rng(1).normal(size=(len(EXCLUSIONS), D)).astype(np.float32)
    queries[:, 0] += 2.0  # towards the crowd, so that thousands of the best rows are excluded
    found = GALLERY.search(queries, k, EXCLUSIONS)
    for query, exclusion, neighbors in zip(queries, EXCLUSIONS, found, strict=True):
        rows, similarity = brute_force(query, k, exclusion)
        np.testing.assert_allclose(neighbors.similarity, similarity, atol=2e-6)
        assert np.mean(neighbors.row == rows) > 0.99  # neighbors equal to 1e-7 may change places
        assert set(neighbors.row) == set(rows)


@pytest.fixture(scope="module", params=["hnsw", "ivfpq"])
def approximate(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("galleries") / request.param
    GALLERY.save(folder, index=request.param)
    return Gallery.load(folder)


@pytest.mark.parametrize("k", [1, 10, 700])
def test_an_approximate_search_excludes_the_same_and_finds_nearly_the_same(approximate, k):
    queries = np.random.default_rng(1).normal(size=(len(EXCLUSIONS), D)).astype(np.float32)
    queries[:, 0] += 2.0
    found = approximate.search(queries, k, EXCLUSIONS)
    for query, exclusion, neighbors in zip(queries, EXCLUSIONS, found, strict=True):
        rows, similarity = brute_force(query, k, exclusion)
        assert len(neighbors) == len(rows)
        assert np.all(np.diff(neighbors.similarity) <= 0)
        np.testing.assert_allclose(neighbors.similarity, similarity, atol=0.02)
        exact = GALLERY.vectors[neighbors.row] @ (query / np.linalg.norm(query))
        np.testing.assert_allclose(neighbors.similarity, exact, atol=2e-3)  # vectors of 16 bits
        assert np.isin(rows, neighbors.row).mean() >= 0.9
        if exclusion is not None and exclusion.owner is not None:
            assert exclusion.owner not in approximate.table.owner[neighbors.row]
        assert neighbors.attribution == [f"by {row}" for row in neighbors.row]


def test_an_approximate_search_for_everything_gives_everything(approximate):
    query = GALLERY.vectors[[0]]
    assert len(approximate.search(query, N + 5)[0]) == N
    assert len(approximate.search(query, N, Exclusion(owner="prolific"))[0]) == N - 2500
    assert len(approximate.search(query, 3, Exclusion(min_duplicate_similarity=-1.0))[0]) == 0
    assert approximate.search(np.empty((0, D), dtype=np.float32), 3) == []


def test_a_row_is_not_found_by_its_own_vector(approximate):
    rows = np.array([5, 1700, 2999])
    for gallery in (GALLERY, approximate):
        found = gallery.search(GALLERY.vectors[rows], 4, [Exclusion(row=int(row)) for row in rows])
        assert all(row not in one.row for row, one in zip(rows, found, strict=True))
        assert [len(one) for one in found] == [4, 4, 4]


def test_bare_rows_are_those_of_the_neighbors(approximate):
    queries = np.random.default_rng(5).normal(size=(len(EXCLUSIONS), D)).astype(np.float32)
    for gallery in (GALLERY, approximate):
        bare = gallery.search_rows(queries, 7, EXCLUSIONS, known=GALLERY.table)
        for (similarity, row), full in zip(bare, gallery.search(queries, 7, EXCLUSIONS), strict=True):
            np.testing.assert_array_equal(row, full.row)
            np.testing.assert_array_equal(similarity, full.similarity)


def test_looking_at_few_rows_finds_a_part_of_the_answer():
    query = np.eye(D, dtype=np.float32)[:1]  # towards the crowd
    ((_, few),) = GALLERY.search_rows(query, 8, Exclusion(owner="prolific"), max_fetched=40)
    (every,) = GALLERY.search(query, 8, Exclusion(owner="prolific"))
    assert len(few) < 8 == len(every)
    np.testing.assert_array_equal(few, every.row[: len(few)])


def test_one_exclusion_serves_all_queries():
    queries = np.random.default_rng(2).normal(size=(3, D)).astype(np.float32)
    one = GALLERY.search(queries, 5, Exclusion(owner="prolific"))
    each = GALLERY.search(queries, 5, [Exclusion(owner="prolific")] * 3)
    for a, b in zip(one, each, strict=True):
        assert list(a.row) == list(b.row)
        assert "prolific" not in GALLERY.table.owner[a.row]


def test_small_chunks_give_the_same_answer(monkeypatch):
    queries = np.random.default_rng(3).normal(size=(9, D)).astype(np.float32)
    expected = GALLERY.search(queries, 4, Exclusion(owner="prolific"))
    monkeypatch.setattr("geotoken.gallery.search._MAX_FETCHED", 50)
    for a, b in zip(GALLERY.search(queries, 4, Exclusion(owner="prolific")), expected, strict=True):
        assert list(a.row) == list(b.row)


def test_a_photo_of_the_gallery_finds_itself_unless_excluded():
    query = GALLERY.vectors[[42]]
    itself = GALLERY.search(query, 1)[0]
    assert (itself.row[0], itself.id[0]) == (42, "p42")
    assert itself.similarity[0] == pytest.approx(1.0, abs=1e-6)
    assert itself.similarity[0] <= 1.0
    assert GALLERY.search(query, 1, Exclusion(min_duplicate_similarity=0.999))[0].row[0] != 42
    assert GALLERY.search(query, 1, Exclusion(sha256=f"{42:064x}"))[0].row[0] != 42


def test_neighbors_carry_what_the_table_says():
    neighbors = GALLERY.search(GALLERY.vectors[[5]], 3)[0]
    table = GALLERY.table
    assert len(neighbors) == 3
    assert neighbors.attribution == [f"by {row}" for row in neighbors.row]
    assert neighbors.license == [None] * 3
    np.testing.assert_array_equal(neighbors.lat, table.lat[neighbors.row])
    np.testing.assert_array_equal(neighbors.lng, table.lng[neighbors.row])
    assert neighbors.similarity.dtype == np.float64
    assert np.all(np.diff(neighbors.similarity) <= 0)


def test_k_beyond_the_gallery_gives_what_is_left():
    query = GALLERY.vectors[[0]]
    assert len(GALLERY.search(query, N + 5)[0]) == N
    assert len(GALLERY.search(query, N, Exclusion(owner="prolific"))[0]) == N - 2500
    assert len(GALLERY.search(query, 3, Exclusion(min_duplicate_similarity=-1.0))[0]) == 0


def test_no_queries_give_no_neighbors():
    assert GALLERY.search(np.empty((0, D), dtype=np.float32), 3) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_duplicate_similarity": 1.01}, "from -1 to 1"),
        ({"min_duplicate_similarity": math.nan}, "from -1 to 1"),
        ({"within_km": 1.0}, "go together"),
        ({"lat": 1.0, "lng": 1.0}, "go together"),
        ({"within_km": -1.0, "lat": 0.0, "lng": 0.0}, "0 km or more"),
        ({"within_km": math.nan, "lat": 0.0, "lng": 0.0}, "0 km or more"),
        ({"within_km": 1.0, "lat": 91.0, "lng": 0.0}, "latitude 91"),
    ],
)
def test_an_impossible_exclusion_is_an_input_error(fields, message):
    with pytest.raises(InputError, match=message):
        Exclusion(**fields)


def test_no_neighbors_are_no_evidence():
    none = Neighbors.none()
    assert len(none) == 0
    assert len(none.to_evidence().neighbor_lat) == 0
