"""What holds of a step on either backend."""

import numpy as np
import pytest


@pytest.fixture(params=["torch", "onnx"])
def model(request, pair):
    return pair[request.param == "onnx"]


def test_rows_of_several_photos_may_be_in_any_order(model, evidence):
    memory = model.encode(evidence(model.config))
    root = memory.new_cache()
    assert model.step(None, memory, root).shape == (5, 6)
    first, second = np.array([4, 0, 2, 0, 3, 2]), np.array([5, 1, 0, 3, 1, 2, 4])
    tokens = np.array([1, 2, 0, 5, 3, 4]), np.array([3, 0, 15, 7, 7, 8, 2])
    cache = root.reorder(first)
    scores = [model.step(tokens[0], memory, cache)]
    cache = cache.reorder(second)
    scores.append(model.step(tokens[1], memory, cache))
    for row, before in enumerate(second):
        alone = root.reorder(first[[before]])
        np.testing.assert_allclose(
            model.step(tokens[0][[before]], memory, alone), scores[0][[before]], atol=1e-5
        )
        np.testing.assert_allclose(model.step(tokens[1][[row]], memory, alone), scores[1][[row]], atol=1e-5)


def test_no_rows_give_no_scores(model, evidence):
    memory = model.encode(evidence(model.config))
    cache = memory.new_cache()
    model.step(None, memory, cache)
    none = cache.reorder(np.empty(0, dtype=np.int64))
    assert model.step(np.empty(0, dtype=np.int64), memory, none).shape == (0, 16)


def test_no_photos_have_no_rows(model):
    memory = model.encode([])
    assert memory.num_photos == 0
    assert model.step(None, memory, memory.new_cache()).shape == (0, 6)


def test_memory_of_another_model_is_refused_and_the_cache_stays(pair, evidence, tiny_mixture):
    photos = evidence(pair[0].config)
    memories = [one.encode(photos) for one in pair]
    for model, own, other in zip(pair, memories, memories[::-1], strict=True):
        cache = own.new_cache()
        name = type(model).__name__
        with pytest.raises(TypeError, match=name):
            model.step(None, other, cache)
        with pytest.raises(TypeError, match=name):
            model.step(None, own, other.new_cache())
        with pytest.raises(TypeError, match=name):
            model.step(None, tiny_mixture.encode(photos), cache)
        assert cache.num_tokens == 0
        assert model.step(None, own, cache).shape == (5, 6)
