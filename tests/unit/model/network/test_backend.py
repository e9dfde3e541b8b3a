import numpy as np
import pytest
import torch

from geotoken.decoding import DECODERS, DecodingOptions, RegionModel, decode, posterior, score, score_prefixes
from geotoken.errors import InputError
from geotoken.model import collate
from geotoken.model.network import TorchModel
from geotoken.protocol import TokenModel
from geotoken.regions import Region


@pytest.fixture
def network(make_config, make_network, kind):
    return make_network(make_config(kind))


@pytest.fixture
def model(network):
    return TorchModel(network)


@pytest.fixture
def photos(model, evidence):
    return evidence(model.config)


def every_leaf(scheme, num_photos):
    leaves = np.stack(np.meshgrid(*map(np.arange, scheme.vocabulary_sizes), indexing="ij"), axis=-1)
    return np.tile(leaves.reshape(1, -1, scheme.length), (num_photos, 1, 1))


def teacher_forced(network, photos, tokens):
    """Log-probability of leaves, shape (B, C), by whole sequences and without any cache."""
    arrays = {name: torch.from_numpy(a) for name, a in collate(photos, network.config).arrays().items()}
    totals = []
    with torch.inference_mode():
        memory = network.encode(arrays)
        for leaf in range(tokens.shape[1]):
            chosen = torch.from_numpy(tokens[:, leaf])
            log_probs = network.decode(chosen, memory, arrays)
            totals.append(log_probs.gather(2, chosen[..., None])[..., 0].sum(1).numpy())
    return np.stack(totals, axis=1)


def test_it_is_a_token_model(model: TokenModel, photos):
    log_probs = model.step(None, (memory := model.encode(photos)), memory.new_cache())
    assert log_probs.shape == (5, 6)
    assert log_probs.dtype == np.float64
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("decoder", DECODERS)
def test_cached_scores_equal_whole_sequences_without_a_cache(network, model, photos, decoder):
    options = DecodingOptions(decoder=decoder, temperature=0.7, num_samples=20)
    for photo, found in zip(photos, decode(model, photos, options), strict=True):
        expected = teacher_forced(network, [photo], found.tokens[None])[0]
        np.testing.assert_allclose(found.log_prob, expected, atol=1e-4)


def test_all_decoders_agree_on_a_leaf(model, photos):
    for options in (DecodingOptions(decoder=d, temperature=0.3) for d in DECODERS):
        tokens = np.stack([found.tokens[0] for found in decode(model, photos, options)])[:, None]
        log_prob = np.stack([found.log_prob[0] for found in decode(model, photos, options)])
        np.testing.assert_allclose(score(model, photos, tokens)[:, 0], log_prob, atol=1e-5)


def test_a_beam_over_all_leaves_is_exhaustive_search(model, photos):
    tokens = every_leaf(model.scheme, 5)
    log_prob = score(model, photos, tokens)
    np.testing.assert_allclose(np.exp(log_prob).sum(axis=1), 1, atol=1e-5)
    for i, found in enumerate(decode(model, photos, DecodingOptions(beam_width=tokens.shape[1]))):
        order = np.argsort(-log_prob[i], kind="stable")
        np.testing.assert_allclose(found.log_prob, log_prob[i, order], atol=1e-5)
        assert len(np.unique(found.tokens, axis=0)) == tokens.shape[1]


def test_samples_follow_the_distribution(make_config, make_network, evidence):
    """Chi-square at the level 1e-4; the seed is fixed, so the test does not flicker."""
    from scipy.stats import chisquare

    model = TorchModel(make_network(make_config("pointer", level=2)))
    photos = evidence(model.config)[:2]
    num_samples = 20_000
    expected = np.exp(score(model, photos, every_leaf(model.scheme, 2)))
    options = DecodingOptions(decoder="sample", num_samples=num_samples)
    for photo, found in enumerate(decode(model, photos, options)):
        counts = np.zeros(expected.shape[1])
        counts[found.tokens @ [16, 1]] = found.num_samples
        share = expected[photo] / expected[photo].sum()
        frequent = share * num_samples >= 5
        observed = np.append(counts[frequent], counts[~frequent].sum() + 1e-9)
        wanted = np.append(share[frequent], share[~frequent].sum() + 1e-12)
        test = chisquare(observed, wanted / wanted.sum() * observed.sum())
        assert test.pvalue > 1e-4


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_batch_equals_its_photos_in_any_order(model, photos, decoder):
    options = DecodingOptions(decoder=decoder, temperature=0.5)
    together = decode(model, photos, options)
    backward = decode(model, photos[::-1], options)[::-1]
    alone = [decode(model, [photo], options)[0] for photo in photos]
    for one, *others in zip(together, backward, alone, strict=True):
        for other in others:
            np.testing.assert_array_equal(one.tokens, other.tokens)
            np.testing.assert_allclose(one.log_prob, other.log_prob, atol=1e-5)


def test_a_region_constrains_it(model, photos):
    region = Region.bbox(west=-10, south=-40, east=80, north=60)
    inside = RegionModel(model, region)
    memory = inside.encode(photos)
    for i, found in enumerate(decode(inside, memory, DecodingOptions(beam_width=8))):
        placed = inside.place(found, memory.posteriors[i])
        assert region.contains(placed.lat, placed.lng).all()


def test_the_posterior_is_that_of_the_leaves(model, photos):
    tokens = every_leaf(model.scheme, 5)
    log_prob = score(model, photos, tokens)
    for i, whole in enumerate(posterior(model, photos, 1e-9)):
        leaves = model.scheme.to_cells(tokens[i])
        np.testing.assert_allclose(whole.probability_of(leaves), np.exp(log_prob[i]), atol=1e-6)


def test_bfloat16_is_near(network, model, photos):
    half = TorchModel(network, dtype="bfloat16")
    assert network.head_weight.dtype == torch.float32
    tokens = every_leaf(model.scheme, 5)[:, ::97]
    whole, rounded = score_prefixes(model, photos, tokens), score_prefixes(half, photos, tokens)
    assert 0 < np.abs(whole - rounded).max() < 0.1


def test_nodes_are_computed_once_for_all_who_share_them(model, photos):
    memory = model.encode(photos)
    cache = memory.new_cache()
    model.step(None, memory, cache)
    many = cache.expand(30)
    assert many.store.num_nodes == 5
    one = many.reorder(np.arange(0, 150, 30))
    model.step(np.zeros(5, dtype=np.int64), memory, one)
    assert one.store.num_nodes == 10


def test_the_network_is_copied(network, model, photos):
    before = decode(model, photos)[0].log_prob
    with torch.no_grad():
        network.train().decoder[1].feed_forward_out.bias[0] += 0.5
    np.testing.assert_array_equal(decode(model, photos)[0].log_prob, before)
    assert np.abs(decode(TorchModel(network), photos)[0].log_prob - before).max() > 1e-3
    assert network.training


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_works_where_weights_cannot_be_packed(network, model, photos, dtype, monkeypatch):
    monkeypatch.setattr("geotoken.model.network.backend.can_pack", lambda dtype: False)
    plain = TorchModel(network, dtype=dtype)
    assert type(plain.network.decoder[0].feed_forward_in) is torch.nn.Linear
    tokens = every_leaf(model.scheme, 5)[:, ::97]
    difference = np.abs(score(plain, photos, tokens) - score(model, photos, tokens)).max()
    assert difference < (1e-4 if dtype == "float32" else 0.1)


def test_an_unknown_precision_is_refused(network):
    with pytest.raises(InputError, match="float32, bfloat16"):
        TorchModel(network, dtype="float16")
