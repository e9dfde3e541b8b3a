"""The tools that make evidence for training, and the blend of two evidence models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blend import Blend
from fit_transformer import FIRST, MODEL, CaseRows, fine_tune, pretrain
from geotoken.decoding import score
from geotoken.evidence import Evidence
from geotoken.geo import EARTH_RADIUS_KM, to_xyz
from geotoken.mixture import MixtureModel
from geotoken.model.network import GeoTokenModel
from geotoken.train.draws import Draws
from simulate_evidence import NEAR_KM, Cases, imagine, pack, scatter, simulate


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(3)
    lat = np.concatenate([rng.normal(47, 3, 1500), rng.normal(38, 3, 1500), rng.normal(-30, 4, 500)])
    lng = np.concatenate([rng.normal(8, 4, 1500), rng.normal(-100, 6, 1500), rng.normal(140, 6, 500)])
    return to_xyz(lat, lng)


@pytest.fixture(scope="module")
def cases():
    """Two photos: near Munich, with a wrong group of two in Spain; near Sydney, without a guess."""
    munich = Evidence(
        neighbor_lat=np.array([48.14, 40.41, 48.2, 40.5]),
        neighbor_lng=np.array([11.58, -3.70, 11.6, -3.6]),
        neighbor_rank=np.arange(1.0, 5.0),
        guess_lat=np.array([48.0]),
        guess_lng=np.array([11.0]),
        guess_weight=np.array([1.0]),
    )
    sydney = Evidence(
        neighbor_lat=np.array([-33.9]), neighbor_lng=np.array([151.2]), neighbor_rank=np.array([1.0])
    )
    return pack([munich, sydney], to_xyz(np.array([48.15, -33.8]), np.array([11.55, 151.0])), 4)


def distance_km(one, other):
    return EARTH_RADIUS_KM * np.arccos(np.clip((one * other).sum(axis=-1), -1, 1))


def test_simulated_cases_keep_how_their_places_lie(cases, points):
    drawn = simulate(cases, points, 400, np.random.default_rng(0))
    munich = drawn.present[:, 1]
    assert 100 < munich.sum() < 300
    assert not drawn.present[~munich, 1:].any()
    here = drawn.rows(np.flatnonzero(munich))
    for place in (0, 2, 4):  # near the truth: as far from it as before
        expected = distance_km(cases.truth[0], cases.xyz[0, place])
        np.testing.assert_allclose(distance_km(here.truth, here.xyz[:, place]), expected, rtol=1e-4)
    apart = distance_km(cases.xyz[0, 1], cases.xyz[0, 3])
    np.testing.assert_allclose(distance_km(here.xyz[:, 1], here.xyz[:, 3]), apart, rtol=1e-4)
    far_km = distance_km(here.truth, here.xyz[:, 1])
    assert np.median(far_km) == pytest.approx(distance_km(cases.truth[0], cases.xyz[0, 1]), rel=0.5)
    assert len(np.unique(here.truth.round(9), axis=0)) > 50
    known = {tuple(point) for point in points.round(9)}
    assert all(tuple(truth) in known for truth in drawn.truth.round(9))


def test_the_same_seed_draws_the_same(cases, points):
    one, other = (simulate(cases, points, 5, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one.xyz, other.xyz)


def test_points_are_scattered_by_the_kernels_they_are_given(points):
    moved = scatter(points, {1.0: 1.0}, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1.0)
    step_km = distance_km(points, moved)
    assert np.median(step_km) == pytest.approx(1.0, rel=0.1)  # half of the mass lies within the scale


def test_imagined_cases_are_near_or_in_groups(points):
    drawn = imagine(points, 20, 500, np.random.default_rng(0))
    assert drawn.xyz.shape == (500, 21, 3)
    np.testing.assert_allclose(np.linalg.norm(drawn.xyz, axis=-1), 1.0)
    near = distance_km(drawn.truth[:, None], drawn.xyz) < NEAR_KM
    assert 0.2 < near.mean() < 0.8
    assert near.any(axis=1).mean() > 0.7
    assert 0.8 < drawn.present[:, -1].mean() < 0.97
    assert drawn.present[:, :-1].all()


def test_cases_are_read_as_they_were_saved(cases, tmp_path):
    cases.save(tmp_path / "cases.npz")
    read = Cases.load(tmp_path / "cases.npz")
    for name in Cases.__slots__:
        np.testing.assert_array_equal(getattr(read, name), getattr(cases, name))


def test_rows_drop_evidence_in_training_alone(cases):
    rows = CaseRows(cases, MODEL)
    whole = rows.evidence(np.array([0, 1]), None)
    assert whole.item_mask.sum(axis=1).tolist() == [5, 1]
    assert whole.item_kind[0].tolist() == [0, 0, 0, 0, 1]
    seen = rows.evidence(np.zeros(300, dtype=int), Draws(0, 0, 0, 300)).item_mask
    assert seen.any(axis=0).all()
    assert 0.5 < seen[:, -1].mean() < 0.7
    assert 0.5 < seen[:, :4].mean() < 0.95


def test_training_goes_from_imagined_to_real_cases(cases, points, tiny_mixture):
    loop = replace(FIRST, steps=2, batch_size=8, warmup_steps=0, validate_every=0)
    first = pretrain(points, tiny_mixture.prior, loop=loop)
    before = {name: value.clone() for name, value in first.state_dict().items()}
    tuned = fine_tune(first, cases, points, others=cases, loop=loop)
    assert isinstance(tuned, GeoTokenModel)
    torch.testing.assert_close(first.state_dict(), before)
    assert any(not torch.equal(value, before[name]) for name, value in tuned.state_dict().items())


def test_a_blend_is_the_mean_of_its_models_leaf_by_leaf(tiny_mixture, points):
    config = replace(
        tiny_mixture.config, sharp_scales_km=tuple(7 * s for s in tiny_mixture.config.sharp_scales_km)
    )
    other = MixtureModel(config, tiny_mixture.prior)
    evidence = [
        Evidence(neighbor_lat=np.array([48.0]), neighbor_lng=np.array([11.0]), neighbor_rank=np.array([1.0]))
    ]
    lat, lng = np.array([48.0, 48.1, 47.0, -20.0]), np.array([11.0, 11.2, 15.0, 30.0])
    tokens = tiny_mixture.scheme.encode(lat, lng)[None]
    blend = Blend([tiny_mixture, other], (1, 3))
    found, one, two = (score(m, m.encode(evidence), tokens)[0] for m in (blend, tiny_mixture, other))
    np.testing.assert_allclose(np.exp(found), (np.exp(one) + 3 * np.exp(two)) / 4, rtol=1e-6)
    assert not np.allclose(one, two, atol=0.1)
