import pytest
import torch
from torch import nn

from geotoken.model.network.packed import PackedLinear, can_pack, pack_linears

pytestmark = pytest.mark.skipif(
    not can_pack(torch.bfloat16), reason="no oneDNN in this PyTorch, or no bfloat16 on this processor"
)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 48), (7, 48), (200, 48), (2, 5, 48), (0, 48)])
def test_products_are_those_of_the_layer(dtype, shape):
    linear = nn.Linear(48, 80).to(dtype)
    x = torch.randn(shape).to(dtype)
    torch.testing.assert_close(
        PackedLinear(linear)(x), linear(x), atol=1e-5 if dtype == torch.float32 else 2e-2, rtol=1e-2
    )


@torch.inference_mode()
def test_part_of_a_wider_tensor_is_read_right():
    linear = nn.Linear(48, 16)
    x = torch.randn(5, 100)[:, 30:78]
    torch.testing.assert_close(PackedLinear(linear)(x), linear(x))


@torch.inference_mode()
def test_every_linear_layer_inside_is_packed():
    network = nn.Sequential(nn.Linear(8, 8), nn.ModuleList([nn.LayerNorm(8), nn.Linear(8, 3)]))
    pack_linears(network)
    assert [type(m) for m in network.modules() if not list(m.children())] == [
        PackedLinear,
        nn.LayerNorm,
        PackedLinear,
    ]
