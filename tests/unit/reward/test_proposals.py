import numpy as np
import pytest

from geotoken.decoding import DecodingOptions, RegionModel, decode, posterior, score
from geotoken.evidence import Evidence
from geotoken.metrics import THRESHOLDS_KM
from geotoken.regions import Region
from geotoken.reward import evidence_places, weigh, widen
from geotoken.reward.proposals import within_km


@pytest.fixture
def evidence():
    return Evidence(
        neighbor_lat=np.array([10.0, 10.1, 48.0]),
        neighbor_lng=np.array([20.0, 20.1, 2.0]),
        neighbor_rank=np.array([1.0, 2.0, 3.0]),
        guess_lat=np.array([-33.0]),
        guess_lng=np.array([151.0]),
        guess_weight=np.ones(1),
    )


def test_evidence_names_places(evidence):
    lat, lng = evidence_places(evidence)
    np.testing.assert_array_equal(lat, [10.0, 10.1, 48.0, -33.0])
    np.testing.assert_array_equal(lng, [20.0, 20.1, 2.0, 151.0])


def test_within_is_what_the_posterior_says_of_each_place(tiny_mixture, evidence):
    whole = posterior(tiny_mixture, [evidence], 1e-2)[0]
    lat, lng = np.linspace(-80, 80, 21), np.linspace(-170, 170, 21)
    found = within_km(whole, lat, lng)
    expected = [
        [whole.probability_within_km(a, b, r) for r in THRESHOLDS_KM] for a, b in zip(lat, lng, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_places_of_several_photos_are_weighed_each_by_its_own_evidence(tiny_mixture, evidence):
    photos = [evidence, Evidence()]
    memory = tiny_mixture.encode(photos)
    wholes = posterior(tiny_mixture, memory, 1e-2)
    places = [evidence_places(evidence), (np.array([5.0]), np.array([6.0]))]
    found = weigh(tiny_mixture, memory, wholes, places)
    assert [len(one.lat) for one in found] == [4, 1]
    for photo, one, (lat, lng), whole in zip(photos, found, places, wholes, strict=True):
        tokens = tiny_mixture.scheme.encode(lat, lng)
        np.testing.assert_allclose(one.log_prob, score(tiny_mixture, [photo], tokens[None])[0])
        np.testing.assert_array_equal(one.within, within_km(whole, lat, lng))


def test_candidates_are_joined_by_places_inside_the_region(tiny_mixture, evidence):
    region = Region.parse("near=10,20,50")
    model = RegionModel(tiny_mixture, region, 1e-2)
    memory = model.encode([evidence])
    candidates = decode(model, memory, DecodingOptions(beam_width=3))[0]
    candidates = model.place(candidates, memory.posteriors[0])
    joined, proposals = widen(
        model, memory, memory.posteriors[0], candidates, evidence_places(evidence), region
    )
    num = len(candidates.lat)
    np.testing.assert_array_equal(joined.lat[num:], [10.0, 10.1])
    np.testing.assert_array_equal(proposals.lat, joined.lat)
    np.testing.assert_allclose(joined.log_prob[:num], candidates.log_prob)
    np.testing.assert_array_equal(joined.tokens[:num], candidates.tokens)
    assert np.isfinite(joined.log_prob).all()
    assert (proposals.within[:, -1] > 0.999).all()
