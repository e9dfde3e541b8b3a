import numpy as np
import pytest

from feature_stores import make_store
from geotoken.train.splits import known_rows, training_rows


@pytest.mark.parametrize(
    ("splits", "learnt", "known"),
    [
        (("train", "val", "test"), ["train"], ["train", "val"]),
        (("train", "other", "test"), ["train"], ["train"]),
        (("a", "b", "test"), ["a", "b"], ["a", "b"]),
        (("a", "val", "test"), ["a"], ["a", "val"]),
        (("a", None), ["a", None], ["a", None]),
        (("val", "test"), [], ["val"]),
    ],
)
def test_rows_of_a_stage(tmp_path, splits, learnt, known):
    store = make_store(tmp_path / "store", 30, splits=splits)
    split = store.table(np.arange(30))["split"]
    for found, expected in ((training_rows(store), learnt), (known_rows(store), known)):
        assert found.tolist() == [row for row in range(30) if split[row] in expected]
