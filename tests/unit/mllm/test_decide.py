"""From words to answers: each mode on the tiny model, and staying with one's own."""

import dataclasses

import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.geo import haversine_km
from geotoken.mllm import decide
from geotoken.pipeline import LocateOptions, Locator
from geotoken.prediction import Opinion, Said
from geotoken.regions import Region

CAPE_TOWN = (-33.9, 18.4)


def opinion(mode, *places):
    return Opinion(mode=mode, model="m", answers=tuple(Said(lat=lat, lng=lng) for lat, lng in places))


@pytest.mark.parametrize("mode", ["pool", "free"])
def test_the_place_named_becomes_the_answer_under_the_same_posterior(locator, own, mode):
    found = decide(locator, own, opinion(mode, CAPE_TOWN), LocateOptions())
    assert (found.lat, found.lng) == CAPE_TOWN
    assert found.posterior is own.posterior
    assert found.own is own
    assert found.opinion.problem == ""
    assert found.place.country == "South Africa"
    assert found.tokens == tuple(locator.model.scheme.encode(*CAPE_TOWN).tolist())
    assert found.log_prob < own.log_prob
    np.testing.assert_allclose(
        [cell.probability for cell in found.levels[:2]],
        [cell.probability for cell in own.posterior.ancestors(*CAPE_TOWN)[:2]],
        rtol=1e-6,
    )


def test_fuse_is_locating_with_the_guess_without_looking_at_the_photo_again(
    locator, own, himeji, monkeypatch
):
    expected = locator.locate(himeji, guesses=[CAPE_TOWN])
    monkeypatch.setattr(locator.encoder, "embed", None)
    found = decide(locator, own, opinion("fuse", CAPE_TOWN), LocateOptions())
    assert (found.lat, found.lng, found.tokens) == (expected.lat, expected.lng, expected.tokens)
    np.testing.assert_array_equal(found.posterior.probability, expected.posterior.probability)
    assert found.neighbors is own.neighbors
    assert found.image == own.image


def test_fused_votes_share_one_weight(locator, own):
    once = decide(locator, own, opinion("fuse", CAPE_TOWN), LocateOptions(), 3.0)
    thrice = decide(locator, own, opinion("fuse", CAPE_TOWN, CAPE_TOWN, CAPE_TOWN), LocateOptions(), 3.0)
    assert once.evidence.guess_weight.tolist() == [3.0]
    assert thrice.evidence.guess_weight.tolist() == [1.0, 1.0, 1.0]
    near = [one.posterior.probability_within_km(*CAPE_TOWN, 200) for one in (own, once, thrice)]
    assert near[1] == pytest.approx(near[2], rel=1e-3)
    assert near[1] > near[0]


def test_guesses_of_a_person_stay_and_count_once(locator, himeji):
    options = LocateOptions(guesses=((10.0, 10.0),))
    own = locator.locate(himeji, guesses=options.guesses)
    found = decide(locator, own, opinion("fuse", CAPE_TOWN), options)
    assert found.evidence.guess_lat.tolist() == [10.0, -33.9]


def test_of_several_free_votes_the_middle_one_counts(locator, own):
    found = decide(locator, own, opinion("free", (60.0, 10.0), CAPE_TOWN, (-33.0, 19.0)), LocateOptions())
    assert (found.lat, found.lng) in (CAPE_TOWN, (-33.0, 19.0))
    most = decide(locator, own, opinion("pool", CAPE_TOWN, (60.0, 10.0), CAPE_TOWN), LocateOptions())
    assert (most.lat, most.lng) == CAPE_TOWN


def test_the_own_answer_chosen_stays_as_it_is(locator, own):
    found = decide(locator, own, opinion("pool", (own.lat, own.lng)), LocateOptions())
    assert found.log_prob == own.log_prob
    assert found.to_dict()["source"] == "mllm"


@pytest.mark.parametrize(
    ("said", "problem", "reason"),
    [
        ((), "the server was away", "the server was away"),
        ((Said(text="no", problem="it declined to answer"),), "", "it declined to answer"),
        ((), "", "it said nothing"),
    ],
)
def test_without_a_usable_answer_it_stays_with_its_own_and_says_so(locator, own, said, problem, reason):
    given = Opinion(mode="free", model="m", answers=said, problem=problem)
    found = decide(locator, own, given, LocateOptions())
    assert (found.lat, found.lng, found.log_prob) == (own.lat, own.lng, own.log_prob)
    row = found.to_dict()
    assert (row["source"], row["mllm"]["used"], row["mllm"]["reason"]) == ("geotoken", False, reason)
    assert found.warnings[-1] == f"the multimodal model did not decide this answer: {reason}"


def test_an_answer_outside_of_the_region_does_not_count(locator, himeji):
    japan = Region.bbox(128, 30, 146, 46)
    own = locator.locate(himeji, within=japan)
    outside = decide(locator, own, opinion("free", CAPE_TOWN), LocateOptions(within=japan))
    assert (outside.lat, outside.lng) == (own.lat, own.lng)
    assert "outside of the region" in outside.opinion.problem
    inside = decide(locator, own, opinion("free", (35.6, 139.7)), LocateOptions(within=japan))
    assert (inside.lat, inside.lng) == (35.6, 139.7)
    assert inside.region_probability == own.region_probability
    fused = decide(locator, own, opinion("fuse", CAPE_TOWN), LocateOptions(within=japan))
    assert japan.contains(fused.lat, fused.lng).all()


def test_the_remark_about_gps_is_about_the_new_answer(locator, own):
    with_gps = dataclasses.replace(own, gps=CAPE_TOWN)
    for mode in ("free", "fuse"):
        found = decide(locator, with_gps, opinion(mode, CAPE_TOWN), LocateOptions())
        distance_km = float(haversine_km(*CAPE_TOWN, found.lat, found.lng))
        assert f"{distance_km:,.1f} km from this answer" in found.warnings[0]


def test_an_answer_without_evidence_cannot_be_moved(locator, own):
    with pytest.raises(InputError, match="no evidence"):
        locator.answer_at(dataclasses.replace(own, evidence=None), *CAPE_TOWN)


def test_fuse_works_with_a_transformer(tiny_transformer, himeji):
    locator = Locator.from_pretrained(tiny_transformer, num_threads=1)
    own = locator.locate(himeji)
    found = decide(locator, own, opinion("fuse", CAPE_TOWN), LocateOptions())
    expected = locator.locate(himeji, guesses=[CAPE_TOWN])
    assert (found.lat, found.lng) == (expected.lat, expected.lng)
    moved = decide(locator, own, opinion("free", CAPE_TOWN), LocateOptions())
    assert (moved.lat, moved.lng) == CAPE_TOWN
    thrice = decide(locator, own, opinion("fuse", CAPE_TOWN, CAPE_TOWN, CAPE_TOWN), LocateOptions())
    assert (thrice.lat, thrice.lng, thrice.log_prob) == (found.lat, found.lng, found.log_prob)
