import numpy as np
import pytest
import torch
from scipy.special import expit

from geotoken import cells
from geotoken.geo import haversine_km
from geotoken.model.grid import ELSEWHERE, WIDTHS_KM
from geotoken.model.network.kernel import KernelPointer
from geotoken.tokens import TokenScheme


@pytest.fixture
def pointer(make_config):
    return KernelPointer(make_config("kernel", level=12))


def logistic_mass(low, high, center, width):
    return expit((high - center) / width) - expit((low - center) / width)


@torch.no_grad()
def test_children_get_the_mass_of_the_kernels_in_them(pointer):
    offset = torch.tensor([[[0.3, 0.8]], [[-0.2, 0.5]]])[:, :, None].expand(2, 1, len(WIDTHS_KM), 2)
    side = torch.tensor([0.25, 0.5])
    spread, near = pointer.spread(torch.zeros(2, 32), torch.zeros(2, 1), offset, torch.tensor([0, 3]), side)
    edges = np.arange(5) / 4
    bias = pointer.scale_bias.bias.numpy().astype(np.float64)
    for row in range(2):
        total = np.zeros((4, 4))
        for s, width in enumerate(pointer.log_width.exp().numpy().astype(np.float64)):
            i, j = (
                logistic_mass(edges[:-1], edges[1:], float(offset[row, 0, s, axis]), width / float(side[row]))
                for axis in range(2)
            )
            total += np.exp(bias[s]) * i[:, None] * j
        expected = (total / total.sum()).reshape(-1)[pointer.place[[0, 3][row]].numpy()]
        np.testing.assert_allclose(spread[row].exp().numpy(), expected, rtol=2e-3, atol=1e-6)
    assert near.all()


@torch.no_grad()
def test_the_likeliest_child_is_the_item_s_own(pointer):
    scheme = TokenScheme(12, 2)
    tokens = torch.from_numpy(scheme.encode(*np.random.default_rng(2).uniform(-70, 70, (2, 20))))
    corner, orientation = pointer.walk(tokens)
    place = corner[:, -1] + pointer.leaf_side / 2
    side = torch.tensor(2.0**-8)  # of the cells whose children the sixth token chooses among
    offset = ((place - corner[:, 4]) / side).float()[:, None, None].expand(20, 1, len(WIDTHS_KM), 2)
    spread, _ = pointer.spread(torch.zeros(20, 32), torch.zeros(20, 1), offset, orientation[:, 4], side)
    assert (spread.argmax(dim=1) == tokens[:, 5]).float().mean() > 0.9


@torch.no_grad()
def test_kernels_move_to_the_mean_of_items_that_are_near(pointer):
    scheme = TokenScheme(12, 2)
    lat, lng = np.array([[10.0, 10.02, 10.0, 40.0]]), np.array([[20.0, 20.0, 20.03, 20.0]])
    tokens = torch.from_numpy(scheme.encode(lat, lng))
    mask = torch.tensor([[True, True, True, True]])
    moved = (pointer.walk(tokens)[0][:, :, -1, None] + pointer.shift(tokens, mask))[0]
    wide, narrow = moved[:3, 3], moved[:3, 0]
    assert float(wide.std(dim=0).max()) < 0.1 * float(narrow.std(dim=0).max())
    torch.testing.assert_close(pointer.shift(tokens, mask)[0, 3, :4], torch.zeros(4, 2))
    alone = torch.tensor([[True, False, False, False]])
    assert not pointer.shift(tokens, alone)[0, 0].any()
    spacing_km = haversine_km(lat[0, 0], lng[0, 0], lat[0, 1], lng[0, 1])
    assert spacing_km < 4 * WIDTHS_KM[3]


@torch.no_grad()
def test_items_elsewhere_do_not_count(pointer):
    x, orientation, side = torch.zeros(1, 32), torch.tensor([1]), torch.tensor(0.25)
    here = torch.full((1, 1, len(WIDTHS_KM), 2), 0.4)
    both = torch.cat([here, torch.full_like(here, ELSEWHERE)], dim=1)
    one, _ = pointer.spread(x, torch.zeros(1, 1), here, orientation, side)
    other, near = pointer.spread(x, torch.zeros(1, 2), both, orientation, side)
    torch.testing.assert_close(one, other)
    assert near.all()
    _, near = pointer.spread(x, torch.zeros(1, 1), torch.full_like(here, ELSEWHERE), orientation, side)
    assert not near.any()


def test_widths_are_kilometers_on_a_face(pointer):
    width = pointer.log_width.exp().detach().numpy()
    across_km = np.sqrt(cells.area_km2(cells.from_lat_lng(0.0, 0.0, 0)))
    np.testing.assert_allclose(width * across_km, WIDTHS_KM, rtol=0.15)


@torch.no_grad()
def test_kernels_alone_leave_the_generator_the_face_and_what_has_no_items(make_config):
    log_probs, around = (torch.rand(2, 16).log_softmax(dim=1) for _ in range(2))
    near = torch.tensor([[True], [False]])
    x = torch.randn(2, 32)
    joined = KernelPointer(make_config("kernel", head="kernel_only")).join(log_probs, x, around, near, None)
    torch.testing.assert_close(joined, torch.stack([around[0], log_probs[1]]))
    mixed = KernelPointer(make_config("kernel")).join(log_probs, x, around, near, None)
    assert not torch.allclose(mixed[0], around[0])
