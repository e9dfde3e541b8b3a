import numpy as np

from geotoken.decoding.search import Hypotheses, encode_once, merge


def test_extend_appends_tokens_and_adds_log_probs():
    live = Hypotheses(np.array([0, 1]), np.array([[3], [5]]), np.array([-1.0, -2.0]))
    log_probs = np.log([[0.25, 0.75], [0.5, 0.5]])
    longer = live.extend(np.array([0, 0, 1]), np.array([0, 1, 1]), log_probs)
    assert longer.photo.tolist() == [0, 0, 1]
    assert longer.tokens.tolist() == [[3, 0], [3, 1], [5, 1]]
    np.testing.assert_allclose(longer.log_prob, [-1 + np.log(0.25), -1 + np.log(0.75), -2 + np.log(0.5)])


def test_split_sorts_within_each_photo_and_carries_counts():
    live = Hypotheses(
        np.array([0, 0, 2]), np.array([[1], [2], [3]]), np.array([-2.0, -1.0, -3.0]), np.array([7, 8, 9])
    )
    first, second, third = live.split(3)
    assert first.tokens.tolist() == [[2], [1]]
    assert first.num_samples.tolist() == [8, 7]
    assert second.tokens.shape == (0, 1)
    assert third.num_samples.tolist() == [9]


def test_split_keeps_token_order_among_equals():
    live = Hypotheses(np.zeros(3, dtype=int), np.array([[1], [2], [3]]), np.array([-1.0, -1.0, -0.5]))
    (only,) = live.split(1)
    assert only.tokens.ravel().tolist() == [3, 1, 2]


def test_merge_finds_distinct_continuations_in_order():
    rows, tokens, path_row = merge(np.array([1, 0, 1, 1]), np.array([2, 3, 0, 2]), 4)
    assert list(zip(rows, tokens, strict=True)) == [(0, 3), (1, 0), (1, 2)]
    assert path_row.tolist() == [2, 0, 1, 2]


def test_encode_once_takes_evidence_or_memory_and_knows_when_there_is_nothing(make_model, photos):
    model = make_model()
    memory = model.encode(photos(1, 2))
    assert encode_once(model, memory) is memory
    assert encode_once(model, photos(1, 2)).keys == [1, 2]
    assert encode_once(model, []) is None
    assert encode_once(model, model.encode([])) is None
