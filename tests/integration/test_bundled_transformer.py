"""The transformer of `mini`."""

from pathlib import Path

import numpy as np
import pytest

from geotoken import Locator
from geotoken.decoding import decode
from geotoken.evidence import Evidence
from geotoken.geo import haversine_km
from geotoken.pipeline import LocateOptions

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def locator():
    return Locator.from_pretrained("mini", head="transformer", num_threads=1)


def paris(**guess):
    """Five of six neighbors near Paris, the best one in Sydney."""
    return Evidence(
        neighbor_lat=np.array([-33.87, 48.86, 48.85, 48.86, 48.87, 48.84]),
        neighbor_lng=np.array([151.21, 2.35, 2.29, 2.34, 2.36, 2.38]),
        neighbor_rank=np.arange(1.0, 7.0),
        **{name: np.array(values) for name, values in guess.items()},
    )


def test_neighbors_that_agree_beat_one_that_does_not(locator):
    answer = locator.locate_evidence(paris())
    assert haversine_km(answer.lat, answer.lng, 48.86, 2.35) < 30
    assert answer.posterior.probability_within_km(48.86, 2.35, 50.0) > 0.5


def test_a_guess_counts_and_its_weight_does_not(locator):
    told = {"guess_lat": [-33.9], "guess_lng": [151.2]}
    light, heavy = (locator.locate_evidence(paris(**told, guess_weight=[w])) for w in (1.0, 50.0))
    without = locator.locate_evidence(paris())
    near = [a.posterior.probability_within_km(-33.9, 151.2, 50.0) for a in (without, light, heavy)]
    assert near[1] > 1.5 * near[0]
    assert near[2] == pytest.approx(near[1], rel=1e-3)


def test_a_photo_is_located_with_it(locator):
    answer = locator.locate(EXAMPLES / "sydney-opera-house.jpg", decoder="beam")
    assert haversine_km(answer.lat, answer.lng, -33.857, 151.215) < 50
    assert answer.levels[0].probability <= 1.0


def test_evidence_need_not_be_there(locator):
    answer = locator.locate_evidence(Evidence(), LocateOptions())
    assert -90 <= answer.lat <= 90
    assert decode(locator.model, [Evidence()])[0].log_prob.max() < 0
