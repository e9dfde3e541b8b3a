"""Recorded answers: fuse is the model with the guess, to the last bit; the others are simulated."""

import dataclasses

import duckdb
import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.evidence import Evidence, guess_evidence
from geotoken.geo import haversine_km
from geotoken.mllm import MODES, Recorded, is_simulated, load_recorded
from geotoken.pipeline import LocateOptions

GUESS = (48.86, 2.35)


@pytest.fixture
def table(tmp_path):
    """Write a table of recorded answers."""

    def write(rows, columns="image_id, guess_lat, guess_lng, guess_source"):
        path = tmp_path / "recorded.parquet"
        values = ", ".join(f"({row})" for row in rows)
        duckdb.sql(f"copy (select * from (values {values}) t({columns})) to '{path}' (format parquet)")
        return path

    return write


@pytest.fixture(scope="module")
def evidence(own):
    return dataclasses.replace(own.evidence, neighbor_similarity=None)


def test_fuse_is_the_model_with_the_guess(locator, evidence):
    alone = locator.locate_evidence(evidence, name="a")
    fused = Recorded(mode="fuse", model="m", place=GUESS).judge(locator, alone, LocateOptions())
    given = locator.locate_evidence(Evidence.merge([evidence, guess_evidence([GUESS])]), name="a")
    assert (fused.lat, fused.lng, fused.tokens, fused.levels) == (
        given.lat,
        given.lng,
        given.tokens,
        given.levels,
    )
    np.testing.assert_array_equal(fused.posterior.cell_id, given.posterior.cell_id)
    np.testing.assert_array_equal(fused.posterior.probability, given.posterior.probability)


def test_free_takes_the_answer_and_pool_the_candidate_nearest_to_it(locator, own):
    free = Recorded(mode="free", model="m", place=GUESS).judge(locator, own, LocateOptions())
    assert (free.lat, free.lng) == GUESS
    pool = Recorded(mode="pool", model="m", place=GUESS).judge(locator, own, LocateOptions())
    places = [*zip(own.candidates.lat, own.candidates.lng, strict=True), (own.lat, own.lng)]
    assert (pool.lat, pool.lng) in places
    assert haversine_km(*GUESS, pool.lat, pool.lng) == min(haversine_km(*GUESS, *place) for place in places)


@pytest.mark.parametrize("mode", MODES)
def test_without_an_answer_it_is_the_own_one(locator, own, mode):
    found = Recorded(mode=mode, model="m", place=None).judge(locator, own, LocateOptions())
    assert (found.lat, found.lng) == (own.lat, own.lng)
    assert found.opinion.problem == "it gave no place"


def test_all_but_fuse_is_simulated():
    assert [mode for mode in MODES if not is_simulated(mode)] == ["fuse"]


def test_a_table_is_read(table):
    path = table(["'a', 1.5, 2.5, 'gemini'", "'b', null, null, null", "'c', 'nan'::double, 3.0, 'gemini'"])
    found = load_recorded(path, "fuse", 2.0)
    assert found == {
        "a": Recorded(mode="fuse", model="gemini", place=(1.5, 2.5), weight=2.0),
        "b": Recorded(mode="fuse", model="recorded", place=None, weight=2.0),
        "c": Recorded(mode="fuse", model="gemini", place=None, weight=2.0),
    }


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (["'a', 1.0"], "image_id, guess_lat", "lack guess_lng"),
        (["'a', 5.0, 1.0", "'a', 6.0, 1.0"], "image_id, guess_lat, guess_lng", "'a' twice"),
        (["'a', 95.0, 1.0"], "image_id, guess_lat, guess_lng", "'a'"),
        (["'a', 'north', 'west'"], "image_id, guess_lat, guess_lng", "'a'"),
    ],
)
def test_a_wrong_table_is_told(table, rows, columns, message):
    with pytest.raises(InputError, match=message):
        load_recorded(table(rows, columns), "fuse")


def test_what_is_no_table_mode_or_weight_is_told(tmp_path, table):
    (tmp_path / "no.parquet").write_text("no")
    for path in (tmp_path / "no.parquet", tmp_path / "absent.parquet", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load_recorded(path, "fuse")
    good = table(["'a', 1.0, 2.0, 'x'"])
    with pytest.raises(InputError, match="--mllm"):
        load_recorded(good, "judge")
    with pytest.raises(InputError, match="--mllm-weight"):
        load_recorded(good, "fuse", 0.0)
