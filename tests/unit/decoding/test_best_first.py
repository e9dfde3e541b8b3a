import numpy as np
import pytest

from geotoken.decoding import DecodingOptions, decode
from geotoken.decoding.beam import BeamSearch
from geotoken.decoding.best_first import search_best_first
from geotoken.decoding.task import run


def options(**changes):
    return DecodingOptions(decoder="best_first", **{"beam_width": 1, **changes})


def sharp(key, prefix, size):
    """Most of the probability on one token, so that prefixes and leaves are about equally likely."""
    return np.random.default_rng([key, len(prefix), *prefix]).dirichlet(np.full(size, 0.1)) + 1e-9


@pytest.mark.parametrize("table", ["random", "sparse", sharp])
@pytest.mark.parametrize("group_size", [1, 3])
@pytest.mark.parametrize("num_candidates", [1, 6, 40])
def test_finds_the_likeliest_leaves(make_model, photos, table, group_size, num_candidates):
    model = make_model(table, level=3, group_size=group_size)
    for key, found in enumerate(decode(model, photos(*range(4)), options(num_candidates=num_candidates))):
        tokens, log_prob = model.leaves(key)
        best = np.argsort(-log_prob, kind="stable")[: min(num_candidates, np.isfinite(log_prob).sum())]
        assert found.exact
        np.testing.assert_array_equal(found.tokens, tokens[best])
        np.testing.assert_allclose(found.log_prob, log_prob[best], atol=1e-12)


def test_beats_the_beam_it_starts_from(make_model, photos):
    def trap(key, prefix, size):
        probabilities = np.ones(size)
        if not prefix:
            probabilities[:2] = 20, 19
        elif prefix[0] == 1:
            probabilities[2] = 1000
        return probabilities

    model = make_model(trap)
    (beam,) = decode(model, photos(0), DecodingOptions(decoder="greedy"))
    (found,) = decode(model, photos(0), options(num_candidates=1))
    assert beam.tokens.tolist() == [[0, 0, 0, 0]]
    assert found.tokens.tolist() == [[1, 2, 2, 2]]


def test_looks_at_prefixes_that_are_barely_likelier_than_the_bound(make_model, photos):
    def close(key, prefix, size):
        if not prefix:
            return np.array([0.5, 0.45, 0.05, 0, 0, 0])
        if prefix[0] == 0 and len(prefix) == 3:
            return np.array([0.6, 0.4, 0, 0])
        return np.eye(size)[0]

    (found,) = decode(make_model(close), photos(0), options(num_candidates=1))
    assert found.tokens.tolist() == [[1, 0, 0, 0]]


def test_expands_only_what_may_hold_a_better_leaf(make_model, photos):
    model = make_model()
    tokens, log_prob = model.leaves(5)
    (beam,) = decode(model, photos(5), DecodingOptions(beam_width=3))
    beam_rows, model.num_rows = model.num_rows, 0
    (found,) = decode(model, photos(5), options(num_candidates=3))
    # Whatever the order, a prefix less likely than the last leaf of the seeding beam is never expanded.
    prefixes = {tuple(leaf[:length]) for leaf in tokens.tolist() for length in range(model.scheme.length)}
    marginals = [np.logaddexp.reduce(log_prob[(tokens[:, : len(p)] == p).all(axis=1)]) for p in prefixes]
    worthy = sum(marginal > beam.log_prob[-1] - 1e-9 for marginal in marginals)
    assert found.exact
    assert model.num_rows - beam_rows <= worthy < len(prefixes)


def test_without_budget_the_best_seen_is_given_without_proof(make_model, photos):
    model = make_model()
    (beam,) = decode(model, photos(5), DecodingOptions(beam_width=5))
    model.num_rows = 0
    (found,) = decode(model, photos(5), options(num_candidates=5, max_expansions=3))
    assert not found.exact
    assert model.num_rows <= 1 + 5 * (model.scheme.length - 1) + 3
    assert np.all(found.log_prob >= beam.log_prob - 1e-12)


def test_seeds_may_be_fewer_than_the_candidates_asked_for(make_model, photos):
    model = make_model()
    memory = model.encode(photos(5))
    seeds = run(model, memory, BeamSearch(1))
    ((found, exact),) = search_best_first(model, memory, seeds, options(num_candidates=6))
    assert exact
    np.testing.assert_allclose(found.log_prob, np.sort(model.leaves(5)[1])[::-1][:6])


def test_fewer_possible_leaves_than_asked_for(make_model, photos):
    model = make_model(lambda key, prefix, size: np.arange(size) < 2)
    (found,) = decode(model, photos(0), options(num_candidates=100))
    assert found.exact
    assert len(found.tokens) == 2**model.scheme.length
    assert len(np.unique(found.tokens, axis=0)) == len(found.tokens)
