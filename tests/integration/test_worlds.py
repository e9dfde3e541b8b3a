"""The worlds that benchmarks train on: are they what docs/worlds.md says, and are their optima optimal?"""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import ive

from geotoken.geo import haversine_km
from geotoken.metrics import THRESHOLDS_KM
from geotoken.model import ModelConfig, collate
from geotoken.model.network import GeoTokenModel, TorchModel
from worlds.cases import Gallery, WorldCases
from worlds.judge import judge
from worlds.lookalike import LookalikeConfig, LookalikeWorld, von_mises_fisher
from worlds.mixed import MixedConfig, blocks, mixed_world
from worlds.oracle import ambiguity, log_density, optimum

SMALL = LookalikeConfig(num_groups=12, photos_per_owner=5)


@pytest.fixture(scope="module")
def world():
    return LookalikeWorld(SMALL)


@pytest.fixture(scope="module")
def photos(world):
    return world.draw(3000, seed=1)


def test_features_follow_von_mises_and_fisher():
    mean = np.tile(np.eye(16)[0], (20_000, 1))
    drawn = von_mises_fisher(mean, 100.0, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, rtol=1e-12)
    expected = ive(8, 100.0) / ive(7, 100.0)  # the mean resultant length
    np.testing.assert_allclose(drawn[:, 0].mean(), expected, atol=1e-3)
    np.testing.assert_allclose(drawn[:, 1:].mean(), 0, atol=1e-3)


def test_the_posterior_is_calibrated(world, photos):
    posterior = np.exp(world.log_posterior(photos.feature))
    top = posterior.argmax(axis=1)
    assert abs(np.mean(top == photos.place) - posterior.max(axis=1).mean()) < 0.03
    expected = posterior[np.arange(len(top)), photos.place].mean()
    assert abs(expected - (posterior**2).sum(axis=1).mean()) < 0.02


def test_the_bayes_accuracy_and_the_ambiguity_are_as_asked(world, photos):
    log_posterior = world.log_posterior(photos.feature)
    assert 0.2 < np.exp(log_posterior).max(axis=1).mean() < 0.6
    found = ambiguity(log_posterior)
    assert found["places_of_5_percent"] > 3
    assert found["photos_of_two_places"] > 90


def test_places_lie_apart_and_photos_scatter_around_them(world, photos):
    distance_km = haversine_km(world.lat[:, None], world.lng[:, None], world.lat, world.lng)
    assert distance_km[np.triu_indices(len(world.lat), 1)].min() >= SMALL.least_km
    away_km = haversine_km(world.lat[photos.place], world.lng[photos.place], photos.lat, photos.lng)
    np.testing.assert_allclose(np.mean(away_km**2), 2 * SMALL.scatter_km**2, rtol=0.1)


def test_the_density_is_that_of_the_mixture():
    step_km = 0.05
    north = np.arange(-1.5, 1.5, step_km) / 111.195
    lat, lng = (grid.reshape(-1) for grid in np.meshgrid(10 + north, 20 + north / np.cos(np.radians(10))))
    log_posterior = np.log(np.tile([0.3, 0.7], (len(lat), 1)))
    density = log_density(log_posterior, np.array([10.0, 50.0]), np.array([20.0, 20.0]), 0.3, (lat, lng))
    np.testing.assert_allclose(np.exp(density).sum() * step_km**2, 0.3, rtol=2e-3)


def test_the_optimum_may_lie_between_places():
    """One place alone with 0.4, two of 0.3 that lie 44 km apart: the middle is best within 25 km."""
    lat, lng = np.array([10.0, 50.0, 50.4]), np.array([20.0, 20.0, 20.0])
    log_posterior = np.log([[0.4, 0.3, 0.3]])
    found = optimum(log_posterior, lat, lng, 0.3, (lat[:1], lng[:1]))
    assert haversine_km(*(v[0] for v in found.best[1]), 10, 20) < 0.01
    for threshold_km in (25, 200):
        answer = [v[0] for v in found.best[threshold_km]]
        assert haversine_km(*answer, lat[1:], lng[1:]).max() < threshold_km
    np.testing.assert_allclose(found.nll[0], -np.log(0.4) + np.log(2 * np.pi * 0.09), rtol=1e-6)


def test_no_answer_of_a_grid_beats_the_optimum(world):
    lat, lng = world.lat[:40], world.lng[:40]
    log_posterior = np.log(np.random.default_rng(3).dirichlet(np.full(40, 0.1), size=3))
    found = optimum(log_posterior, lat, lng, 0.001, (lat[:3], lng[:3]))
    grid = np.meshgrid(np.linspace(-60, 75, 271), np.linspace(-180, 180, 721))
    tried_lat, tried_lng = (np.concatenate([g.reshape(-1), p]) for g, p in zip(grid, (lat, lng), strict=True))
    distance_km = haversine_km(tried_lat[:, None], tried_lng[:, None], lat, lng)
    for threshold_km, answers in found.best.items():
        best = ((distance_km <= threshold_km) @ np.exp(log_posterior.T)).max(axis=0)
        inside = haversine_km(answers[0][:, None], answers[1][:, None], lat, lng) <= threshold_km
        assert (
            (inside * np.exp(log_posterior)).sum(axis=1) >= best - 1e-3
        ).all()  # places of next to nothing are skipped


def test_neighbors_are_the_best_of_other_owners_and_batches_are_those_of_the_model(photos):
    few = {f.name: getattr(photos, f.name)[:400] for f in dataclasses.fields(photos)}
    gallery = Gallery.of(few["feature"], few["lat"], few["lng"], few["owner"])
    cases = WorldCases(gallery, few["feature"], few["lat"], few["lng"], few["owner"], num_neighbors=6)
    similarity = few["feature"] @ few["feature"].T
    similarity[few["owner"][:, None] == few["owner"]] = -2
    np.testing.assert_allclose(np.sort(similarity, axis=1)[:, :-7:-1], cases.similarity, atol=1e-6)
    config = dataclasses.replace(
        ModelConfig.compact(), modalities=(("image", SMALL.dim),), num_neighbors=6, num_guesses=0
    )
    rows = np.array([5, 0, 399])
    ours = cases.evidence(rows).arrays()
    theirs = collate([cases.single(row) for row in rows], config).arrays()
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype
        np.testing.assert_allclose(array, theirs[name], atol=1e-6, err_msg=name)


def test_mixed_photos_are_split_by_blocks_and_seen_through_the_camera():
    rng = np.random.default_rng(4)
    lat, lng = rng.uniform(-60, 60, 1500), rng.uniform(-180, 180, 1500)
    vectors = rng.normal(size=(1500, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    config = MixedConfig(num_photos=1200, dim=12, held_out=0.1, seed=2)
    world = mixed_world(lat, lng, vectors, config)
    parts = [world.train, world.validation, world.test]
    assert sum(len(part.lat) for part in parts) == 1200
    assert min(len(part.lat) for part in parts) > 60
    owners = [set(part.block.tolist()) for part in parts]
    assert not (owners[0] & owners[1])
    assert not (owners[0] & owners[2])
    assert not (owners[1] & owners[2])
    np.testing.assert_allclose(np.linalg.norm(world.train.feature, axis=1), 1, rtol=1e-5)
    again = mixed_world(lat, lng, vectors, config)
    np.testing.assert_array_equal(world.test.feature, again.test.feature)


def test_blocks_are_about_as_large_as_asked():
    rng = np.random.default_rng(5)
    lat, lng = 50 + rng.uniform(0, 3, 20_000), 10 + rng.uniform(0, 3, 20_000)
    code = blocks(lat, lng, 25.0)
    for one in np.unique(code)[::20]:
        inside = np.flatnonzero(code == one)
        across_km = haversine_km(lat[inside][:, None], lng[inside][:, None], lat[inside], lng[inside]).max()
        assert across_km < 25 * 2**0.5 + 1


def test_a_model_is_judged_by_every_decoder_and_selection(world, photos):
    gallery = world.draw_gallery()
    retrieved = Gallery.of(gallery.feature, gallery.lat, gallery.lng, gallery.owner)
    cases = WorldCases(retrieved, photos.feature, photos.lat, photos.lng, photos.owner, num_neighbors=8)
    torch.manual_seed(0)
    config = ModelConfig(
        width=16,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        feed_forward=16,
        modalities=(("image", SMALL.dim),),
        num_neighbors=8,
        head="kernel",
    )
    found = judge(TorchModel(GeoTokenModel(config)), cases, 5)
    assert set(found.answers) == {
        *("greedy_log_prob", "beam_log_prob", "beam_medoid", "sample_log_prob", "sample_medoid", "mbr"),
        *(f"{kind}_{r}km" for kind in ("mbr", "disk") for r in THRESHOLDS_KM),
    }
    assert all(np.isfinite(answers).all() and answers.shape == (2, 5) for answers in found.answers.values())
    assert np.isfinite(found.nll).all()
    assert (found.credible[:, 0] <= found.credible[:, 1]).all()
    near = found.accuracy("disk_2500km", photos.lat[:5], photos.lng[:5])
    assert (
        found.best_at_each("disk", photos.lat[:5], photos.lng[:5])["acc_at_2500km"] == near["acc_at_2500km"]
    )
