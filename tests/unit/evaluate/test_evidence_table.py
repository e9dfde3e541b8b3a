import duckdb
import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.evaluate.evidence_table import load_evidence_table

FULL = """select * from (values
    ('a', 'x', 1.0, 2.0, [1.0, 1.5], [2.0, 2.5], [0.9, 0.8], 5.0, 6.0),
    ('b', null, -3.0, 4.0, [], [], [], null, null),
    ('c', 'x', -3.0, 4.0, [7.0], [8.0], [0.5], 'nan'::double, 'nan'::double))
    t(image_id, owner, lat, lng, neighbor_lat, neighbor_lng, neighbor_similarity, guess_lat, guess_lng)"""


@pytest.fixture
def write(tmp_path):
    def make(query):
        path = tmp_path / "evidence[1].parquet"  # brackets would be a pattern
        with duckdb.connect() as connection:
            connection.sql(query).write_parquet(str(path))
        return path

    return make


def test_a_table_is_read_with_and_without_guesses(write):
    path = write(FULL)
    table = load_evidence_table(path, guesses=True)
    assert table.image == ["a", "b", "c"]
    assert table.owner == ["x", "", "x"]
    np.testing.assert_array_equal(table.lat, [1, -3, -3])
    np.testing.assert_array_equal(table.cases[0].neighbor_rank, [1, 2])
    np.testing.assert_array_equal(table.cases[0].neighbor_similarity, [0.9, 0.8])
    np.testing.assert_array_equal(table.cases[0].guess_lng, [6])
    assert [len(case.guess_lat) for case in table.cases] == [1, 0, 0]
    assert [len(case.guess_lat) for case in load_evidence_table(path, guesses=False).cases] == [0, 0, 0]
    assert load_evidence_table(path, guesses=True, limit=2).image == ["a", "b"]


def test_optional_columns_may_be_missing(write):
    path = write(
        "select 'a' image_id, 'x' as owner, 1.0 lat, 2.0 lng, [1.0] neighbor_lat, [2.0] neighbor_lng"
    )
    (case,) = load_evidence_table(path, guesses=True).cases
    assert case.neighbor_similarity is None
    assert len(case.guess_lat) == 0


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select 1 as x", "lacks image_id, owner"),
        (f"{FULL} where image_id = 'z'", "no rows"),
        (f"{FULL} union all {FULL}", "'a' twice"),
        (FULL.replace("1.0, 2.0, [1.0, 1.5]", "91.0, 2.0, [1.0, 1.5]"), "row 0: latitude 91"),
        (FULL.replace("[2.0, 2.5]", "[2.0]"), "row 0: neighbor_lng has 1"),
        (FULL.replace("[7.0]", "[97.0]"), "row 2: .*latitude 97"),
        (FULL.replace("[7.0]", "[null]"), "row 2"),
    ],
)
def test_what_cannot_be_used_is_named(write, query, words):
    with pytest.raises(InputError, match=words):
        load_evidence_table(write(query), guesses=True)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_text("no")
    for one in (path, tmp_path / "none.parquet", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load_evidence_table(one, guesses=True)
