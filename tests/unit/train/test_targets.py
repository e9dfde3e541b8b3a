import numpy as np
import pytest

from geotoken.cells import average_edge_km
from geotoken.geo import haversine_km
from geotoken.tokens import TokenScheme
from geotoken.train.targets import hard_targets, position_weights, soft_targets

SCHEME = TokenScheme(level=6, group_size=2)
LAT, LNG = np.array([48.85, -33.9, 0.01]), np.array([2.35, 151.2, 179.99])


def test_weights_fall_linearly_and_have_mean_1():
    weights = position_weights(11, 2.0, 1.0)
    np.testing.assert_allclose(weights.mean(), 1, rtol=1e-6)
    np.testing.assert_allclose(np.diff(weights), np.diff(weights)[0], atol=1e-6)
    assert weights[0] == pytest.approx(2 * weights[-1])


def test_hard_targets_are_the_tokens():
    tokens = SCHEME.encode(LAT, LNG)
    targets = hard_targets(tokens, SCHEME)
    assert targets.shape == (3, 4, 16)
    np.testing.assert_array_equal(targets.argmax(axis=-1), tokens)
    np.testing.assert_array_equal(targets.sum(axis=-1), 1)
    np.testing.assert_array_equal(soft_targets(LAT, LNG, SCHEME, mix=0, width=1), targets)


def test_soft_targets_follow_distance_to_the_cells_behind_the_true_prefix():
    width, mix = 0.7, 0.3
    targets = soft_targets(LAT, LNG, SCHEME, mix=mix, width=width)
    edges_km = [average_edge_km(level) for level in (0, 2, 4, 6)]
    for photo, (lat, lng) in enumerate(zip(LAT, LNG, strict=True)):
        tokens = SCHEME.encode(lat, lng)
        for position, size in enumerate(SCHEME.vocabulary_sizes):
            kernel = []
            for token in range(size):
                center = SCHEME.decode(np.r_[tokens[:position], token])
                kernel.append(np.exp(-haversine_km(lat, lng, *center) / (width * edges_km[position])))
            wanted = mix * np.array(kernel) / sum(kernel)
            wanted[tokens[position]] += 1 - mix
            np.testing.assert_allclose(targets[photo, position, :size], wanted, rtol=1e-4, atol=1e-7)
            assert (targets[photo, position, size:] == 0).all()


def test_a_narrow_spread_is_hard():
    soft = soft_targets(LAT, LNG, SCHEME, mix=1.0, width=1e-3)
    np.testing.assert_array_equal(soft.argmax(axis=-1)[:, 1:], SCHEME.encode(LAT, LNG)[:, 1:])
    assert np.isfinite(soft).all()
    np.testing.assert_allclose(soft.sum(axis=-1), 1, rtol=1e-5)
