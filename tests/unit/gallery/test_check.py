import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.gallery.check import measure_recall
from geotoken.gallery.index import Gallery
from geotoken.gallery.kinds import ApproximateIndex, Effort
from geotoken.gallery.table import GalleryTable


def make_gallery(num_rows, num_distinct=None):
    vectors = np.random.default_rng(0).normal(size=(num_distinct or num_rows, 8)).astype(np.float32)
    vectors = np.resize(vectors, (num_rows, 8))
    rows = [{"id": f"p{row}", "lat": 1.0, "lng": 2.0} for row in range(num_rows)]
    return Gallery.from_vectors(vectors, GalleryTable.from_rows(rows), "fake")


@pytest.mark.parametrize("num_rows", [1, 2, 10, 500])
def test_an_exact_gallery_finds_all(num_rows):
    recall = measure_recall(make_gallery(num_rows))
    assert (recall.recall_at_15, recall.num_queries) == (1.0, min(200, num_rows))
    assert recall.search_ms > 0


def test_equal_photos_may_stand_for_each_other():
    assert measure_recall(make_gallery(200, num_distinct=3)).recall_at_15 == 1.0


def test_a_lazy_index_is_found_out(tmp_path):
    make_gallery(4000).save(tmp_path / "g", index="ivfpq")
    gallery = Gallery.load(tmp_path / "g")
    good = measure_recall(gallery, num_queries=50).recall_at_15
    index = gallery._index
    gallery._index = ApproximateIndex("ivfpq", index.faiss_index, index.vectors, Effort(1, 16))
    bad = measure_recall(gallery, num_queries=50).recall_at_15
    assert bad < 0.7 < 0.9 < good


def test_no_queries_are_an_input_error():
    with pytest.raises(InputError, match="num_queries is 0"):
        measure_recall(make_gallery(5), num_queries=0)
