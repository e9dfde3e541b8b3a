"""The plain loops of benchmarks/naive.py against the real decoders, on a small transformer."""

import numpy as np
import pytest
import torch

from geotoken.decoding import DecodingOptions, decode, score
from geotoken.evidence import Evidence
from geotoken.model import ModelConfig
from geotoken.model.network import GeoTokenModel, TorchModel
from naive import NaiveDecoder


@pytest.fixture(scope="module", params=["generator", "pointer"])
def network(request):
    torch.manual_seed(1)
    size = {"width": 32, "num_encoder_layers": 2, "num_decoder_layers": 2, "num_heads": 4, "feed_forward": 48}
    return GeoTokenModel(ModelConfig(**size, level=8, num_neighbors=5, num_guesses=2, head=request.param))


@pytest.fixture(scope="module")
def photos():
    random = np.random.default_rng(0)
    return [
        Evidence(
            neighbor_lat=random.uniform(-60, 60, count),
            neighbor_lng=random.uniform(-170, 170, count),
            neighbor_rank=np.arange(1.0, count + 1),
        )
        for count in (5, 0, 2)
    ]


@pytest.mark.parametrize(("decoder", "beam_width"), [("greedy", 1), ("beam", 1), ("beam", 5)])
def test_greedy_and_beam_find_what_the_plain_loop_finds(network, photos, decoder, beam_width):
    slow = NaiveDecoder(network, photos)
    tokens, totals = slow.greedy() if decoder == "greedy" else slow.beam(beam_width)
    found = decode(TorchModel(network), photos, DecodingOptions(decoder=decoder, beam_width=beam_width))
    for photo, one in enumerate(found):
        order = np.argsort(-totals[photo], kind="stable")
        np.testing.assert_array_equal(one.tokens, tokens[photo][order])
        np.testing.assert_allclose(one.log_prob, totals[photo][order], atol=1e-4)


def test_samples_of_the_plain_loop_have_the_score_of_a_pass_with_cache(network, photos):
    tokens, totals = NaiveDecoder(network, photos).sample(4, seed=3)
    np.testing.assert_allclose(score(TorchModel(network), photos, tokens), totals, atol=1e-4)
