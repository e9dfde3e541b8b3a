import numpy as np
import pytest

from geotoken.duck import connect, literal


@pytest.mark.parametrize("name", ["a[b]", "a*", "a?", "a'b", "[", "é"])
def test_a_path_is_meant_as_it_is(tmp_path, name):
    for number, file in enumerate((name, "ab", "aX")):
        with connect() as connection:
            connection.sql(f"select {number} as n").write_parquet(str(tmp_path / f"{file}.parquet"))
    with connect() as connection:
        found = connection.execute("from read_parquet(?)", [literal(tmp_path / f"{name}.parquet")])
        assert found.fetchall() == [(0,)]


def test_a_column_of_nothing_is_text():
    with connect(threads=1) as connection:
        connection.register("t", {"a": np.array([None, None], dtype=object)})
        assert connection.sql("select a from t").types == ["VARCHAR"]
        assert connection.sql("select current_setting('threads')").fetchall() == [(1,)]
        assert connection.sql("select current_setting('autoload_known_extensions')").fetchall() == [(False,)]
