import numpy as np
import pytest
from scipy.stats import chi2

from geotoken.decoding.sampling import Sampler, TokenFilter
from geotoken.decoding.task import run

PROBABILITIES = np.array([[0.1, 0.4, 0.0, 0.3, 0.2]])


def filtered(**options):
    with np.errstate(divide="ignore"):
        return TokenFilter(**options)(np.log(PROBABILITIES))[0]


def test_no_filter_leaves_the_distribution_alone():
    np.testing.assert_allclose(filtered(), PROBABILITIES[0], atol=1e-15)


@pytest.mark.parametrize("temperature", [0.2, 1.2, 5.0])
def test_temperature_raises_probabilities_to_its_inverse(temperature):
    expected = PROBABILITIES[0] ** (1 / temperature)
    np.testing.assert_allclose(filtered(temperature=temperature), expected / expected.sum(), atol=1e-15)


def test_a_tiny_temperature_does_not_overflow():
    np.testing.assert_allclose(filtered(temperature=1e-3), [0, 1, 0, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"top_k": 1}, [0, 1, 0, 0, 0]),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7, 0]),
        ({"top_k": 99}, [0.1, 0.4, 0, 0.3, 0.2]),
        ({"top_p": 1e-9}, [0, 1, 0, 0, 0]),
        ({"top_p": 0.39}, [0, 1, 0, 0, 0]),
        ({"top_p": 0.41}, [0, 4 / 7, 0, 3 / 7, 0]),
        ({"top_p": 0.71}, [0, 4 / 9, 0, 3 / 9, 2 / 9]),
        ({"top_p": 1.0}, [0.1, 0.4, 0, 0.3, 0.2]),
        ({"top_k": 2, "top_p": 0.5}, [0, 1, 0, 0, 0]),  # 4/7 of what top-k left already reaches 0.5
    ],
)
def test_top_k_and_top_p(options, expected):
    np.testing.assert_allclose(filtered(**options), expected, atol=1e-12)


def test_filters_apply_to_the_tempered_distribution():
    # At temperature 0.5 the first token holds 16/30 of the mass: enough for top_p 0.5, not so at 1.
    np.testing.assert_allclose(filtered(temperature=0.5, top_p=0.5), [0, 1, 0, 0, 0], atol=1e-12)
    assert np.count_nonzero(filtered(temperature=1.0, top_p=0.5)) == 2


def test_of_equal_tokens_the_smaller_is_kept():
    equal = np.log(np.full((1, 4), 0.25))
    np.testing.assert_array_equal(TokenFilter(top_k=2)(equal), [[0.5, 0.5, 0, 0]])
    np.testing.assert_array_equal(TokenFilter(top_p=0.5)(equal), [[0.5, 0.5, 0, 0]])


def tempered_leaves(model, key, token_filter):
    """Probability of each leaf when every step is filtered, shape (N,)."""
    tokens, _ = model.leaves(key)
    probability = np.zeros(len(tokens))
    for row, leaf in enumerate(tokens):
        total, prefix = 1.0, ()
        for token in map(int, leaf):
            total *= token_filter(model.log_probs(key, prefix)[None])[0, token]
            if total == 0:
                break
            prefix = (*prefix, token)
        probability[row] = total
    return tokens, probability


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.6}, {"temperature": 1.3, "top_k": 3}, {"top_p": 0.8}]
)
@pytest.mark.parametrize("table", ["random", "sparse"])
def test_samples_follow_the_filtered_distribution(make_model, photos, table, options):
    model = make_model(table, level=2)
    token_filter = TokenFilter(**options)
    num_samples = 20_000
    (found,) = run(model, model.encode(photos(4)), Sampler(num_samples, token_filter, seed=1))
    tokens, probability = tempered_leaves(model, 4, token_filter)
    drawn = {tuple(leaf): count for leaf, count in zip(found.tokens, found.num_samples, strict=True)}
    observed = np.array([drawn.get(tuple(leaf), 0) for leaf in tokens])
    assert observed.sum() == num_samples
    assert observed[probability == 0].sum() == 0
    # Pearson's test at the 0.1 % level; leaves expected less than 5 times are pooled.
    expected = probability * num_samples
    rare = expected < 5
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    observed, expected = observed[expected > 0], expected[expected > 0]
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert statistic < chi2.ppf(0.999, max(len(expected) - 1, 1))


def test_log_prob_is_untempered(make_model, photos):
    model = make_model()
    (found,) = run(model, model.encode(photos(2)), Sampler(50, TokenFilter(0.3, 3, 0.9), seed=5))
    expected = [model.log_prob(2, tuple(map(int, leaf))) for leaf in found.tokens]
    np.testing.assert_allclose(found.log_prob, expected, atol=1e-12)


def test_the_seed_decides(make_model, photos):
    model = make_model()
    memory = model.encode(photos(2))
    one, again, other = (
        run(model, memory, Sampler(30, TokenFilter(), seed))[0].tokens.tolist() for seed in (3, 3, 4)
    )
    assert one == again
    assert one != other


def test_samples_that_share_a_prefix_share_the_work(make_model, photos):
    model = make_model()
    (found,) = run(model, model.encode(photos(2)), Sampler(200, TokenFilter(0.5)))
    prefixes = {tuple(leaf[:length]) for leaf in found.tokens for length in range(model.scheme.length)}
    assert model.num_rows == len(prefixes)
    assert model.num_calls == model.scheme.length


def test_one_sure_leaf_takes_all_samples(make_model, photos):
    model = make_model(lambda key, prefix, size: np.eye(size)[key])
    (found,) = run(model, model.encode(photos(3)), Sampler(40, TokenFilter(top_p=0.5)))
    assert found.tokens.tolist() == [[3, 3, 3, 3]]
    assert found.num_samples.tolist() == [40]
    assert model.num_rows == model.scheme.length
