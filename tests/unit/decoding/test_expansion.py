import numpy as np
import pytest

from geotoken import cells
from geotoken.decoding import posterior
from geotoken.errors import InputError

TABLES = pytest.mark.parametrize("table", ["random", "sparse"])


def enumerate_marginals(model, key):
    """Probability of every cell at every token level, by summing all leaves."""
    tokens, log_prob = model.leaves(key)
    leaf = model.scheme.to_cells(tokens)
    marginals = {}
    for num_tokens in range(1, model.scheme.length + 1):
        for cell_id, probability in zip(
            cells.parent(leaf, model.scheme.level_at(num_tokens)), np.exp(log_prob), strict=True
        ):
            marginals[int(cell_id)] = marginals.get(int(cell_id), 0.0) + probability
    return marginals


@TABLES
@pytest.mark.parametrize(("level", "group_size"), [(3, 1), (4, 2), (3, 3)])
@pytest.mark.parametrize("epsilon", [1e-30, 1e-3, 0.03, 1.0])
def test_cells_are_a_partition_with_the_enumerated_probabilities(
    make_model, photos, table, level, group_size, epsilon
):
    model = make_model(table, level=level, group_size=group_size)
    for key, one in enumerate(posterior(model, photos(0, 1, 2), epsilon)):
        marginals = enumerate_marginals(model, key)
        np.testing.assert_allclose(
            one.probability, [marginals[int(cell_id)] for cell_id in one.cell_id], atol=1e-12
        )
        assert one.probability.sum() == pytest.approx(1, abs=1e-12)
        np.testing.assert_array_equal(one.level, cells.level(one.cell_id))
        # Each cell ends where the next one begins, from the first leaf on Earth to the last.
        first, last = cells.range_min(one.cell_id), cells.range_max(one.cell_id)
        np.testing.assert_array_equal(first[1:], last[:-1] + np.uint64(2))
        assert first[0] == 1
        assert last[-1] == (6 << 61) - 1


@TABLES
def test_exactly_the_prefixes_of_epsilon_or_more_are_divided(make_model, photos, table):
    model = make_model(table)
    epsilon = 0.01
    (one,) = posterior(model, photos(5), epsilon)
    marginals = enumerate_marginals(model, 5)
    final = set(one.cell_id.tolist())
    expected = {
        cell_id
        for cell_id, probability in marginals.items()
        if (probability < epsilon or cells.level(np.uint64(cell_id)) == model.scheme.level)
        and all(
            marginals[int(cells.parent(np.uint64(cell_id), level))] >= epsilon
            for level in range(cells.level(np.uint64(cell_id)))
        )
    }
    assert final == expected


@TABLES
def test_a_batch_equals_its_photos_one_by_one(make_model, photos, table):
    model = make_model(table)
    keys = (6, 0, 3)
    for key, one in zip(keys, posterior(model, photos(*keys), 1e-3), strict=True):
        (alone,) = posterior(model, photos(key), 1e-3)
        np.testing.assert_array_equal(one.cell_id, alone.cell_id)
        np.testing.assert_array_equal(one.probability, alone.probability)


def test_a_photo_that_stops_early_keeps_its_place_in_the_batch(make_model, photos):
    flat = make_model(lambda key, prefix, size: np.ones(size) if key else np.eye(size)[1])
    sure, unsure, sure_too = posterior(flat, photos(0, 1, 0), 0.5)
    assert unsure.level.tolist() == [0] * 6
    assert sure.level.max() == sure_too.level.max() == 3
    np.testing.assert_array_equal(sure.cell_id, sure_too.cell_id)


def test_all_rows_of_a_length_are_scored_in_one_call(make_model, photos):
    model = make_model()
    posterior(model, photos(0, 1, 2), 1e-4)
    assert model.num_calls <= model.scheme.length


def test_memory_and_no_photos(make_model, photos):
    model = make_model()
    (from_memory,) = posterior(model, model.encode(photos(2)))
    (from_evidence,) = posterior(model, photos(2))
    np.testing.assert_array_equal(from_memory.cell_id, from_evidence.cell_id)
    assert posterior(model, []) == []


def test_some_photos_of_a_memory_may_be_asked_for(make_model, photos):
    model = make_model()
    memory = model.encode(photos(4, 2, 7))
    every = posterior(model, memory, 1e-3)
    for asked in ([2], [2, 0]):
        found = posterior(model, memory, 1e-3, photos=np.array(asked))
        assert len(found) == len(asked)
        for one, photo in zip(found, asked, strict=True):
            np.testing.assert_array_equal(one.cell_id, every[photo].cell_id)
            np.testing.assert_array_equal(one.probability, every[photo].probability)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 1.1, float("nan")])
def test_epsilon_out_of_range(make_model, photos, epsilon):
    with pytest.raises(InputError, match="epsilon"):
        posterior(make_model(), photos(0), epsilon)
