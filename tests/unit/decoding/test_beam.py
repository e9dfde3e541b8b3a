import numpy as np
import pytest

from geotoken.decoding.beam import BeamSearch
from geotoken.decoding.task import run


def trap(key, prefix, size):
    """The likelier face leads to a flat distribution, the other one to a sure leaf."""
    probabilities = np.zeros(size)
    if not prefix:
        probabilities[[0, 1]] = 0.6, 0.4
    elif prefix[0] == 0:
        probabilities[:] = 1
    else:
        probabilities[2] = 1
    return probabilities


@pytest.mark.parametrize("table", ["random", "sparse"])
@pytest.mark.parametrize("group_size", [1, 2])
def test_a_full_beam_is_an_exhaustive_search(make_model, photos, table, group_size):
    model = make_model(table, level=2, group_size=group_size)  # 96 leaves
    for key, found in enumerate(run(model, model.encode(photos(0, 1, 2)), BeamSearch(96))):
        tokens, log_prob = model.leaves(key)
        order = np.argsort(-log_prob, kind="stable")[: np.isfinite(log_prob).sum()]
        np.testing.assert_array_equal(found.tokens, tokens[order])
        np.testing.assert_allclose(found.log_prob, log_prob[order], atol=1e-12)


def test_every_step_keeps_the_best_of_the_kept(make_model, photos):
    model = make_model("sparse")
    (found,) = run(model, model.encode(photos(7)), BeamSearch(3))
    live = [((), 0.0)]
    for _ in range(model.scheme.length):
        grown = [
            ((*prefix, token), log_prob + step)
            for prefix, log_prob in live
            for token, step in enumerate(model.log_probs(7, prefix))
            if step > -np.inf
        ]
        live = sorted(grown, key=lambda one: -one[1])[:3]
    assert found.tokens.tolist() == [list(prefix) for prefix, _ in live]
    np.testing.assert_allclose(found.log_prob, [log_prob for _, log_prob in live])


def test_width_two_escapes_the_trap_that_catches_greedy(make_model, photos):
    model = make_model(trap)
    memory = model.encode(photos(0))
    (greedy,) = run(model, memory, BeamSearch(1))
    (beam,) = run(model, memory, BeamSearch(2))
    assert greedy.tokens[0].tolist() == [0, 0, 0, 0]
    assert beam.tokens[0].tolist() == [1, 2, 2, 2]
    assert beam.log_prob[0] == pytest.approx(np.log(0.4))
    assert greedy.log_prob[0] == pytest.approx(np.log(0.6 / 64))


def test_greedy_takes_the_likeliest_token_of_each_step(make_model, photos):
    model = make_model()
    (found,) = run(model, model.encode(photos(3)), BeamSearch(1))
    prefix = ()
    while len(prefix) < model.scheme.length:
        prefix = (*prefix, int(np.argmax(model.log_probs(3, prefix))))
    assert found.tokens.tolist() == [list(prefix)]


def test_beams_are_ragged_when_photos_allow_different_numbers_of_leaves(make_model, photos):
    def narrow(key, prefix, size):
        return np.ones(size) if key else np.eye(size)[size - 1]

    model = make_model(narrow)
    one, many = run(model, model.encode(photos(0, 1)), BeamSearch(50))
    assert one.tokens.tolist() == [[5, 3, 3, 3]]
    assert one.log_prob[0] == 0
    assert len(many.tokens) == 50


def test_rows_stay_in_token_order(make_model, photos):
    model = make_model()
    memory = model.encode(photos(0, 1))
    strategy = BeamSearch(4)
    strategy.reset(2)
    rows, tokens = strategy.update(model.step(None, memory, memory.new_cache()))
    assert rows.tolist() == [0] * 4 + [1] * 4
    assert tokens[:4].tolist() == sorted(tokens[:4])
    assert tokens[4:].tolist() == sorted(tokens[4:])


def test_photos_share_the_step_calls(make_model, photos):
    model = make_model()
    run(model, model.encode(photos(0, 1, 2, 3)), BeamSearch(5))
    assert model.num_calls == model.scheme.length
    assert model.num_rows == 4 * (1 + 5 + 5 + 5)


def test_a_strategy_can_be_used_again(make_model, photos):
    model = make_model()
    strategy = BeamSearch(4)
    (first,) = run(model, model.encode(photos(1)), strategy)
    run(model, model.encode(photos(2, 3)), strategy)
    (again,) = run(model, model.encode(photos(1)), strategy)
    np.testing.assert_array_equal(first.tokens, again.tokens)
