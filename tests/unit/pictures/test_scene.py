import json

import numpy as np
import pytest

from geotoken.geo import haversine_km
from geotoken.pictures.scene import credit, scene

SQUARE = {"type": "Polygon", "coordinates": [[[130, 30], [140, 30], [140, 40], [130, 40], [130, 30]]]}


@pytest.fixture(scope="module")
def shown(prediction):
    return json.loads(json.dumps(scene(prediction), allow_nan=False))


def test_the_answer_and_its_radii(shown, prediction):
    assert shown["answer"] == pytest.approx([prediction.lat, prediction.lng], abs=1e-6)
    assert [share for share, _ in shown["radii"]] == [0.5, 0.9]
    assert shown["radii"][0][1] == pytest.approx(prediction.radius_km(0.5), abs=1e-3)
    assert shown["levels"] == list(range(0, 21, 2))


def test_candidates_are_probabilities_likeliest_first(shown, prediction):
    probabilities = [p for *_, p in shown["candidates"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities == pytest.approx(np.exp(prediction.candidates.log_prob), rel=0.01)


def test_all_neighbors_with_similarity_and_credit(shown, prediction):
    assert len(shown["neighbors"]) == len(prediction.neighbors)
    assert shown["neighbors"][0][2] == pytest.approx(float(prediction.neighbors.similarity[0]), abs=1e-3)
    assert shown["neighbors"][0][3] == "Public domain · Gorgo" == credit(prediction, 0)


def test_labels_lie_within_their_radius_and_appear_once(shown, prediction):
    assert "Osaka" in {name for name, *_ in shown["labels"]}
    for _, lat, lng, radius_km in shown["labels"]:
        assert haversine_km(lat, lng, prediction.lat, prediction.lng) <= radius_km + 0.2
    assert len({tuple(row[:3]) for row in shown["labels"]}) == len(shown["labels"])


def test_a_region_is_drawn_as_it_is_given(shown, prediction):
    assert shown["region"] is None
    assert scene(prediction, SQUARE)["region"] == SQUARE
