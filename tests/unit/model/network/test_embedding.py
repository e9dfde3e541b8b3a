import dataclasses

import pytest
import torch

from geotoken.model.network.embedding import EvidenceEmbedding, relative
from geotoken.model.network.layers import sinusoid


@torch.no_grad()
def test_positions_are_as_many_as_the_configuration_says(make_config, evidence, tensors, kind):
    config = make_config(kind)
    photos = evidence(config)
    x, present = EvidenceEmbedding(config)(tensors(photos, config))
    num_items = max(len(e.neighbor_lat) + min(len(e.guess_lat), config.num_guesses) for e in photos)
    assert x.shape == (5, config.num_positions(num_items), 32)
    assert present.shape == x.shape[:2]
    assert present[:, 0].all()


@torch.no_grad()
def test_the_full_layout_is_that_of_the_paper(make_config, evidence, tensors):
    config = make_config("paper")
    arrays = tensors(evidence(config), config)
    embedding = EvidenceEmbedding(config)
    x, present = embedding(arrays)
    # summary, image, text, and of each of three neighbors image, text and three tokens
    assert x.shape[1] == 1 + 2 + 3 * (2 + 3)
    assert present[0].all()
    assert present[1].tolist() == [True] + [False] * 2 + [False, False, True, True, True] + [False] * 10
    token = int(arrays["item_tokens"][0, 1, 2])
    expected = embedding.tokens.weight[6 + 16 + token] + sinusoid(torch.arange(18), 32)[3 + 5 + 2 + 2]
    torch.testing.assert_close(x[0, 3 + 5 + 2 + 2], expected)
    image = embedding.vectors["image"](arrays["item_image"][0, 1]) + sinusoid(torch.arange(18), 32)[3 + 5]
    torch.testing.assert_close(x[0, 3 + 5], image)


@torch.no_grad()
def test_scaled_vectors_have_the_size_of_embeddings_whatever_their_own(make_config, evidence, tensors):
    config = make_config("pooled")
    embedding = EvidenceEmbedding(config)
    arrays = tensors(evidence(config), config)
    x, _ = embedding(arrays)
    larger = {n: a * 7 if n in ("query_image", "item_text") else a for n, a in arrays.items()}
    torch.testing.assert_close(embedding(larger)[0], x, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("switch", "name"),
    [
        ("rank_embedding", "item_rank"),
        ("similarity_embedding", "item_similarity"),
        ("modality_embedding", "item_kind"),
    ],
)
def test_switched_off_means_not_told(make_config, evidence, tensors, switch, name):
    config = make_config("pointer", num_guesses=0)
    arrays = tensors(evidence(config), config)
    changed = arrays | {name: 1 - arrays[name].clamp(0, 1)}
    for wanted in (True, False):
        embedding = EvidenceEmbedding(dataclasses.replace(config, **{switch: wanted}))
        assert torch.equal(embedding(arrays)[0], embedding(changed)[0]) != wanted


def test_relative_similarities_are_those_among_the_known():
    similarity = torch.tensor([[0.80, 0.82, 0.84, 0.0], [0.5, 0.0, 0.0, 0.0]])
    known = torch.tensor([[True, True, True, False], [True, False, False, False]])
    found = relative(similarity, known)
    step = 1.5**0.5  # of three in a row, in standard deviations
    expected = torch.tensor([[[-0.4, -step], [0.0, 0.0], [0.4, step], [0.0, 0.0]], [[0.0, 0.0]] * 4])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
