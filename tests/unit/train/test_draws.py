import numpy as np

from geotoken.train.draws import Draws, rows_at


def test_numbers_of_a_position_do_not_depend_on_the_division():
    whole = Draws(3, 7, 0, 10)
    first, second = Draws(3, 7, 0, 4), Draws(3, 7, 4, 6)
    for shape in [(), (5,), (2, 3)]:
        numbers = whole.by_row(*shape)
        assert numbers.shape == (10, *shape)
        np.testing.assert_array_equal(numbers, np.concatenate([first.by_row(*shape), second.by_row(*shape)]))


def test_numbers_are_uniform_and_all_different():
    draws = Draws(0, 0, 0, 2000)
    numbers = np.concatenate(
        [draws.by_row(3).ravel(), draws.by_row(3).ravel(), Draws(0, 1, 0, 2000).by_row()]
    )
    assert len(np.unique(numbers)) == len(numbers)
    counts, _ = np.histogram(numbers, bins=10, range=(0, 1))
    np.testing.assert_allclose(counts, len(numbers) / 10, rtol=0.15)


def test_the_generator_depends_on_seed_step_and_position():
    numbers = {Draws(seed, step, first, 2).random() for seed in (0, 1) for step in (0, 1) for first in (0, 2)}
    assert len(numbers) == 8
    assert Draws(1, 2, 3, 4).random() == Draws(1, 2, 3, 4).random()


def test_each_epoch_is_an_order_of_all_rows():
    rows = np.concatenate([rows_at(start, 5, 7, seed=1) for start in range(0, 35, 5)]).reshape(5, 7)
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(np.arange(7), (5, 1)))
    assert len({tuple(epoch) for epoch in rows.tolist()}) == 5
    np.testing.assert_array_equal(rows_at(3, 20, 7, seed=1), rows.ravel()[3:23])
    assert (rows_at(0, 35, 7, seed=2) != rows.ravel()).any()
