import dataclasses
import json
import math

import pytest

from geotoken import cells
from geotoken.pipeline import Locator
from geotoken.prediction import error_to_dict, neighbors_to_list


@pytest.fixture(scope="module")
def prediction(tiny_model, examples):
    return Locator.from_pretrained(tiny_model).locate(examples / "himeji-castle.jpg")


def test_cell_tokens_and_levels_are_those_of_the_answer(prediction):
    leaf = cells.from_lat_lng(prediction.lat, prediction.lng, 20)
    assert prediction.cell_id == int(leaf)
    assert prediction.posterior.scheme.to_cells(prediction.tokens) == leaf
    assert [c.level for c in prediction.levels] == list(range(0, 21, 2))
    assert all(cells.parent(leaf, c.level) == c.cell_id for c in prediction.levels)
    probabilities = [c.probability for c in prediction.levels]
    assert probabilities == sorted(probabilities, reverse=True)


def test_levels_agree_with_the_posterior_as_far_as_it_is_expanded(prediction):
    assert prediction.log_prob == pytest.approx(math.log(prediction.levels[-1].probability))
    for level, known in zip(
        prediction.levels, prediction.posterior.ancestors(prediction.lat, prediction.lng), strict=True
    ):
        if level.probability >= 1e-3:
            assert (level.level, level.cell_id) == (known.level, known.cell_id)
            assert level.probability == pytest.approx(known.probability)


def test_radius_grows_with_the_share_it_holds(prediction):
    radii = [prediction.radius_km(fraction) for fraction in (0.1, 0.5, 0.9)]
    assert radii == sorted(radii)
    held = prediction.posterior.probability_within_km(prediction.lat, prediction.lng, radii[1])
    assert held == pytest.approx(0.5, abs=0.02)


def test_to_dict_is_plain_json_and_respects_top_k(prediction):
    value = json.loads(json.dumps(prediction.to_dict(top_k=2)))
    assert value["status"] == "ok"
    assert len(value["candidates"]) <= 2
    assert len(value["neighbors"]) == 2
    assert value["cell"] == {"hex": str(cells.to_hex(prediction.cell_id)), "level": 20}
    assert set(value["radius_km"]) == {"50", "90"}


def test_neighbors_have_their_credit_and_leave_out_what_is_not_known(prediction):
    found = prediction.neighbors
    listed = neighbors_to_list(dataclasses.replace(found, source_url=[None] * len(found)), 3)
    assert listed[0]["similarity"] >= listed[-1]["similarity"]
    assert listed[0]["license"] == found.license[0]
    assert all("source_url" not in row for row in listed)


def test_an_error_row_has_the_message():
    assert error_to_dict("a.jpg", "no") == {
        "image": "a.jpg",
        "status": "error",
        "error": "no",
        "warnings": [],
    }
