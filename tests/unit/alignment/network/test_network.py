from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed")

from geotoken.alignment.names import hashed_parts  # noqa: E402
from geotoken.alignment.network.network import FIRST_SCALE, MAX_SCALE  # noqa: E402


def test_the_tower_averages_what_it_looks_up(network):
    rows, starts = hashed_parts(["Lima, Peru", "Peru"], network.config.num_buckets)
    found = network.text_tower((torch.from_numpy(rows), torch.from_numpy(starts[:-1])))
    table = network.text_tower.table.weight
    means = torch.stack([table[rows[a:b]].mean(dim=0) for a, b in pairwise(starts)])
    expected = network.text_tower.head(means)
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True))


def test_a_frozen_encoder_needs_no_table(make_network):
    network = make_network(text_encoder="me/clip", text_encoder_dim=7)
    assert network.text_tower.table is None
    assert network.text_tower((torch.randn(3, 7),)).shape == (3, 5)


def test_forward_gives_all_that_is_compared_and_reaches_every_weight(network):
    rows, starts = hashed_parts(["Lima, Peru", "Peru"], network.config.num_buckets)
    found = network(
        torch.randn(4, 6),
        torch.tensor(np.array([[1.0, 2], [3, 4], [5, 6]])),
        (torch.from_numpy(rows), torch.from_numpy(starts[:-1])),
    )
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    assert shapes == {
        "image_location": (4, 8),
        "image_text": (4, 5),
        "places": (3, 8),
        "texts": (2, 5),
        "scale_location": (),
        "scale_text": (),
    }
    assert found["scale_text"].item() == pytest.approx(FIRST_SCALE)
    sum(value.sum() for value in found.values()).backward()
    assert [name for name, one in network.named_parameters() if one.grad is None] == []


def test_the_temperature_has_a_limit(network):
    with torch.no_grad():
        network.log_scales["location"].fill_(50)
    found = network(torch.randn(1, 6), torch.zeros(1, 2).double())
    assert found["scale_location"].item() == pytest.approx(MAX_SCALE)
