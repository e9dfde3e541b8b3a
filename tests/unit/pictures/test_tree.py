import numpy as np
import pytest

from geotoken import cells
from geotoken.decoding import Posterior
from geotoken.pictures.tree import decode_tree, encode_tree
from geotoken.tokens import TokenScheme


def test_levels_and_probabilities_come_back(prediction):
    posterior = prediction.posterior
    level, probability = decode_tree(encode_tree(posterior))
    assert level.tolist() == posterior.level.tolist()
    likely = posterior.probability > 1e-15
    assert probability[likely] == pytest.approx(posterior.probability[likely], rel=0.006)
    assert probability.sum() == pytest.approx(1, abs=1e-3)


def test_the_levels_alone_cover_the_earth_once(prediction):
    level, _ = decode_tree(encode_tree(prediction.posterior))
    assert np.sum(0.25**level) == 6


def test_it_takes_little_more_than_two_letters_a_cell(prediction):
    assert len(encode_tree(prediction.posterior)) < 2.6 * len(prediction.posterior.cell_id)


def test_certainty_and_impossibility():
    faces = TokenScheme().to_cells(np.arange(cells.NUM_FACES)[:, None])
    posterior = Posterior(
        scheme=TokenScheme(),
        cell_id=faces,
        level=np.zeros(6, dtype=np.int64),
        probability=np.array([1.0, 0, 0, 0, 0, 1e-30]),
    )
    level, probability = decode_tree(encode_tree(posterior))
    assert level.tolist() == [0] * 6
    assert probability.tolist() == [1.0, 0, 0, 0, 0, 0]
