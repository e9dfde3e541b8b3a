import shutil

import numpy as np
import pytest

from geotoken import cells
from geotoken.decoding import Posterior, decode, posterior
from geotoken.errors import InputError
from geotoken.evaluate.files import open_journal
from geotoken.evaluate.records import column
from geotoken.evaluate.run import (
    DEFAULT_GUARD,
    LEAST_LOG_PROB,
    Case,
    Guard,
    examine,
    leaf_nll,
    region_km2,
    run_cases,
)
from geotoken.evidence import Evidence, guess_evidence
from geotoken.metrics import coverage
from geotoken.pipeline import LocateOptions, Locator
from geotoken.tokens import TokenScheme


@pytest.fixture(scope="module")
def locator(tiny_model):
    return Locator.from_pretrained(tiny_model, num_threads=1)


def _case(**more):
    return Case(**({"image": "a", "owner": "me", "lat": 10.0, "lng": 20.0} | more))


def test_nll_is_minus_the_log_of_probability_over_area(make_model, photos):
    model = make_model(level=2, group_size=1)
    (evidence,) = photos(3)
    tokens, log_prob = model.leaves(3)
    for leaf in (0, 40, 95):
        cell = model.scheme.to_cells(tokens[leaf])
        lat, lng = cells.to_lat_lng(cell)
        expected = -log_prob[leaf] + np.log(cells.area_km2(cell))
        assert leaf_nll(model, evidence, float(lat), float(lng)) == pytest.approx(float(expected))


def test_an_impossible_truth_has_a_finite_nll(make_model, photos):
    model = make_model("sparse", level=2, group_size=1)
    (evidence,) = photos(1)
    tokens, log_prob = model.leaves(1)
    cell = model.scheme.to_cells(tokens[int(np.argmin(log_prob))])
    assert log_prob.min() == -np.inf
    lat, lng = cells.to_lat_lng(cell)
    found = leaf_nll(model, evidence, float(lat), float(lng))
    assert found == pytest.approx(float(np.log(cells.area_km2(cell))) - LEAST_LOG_PROB)


def test_regions_are_as_large_as_their_cells():
    scheme = TokenScheme(level=1, group_size=1)
    faces = scheme.to_cells(np.arange(6)[:, None])
    probability = np.array([0.5, 0.25, 0.125, 0.0625, 0.03125, 0.03125])
    whole = Posterior(scheme=scheme, cell_id=faces, level=np.zeros(6, np.int64), probability=probability)
    area = cells.area_km2(faces)
    assert region_km2(whole, 0.5) == pytest.approx(area[0])
    assert region_km2(whole, 0.8125) == pytest.approx(area[:2].sum() + area[2] / 2)


def test_evidence_is_located_as_a_photo_with_the_same_evidence(locator):
    evidence = guess_evidence([(10.2, 20.1)])
    row = examine(locator, LocateOptions(), (_case(evidence=evidence), None))
    expected = locator.locate_evidence(evidence)
    assert (row["lat"], row["lng"], row["status"]) == (expected.lat, expected.lng, "ok")
    assert row["country_code"] == expected.place.country_code
    assert row["probability_200km"] == expected.posterior.probability_within_km(
        expected.lat, expected.lng, 200
    )
    low, high = expected.posterior.credible_level_of(10.0, 20.0, 12)
    assert (row["credible_low"], row["credible_high"]) == (pytest.approx(low), pytest.approx(high))
    assert row["region_50_km2"] < row["region_90_km2"]
    assert row["nll"] == leaf_nll(locator.model, evidence, 10.0, 20.0)


def test_the_truth_is_scored_under_the_evidence_of_the_answer(locator, examples):
    photo = str(examples / "himeji-castle.jpg")
    row = examine(locator, LocateOptions(guesses=((48.0, 11.0),)), (_case(path=photo), None))
    neighbors = locator.locate(photo).neighbors.to_evidence()
    evidence = Evidence.merge([neighbors, guess_evidence([(48.0, 11.0)])])
    assert row["nll"] == pytest.approx(leaf_nll(locator.model, evidence, 10.0, 20.0))
    assert row["nll"] != pytest.approx(leaf_nll(locator.model, neighbors, 10.0, 20.0))


def test_truths_drawn_from_the_posterior_are_covered_as_often_as_it_says(locator):
    evidence = guess_evidence([(48.0, 11.0), (-33.0, 151.0)])
    whole = posterior(locator.model, [evidence], 3e-4)[0]
    rng = np.random.default_rng(0)
    drawn = cells.to_lat_lng(whole.cell_id[rng.choice(len(whole.cell_id), 2000, p=whole.probability)])
    whole = whole.cut(12)
    levels = np.array(
        [whole.credible_level_of(*point, 12) for point in zip(*map(np.ndarray.tolist, drawn), strict=True)]
    )
    assert coverage(levels, 0.5) == pytest.approx(50, abs=3)
    assert coverage(levels, 0.9) == pytest.approx(90, abs=2)


def test_a_photo_that_cannot_be_read_is_a_row(locator, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("no photo")
    row = examine(locator, LocateOptions(), (_case(path=str(path)), DEFAULT_GUARD))
    assert row["status"] == "error"
    assert "a.jpg" in row["error"]
    assert np.isnan(column([row], "lat")).all()


def test_a_case_of_nothing_is_refused(locator):
    with pytest.raises(InputError, match="neither"):
        examine(locator, LocateOptions(), (_case(), None))


def test_guards_keep_a_photo_from_finding_itself(locator, examples, tmp_path):
    truth = {"lat": 34.8394, "lng": 134.6939}
    photo = tmp_path / "renamed.jpg"
    shutil.copy(examples / "himeji-castle.jpg", photo)
    case = _case(path=str(photo), **truth)
    plain = examine(locator, LocateOptions(), (case, None))
    assert plain["country_code"] == "JP"
    for guard in (Guard(near_km=20.0), Guard(duplicate_similarity=0.98), DEFAULT_GUARD):
        guarded = examine(locator, LocateOptions(), (case, guard))
        assert guarded["country_code"] != "JP", guard
        assert guarded["nll"] > plain["nll"]


def test_exclusions_are_about_the_case(examples):
    photo = examples / "himeji-castle.jpg"
    found = Guard(owner=True, near_km=2.0, duplicate_similarity=0.9).exclusion(_case(path=str(photo)))
    assert (found.owner, found.within_km, found.lat, found.lng) == ("me", 2.0, 10.0, 20.0)
    assert len(found.sha256) == 64
    assert Guard(owner=True).exclusion(_case(owner="", path=str(photo))).owner is None


@pytest.mark.parametrize("given", [{"near_km": -1.0}, {"near_km": np.inf}, {"duplicate_similarity": 2.0}])
def test_guards_are_checked(given):
    with pytest.raises(InputError, match="--exclude"):
        Guard(**given)


def test_an_interrupted_run_goes_on(tmp_path, make_row):
    cases = [_case(image=name, evidence=Evidence()) for name in "abc"] + [_case(image="d", error="gone")]
    asked = []

    def answer(some, stop="c"):
        for case in some:
            asked.append(case.image)
            if case.image == stop:
                raise KeyboardInterrupt
            yield make_row(case.image, None if case.image == "b" else 1.0)

    journal = open_journal(tmp_path / "p.csv", {}, resume=False)
    rows = run_cases(cases, answer, journal)
    with pytest.raises(KeyboardInterrupt):
        list(rows)
    journal.close()
    journal = open_journal(tmp_path / "p.csv", {}, resume=True)
    again = list(run_cases(cases, lambda some: answer(some, stop=None), journal))
    journal.delete()
    assert asked == ["a", "b", "c", "b", "c"], "what failed is tried again, what was found is not"
    assert [row["image"] for row in again] == ["a", "b", "c", "d"]
    assert [row["status"] for row in again] == ["ok", "error", "ok", "error"]


def test_decoders_are_those_of_the_options(locator):
    evidence = guess_evidence([(10.0, 20.0)])
    row = examine(locator, LocateOptions(select="log_prob"), (_case(evidence=evidence), None))
    best = decode(locator.model, [evidence])[0]
    assert (row["lat"], row["lng"]) == (best.lat[0], best.lng[0])
