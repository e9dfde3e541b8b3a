import dataclasses

import numpy as np
import pytest

from geotoken.evidence import Evidence
from geotoken.geo import to_xyz
from geotoken.mixture.weights import agreements, weigh


def with_similarity(evidence, values):
    return dataclasses.replace(evidence, neighbor_similarity=np.asarray(values))


def guess(weight):
    return Evidence(
        guess_lat=np.array([10.0]), guess_lng=np.array([10.0]), guess_weight=np.array([float(weight)])
    )


def test_weights_are_a_distribution(evidence, config, prior):
    parts = weigh(evidence, config, prior)
    assert parts.weights.shape == (4, 4)
    assert parts.weights.min() > 0
    assert parts.weights.sum() + parts.prior_weight == pytest.approx(1.0)


def test_no_evidence_leaves_the_prior(config, prior):
    parts = weigh(Evidence(), config, prior)
    assert parts.weights.shape == (0, 4)
    assert parts.prior_weight == pytest.approx(1.0)


def test_a_poor_best_match_leaves_more_to_the_prior(evidence, config, prior):
    good = weigh(with_similarity(evidence, [0.9, 0.8, 0.7, 0.6]), config, prior)
    poor = weigh(with_similarity(evidence, [0.4, 0.3, 0.3, 0.2]), config, prior)
    assert poor.prior_weight > good.prior_weight


def test_only_the_nearest_neighbors_count(evidence, config, prior):
    few = dataclasses.replace(config.with_similarity, num_neighbors=2)
    parts = weigh(evidence, dataclasses.replace(config, with_similarity=few), prior)
    assert len(parts.points) == 2


def test_order_of_neighbors_does_not_matter(evidence, config, prior):
    order = [2, 0, 3, 1]
    shuffled = Evidence(
        **{
            name: getattr(evidence, name)[order]
            for name in ("neighbor_lat", "neighbor_lng", "neighbor_rank", "neighbor_similarity")
        }
    )
    np.testing.assert_allclose(
        weigh(shuffled, config, prior).weights, weigh(evidence, config, prior).weights[order]
    )


def test_agreement_counts_neighbors_softly_and_not_oneself():
    points = to_xyz([0.0, 0.0, 40.0], [0.0, 0.001, 40.0])
    counts = np.expm1(agreements(points, points, (10.0,), exclude_self=True))[:, 0]
    np.testing.assert_allclose(counts, [1.0, 1.0, 0.0], atol=1e-3)


def test_odds_of_a_guess_are_proportional_to_its_weight(evidence, config, prior):
    def odds(weight):
        share = weigh(Evidence.merge([evidence, guess(weight)]), config, prior).weights[-1].sum()
        return share / (1 - share)

    assert odds(2) == pytest.approx(2 * odds(1))
    assert odds(1) > 0.1
