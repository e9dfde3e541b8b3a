import numpy as np
import pytest

from geotoken import cells
from geotoken.decoding import DecodingOptions, decode, posterior, score
from geotoken.errors import ArtifactError
from geotoken.evidence import Evidence
from geotoken.geo import haversine_km, to_xyz
from geotoken.mixture import MixtureModel
from geotoken.prior import WorldPrior
from geotoken.tokens import TokenScheme


def test_probabilities_of_each_step_sum_to_one(model, evidence):
    memory = model.encode([evidence, Evidence()])
    cache, tokens = memory.new_cache(), None
    for size in model.scheme.vocabulary_sizes:
        log_probs = model.step(tokens, memory, cache)
        assert log_probs.shape == (2, size)
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1.0)
        tokens = log_probs.argmax(axis=1)


def test_a_batch_equals_its_photos_one_by_one(model, evidence):
    both = posterior(model, [evidence, Evidence()], 1e-2)
    for together, alone in zip(both, (evidence, Evidence()), strict=True):
        single = posterior(model, [alone], 1e-2)[0]
        np.testing.assert_array_equal(together.cell_id, single.cell_id)
        np.testing.assert_allclose(together.probability, single.probability)


def test_leaf_log_prob_is_the_closed_form_density_times_area(model, evidence):
    rng = np.random.default_rng(3)
    lat = np.concatenate([[48.8566, 48.87, 46.0, -33.9], rng.uniform(-60, 70, 60)])
    lng = np.concatenate([[2.3522, 2.40, 4.0, 151.3], rng.uniform(-180, 180, 60)])
    memory = model.encode([evidence])
    log_prob = score(model, memory, model.scheme.encode(lat, lng)[None])[0]
    area = cells.area_km2(cells.from_lat_lng(lat, lng, model.scheme.level))
    gap = log_prob - np.log(memory.densities[0].at(to_xyz(lat, lng)) * area)
    assert abs(gap.mean()) < 0.05
    assert np.abs(gap).max() < 0.6


def test_decoding_finds_the_place_where_neighbors_agree(model, evidence):
    candidates = decode(model, [evidence], DecodingOptions(decoder="best_first", num_candidates=3))[0]
    assert haversine_km(candidates.lat[0], candidates.lng[0], 48.8566, 2.3522) < 1.0


def test_token_schemes_of_other_shape_describe_the_same_distribution(config, prior, evidence):
    coarse = posterior(MixtureModel(config, prior, TokenScheme(8, 1)), [evidence], 1e-3)[0]
    wide = posterior(MixtureModel(config, prior, TokenScheme(8, 4)), [evidence], 1e-3)[0]
    ids, probability = coarse.cells(4)
    np.testing.assert_allclose(wide.probability_of(ids), probability, atol=0.02)


def test_save_and_load_give_the_same_answers(model, evidence, tmp_path):
    model.save(tmp_path)
    loaded = MixtureModel.load(tmp_path)
    tokens = model.scheme.encode([48.86], [2.35])[None]
    np.testing.assert_allclose(score(loaded, [evidence], tokens), score(model, [evidence], tokens), atol=1e-4)


def test_load_names_the_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"mixture\.json"):
        MixtureModel.load(tmp_path)


def test_memory_of_another_model_is_refused(model, evidence):
    memory = model.encode([evidence])
    with pytest.raises(TypeError, match="MixtureModel"):
        model.step(None, object(), memory.new_cache())


def test_cache_is_a_value(model, evidence):
    cache = model.encode([evidence, evidence]).new_cache()
    assert cache.expand(3).photo.tolist() == [0, 0, 0, 1, 1, 1]
    assert cache.reorder(np.array([1, 0, 1])).photo.tolist() == [1, 0, 1]
    assert cache.num_rows == 2


def test_faces_are_right_where_the_prior_did_not_split_them(config):
    rng = np.random.default_rng(2)
    prior = WorldPrior.from_points(rng.normal(36, 1, 500), rng.normal(138, 1, 500))
    assert prior.level.min() == 0
    model = MixtureModel(config, prior)
    memory = model.encode([Evidence()])
    found = np.exp(model.step(None, memory, memory.new_cache()))[0]
    true = [prior.mass[cells.face(prior.cell_ids) == face].sum() for face in range(6)]
    np.testing.assert_allclose(found, true, atol=1e-9)
