import pytest
import torch

from geotoken.model import ModelConfig
from geotoken.model.network import GeoTokenModel


@torch.no_grad()
def test_every_position_is_a_distribution_over_its_vocabulary(
    make_config, make_network, evidence, tensors, kind
):
    config = make_config(kind)
    network = make_network(config)
    arrays = tensors(evidence(config), config)
    tokens = torch.randint(6, (5, 3))
    log_probs = network.decode(tokens, network.encode(arrays), arrays)
    assert log_probs.shape == (5, 3, 16)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(5, 3))
    assert torch.isneginf(log_probs[:, 0, 6:]).all()
    assert torch.isfinite(log_probs[:, 1:]).all()


@torch.no_grad()
def test_a_token_does_not_see_itself_or_what_follows(make_config, make_network, evidence, tensors, kind):
    config = make_config(kind)
    network = make_network(config)
    arrays = tensors(evidence(config), config)
    memory = network.encode(arrays)
    tokens = torch.randint(6, (5, 3))
    other = tokens.clone()
    other[:, 1:] = (other[:, 1:] + 1) % 6
    before, after = network.decode(tokens, memory, arrays), network.decode(other, memory, arrays)
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


@torch.no_grad()
def test_padding_and_photos_beside_one_do_not_matter(make_config, make_network, evidence, tensors, kind):
    config = make_config(kind)
    network = make_network(config)
    photos = evidence(config)
    tokens = torch.randint(6, (5, 3))
    arrays = tensors(photos, config)
    together = network.decode(tokens, network.encode(arrays), arrays)
    for i, photo in enumerate(photos):
        alone = tensors([photo], config)
        one = network.decode(tokens[i : i + 1], network.encode(alone), alone)
        torch.testing.assert_close(one[0], together[i], atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["paper", "pointer"])
def test_a_complete_batch_needs_no_mask(make_config, make_network, evidence, tensors, kind):
    config = make_config(kind)
    network = make_network(config)
    photos = evidence(config)[:1] * 2
    arrays = tensors(photos, config)
    memory = network.encode(arrays, complete=True)
    assert memory.mask is None
    tokens = torch.randint(6, (2, 3))
    expected = network.decode(tokens, network.encode(arrays), arrays)
    torch.testing.assert_close(network.decode(tokens, memory, arrays), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_masked_vectors_are_not_read(make_config, make_network, evidence, tensors):
    config = make_config("paper")
    network = make_network(config)
    arrays = tensors(evidence(config), config)
    noise = {
        name: arrays[name] + 100 * ~arrays[present][..., m, None]
        for m, modality in enumerate(("image", "text"))
        for name, present in (
            (f"query_{modality}", "query_present"),
            (f"item_{modality}", "item_present"),
        )
    }
    tokens = torch.randint(6, (5, 3))
    torch.testing.assert_close(
        network.decode(tokens, network.encode(arrays), arrays),
        network.decode(tokens, network.encode(arrays | noise), arrays),
    )


def test_every_weight_learns(make_config, make_prior, evidence, tensors, kind):
    config = make_config(kind)
    network = GeoTokenModel(config, make_prior(config))
    arrays = tensors(evidence(config), config)
    tokens = arrays["item_tokens"][:, 0]  # so that there is something to copy
    arrays["item_tokens"][:, 1, :2] = tokens[:, :2]  # and other items near it
    log_probs = network.decode(tokens, network.encode(arrays), arrays)
    (-log_probs.gather(2, tokens[..., None])).mean().backward()
    silent = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or not torch.isfinite(weight.grad).all() or not weight.grad.any()
    ]
    assert silent == []


def test_the_layers_of_the_paper_have_its_size():
    with torch.device("meta"):  # shapes without numbers
        network = GeoTokenModel(ModelConfig.paper())
    matrices = sum(p.numel() for name, p in network.named_parameters() if "coder." in name and p.ndim == 2)
    feed_forward = 2 * 512 * 1024
    assert matrices == 10 * (4 * 512**2 + feed_forward) + 10 * (8 * 512**2 + feed_forward)


def test_a_world_prior_is_given_if_it_is_asked_for(make_config, make_prior):
    with pytest.raises(TypeError, match="world_prior"):
        GeoTokenModel(make_config("world"))
    with pytest.raises(TypeError, match="world_prior"):
        GeoTokenModel(make_config("kernel"), make_prior(make_config("world")))
