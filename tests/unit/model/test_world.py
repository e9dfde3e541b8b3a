import numpy as np
import pytest

from geotoken import cells
from geotoken.model.world import LEAST_SHARE, World
from geotoken.tokens import TokenScheme


@pytest.fixture
def world(prior):
    return World(prior, TokenScheme(8, 2))


def test_cells_are_those_of_the_tokens(world):
    tokens = world.scheme.encode(np.array([48.1, -33.0]), np.array([11.5, 151.0]))
    cell_ids = None
    for position in range(world.scheme.length):
        cell_ids = world.advance(cell_ids, tokens[:, position])
        expected = [world.scheme.to_cells(one[: position + 1]) for one in tokens]
        assert cell_ids.tolist() == [int(one) for one in expected]


def test_shares_along_sequences_multiply_to_the_mass_of_their_leaf(world, prior):
    lat, lng = np.array([48.1, 35.2, -70.0]), np.array([11.5, -90.3, 20.0])
    tokens = world.scheme.encode(lat, lng)
    log_shares = world.along(tokens)
    assert log_shares.shape == (3, world.scheme.length, 16)
    found = np.take_along_axis(log_shares, tokens[..., None], axis=2).sum(axis=(1, 2))
    leaf = cells.from_lat_lng(lat, lng, 8)
    row = prior.find(leaf)
    low = np.searchsorted(prior.range_min, cells.range_min(leaf))
    high = np.searchsorted(prior.range_min, cells.range_max(leaf), side="right")
    divided = np.array([prior.mass[a:b].sum() for a, b in zip(low, high, strict=True)])
    mass = np.where(prior.level[row] >= 8, divided, prior.density[row] * cells.area_km2(leaf))
    np.testing.assert_allclose(found, np.log(mass), atol=0.02)


def test_what_is_beyond_the_vocabulary_has_the_least_share(world):
    faces = world.log_shares(None, 2)
    assert faces.shape == (2, 16)
    np.testing.assert_allclose(np.exp(faces[:, :6]).sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(faces[:, 6:], np.log(LEAST_SHARE))
    assert world.log_shares(None, 0).shape == (0, 16)
