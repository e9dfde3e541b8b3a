import numpy as np
import pytest

from geotoken.evaluate.baselines import VOTE_SCALES_KM, baseline_rows, vote, vote_with_guess
from geotoken.evaluate.run import Case
from geotoken.evidence import Evidence
from geotoken.geo import haversine_km


def _case(lat, lng, guess=None):
    evidence = Evidence(
        neighbor_lat=np.array(lat, dtype=float),
        neighbor_lng=np.array(lng, dtype=float),
        neighbor_rank=np.arange(1.0, len(lat) + 1),
        guess_lat=np.array([guess[0]] if guess else []),
        guess_lng=np.array([guess[1]] if guess else []),
        guess_weight=np.ones(1 if guess else 0),
    )
    return Case(image="a", owner="", lat=0.0, lng=0.0, evidence=evidence)


def test_the_vote_is_the_sum_it_says():
    rng = np.random.default_rng(0)
    lat, lng = rng.uniform(-60, 60, 12), rng.uniform(-180, 180, 12)
    scores = [
        sum(
            np.exp(-float(haversine_km(lat[i], lng[i], lat[j], lng[j])) / scale) / np.sqrt(j + 1)
            for j in range(12)
            for scale in VOTE_SCALES_KM
        )
        for i in range(12)
    ]
    assert vote(lat, lng) == int(np.argmax(scores))


def test_neighbors_that_agree_outvote_the_nearest():
    rows = baseline_rows([_case([50, 10, 10.01, 10.02], [0, 20, 20, 20])])
    assert set(rows) == {"nearest_neighbor", "five_scale_vote"}
    assert rows["nearest_neighbor"][0]["lat"] == 50
    assert rows["five_scale_vote"][0]["lat"] == pytest.approx(10.01, abs=0.02)


def test_what_a_rule_lacks_is_a_failure():
    rows = baseline_rows([_case([], []), _case([1], [2], guess=(3.0, 4.0))])
    assert {name: [row["status"] for row in some] for name, some in rows.items()} == {
        "nearest_neighbor": ["error", "ok"],
        "five_scale_vote": ["error", "ok"],
        "guess": ["error", "ok"],
        "five_scale_vote_with_guess": ["error", "ok"],
    }
    assert (rows["guess"][1]["lat"], rows["guess"][1]["lng"]) == (3.0, 4.0)
    assert rows["guess"][0]["error"]


def test_a_guess_votes_and_can_win():
    alone = _case([50, 10], [0, 20])
    near_second = _case([50, 10], [0, 20], guess=(10.0, 20.01))
    lone_guess = _case([50, 10, -30], [0, 20, 80], guess=(-5.0, -60.0))
    rows = baseline_rows([alone, near_second, lone_guess])["five_scale_vote_with_guess"]
    assert [round(row["lat"]) for row in rows] == [50, 10, 50]
    assert vote_with_guess(alone.evidence) == (50.0, 0.0)
