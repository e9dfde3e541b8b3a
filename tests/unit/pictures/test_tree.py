import numpy as np
import pytest

from geotoken import cells
from geotoken.decoding import Posterior
from geotoken.pictures.tree import decode_tree, encode_tree, thin
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


def test_a_thinner_posterior_is_the_same_distribution(prediction):
    posterior = prediction.posterior
    thinner = thin(posterior, 2000)
    assert 6 <= len(thinner.cell_id) <= 2000 < len(posterior.cell_id)
    assert np.sum(0.25**thinner.level) == 6
    assert (np.diff(thinner.cell_id.astype(object)) > 0).all()
    assert posterior.probability_of(thinner.cell_id) == pytest.approx(thinner.probability)
    answer = thinner.ancestors(prediction.lat, prediction.lng)[3]
    assert answer.probability == pytest.approx(prediction.levels[3].probability)


def test_likely_cells_stay_divided(prediction):
    thinner = thin(prediction.posterior, 2000)
    gone = ~np.isin(prediction.posterior.cell_id, thinner.cell_id)
    kept = np.isin(thinner.cell_id, prediction.posterior.cell_id)
    assert thinner.probability[~kept].max() < 0.05
    assert prediction.posterior.probability[gone].max() <= thinner.probability[~kept].max()


def test_a_small_posterior_stays_and_the_faces_always_do(prediction):
    assert thin(prediction.posterior, 10**9) is prediction.posterior
    assert len(thin(prediction.posterior, 1).cell_id) == 6
