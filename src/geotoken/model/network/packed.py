"""Linear layers whose weights lie as oneDNN multiplies them fastest on this processor.

Owns the packed weights; must not know the network they belong to.
"""

import torch
from torch import Tensor, nn


class PackedLinear(nn.Module):
    """A linear layer for inference on the CPU; its weights are laid out once instead of at every product.

    References:
        The operators are those that the compiler of PyTorch puts in place of a linear layer when it freezes
        a network: torch/_inductor/fx_passes/mkldnn_fusion.py.
    """

    def __init__(self, linear: nn.Linear) -> None:
        """Pack a layer.

        Args:
            linear: The layer, on the CPU; its weights are copied.
        """
        super().__init__()
        self.bias = linear.bias
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Multiply, from shape (..., D) to shape (..., D')."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return found


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of PyTorch has oneDNN with its operators, and this processor multiplies so.

    Args:
        dtype: Type of the weights, float32 or bfloat16.

    Returns:
        False where layers are to be left as they are.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack_linears(module: nn.Module) -> None:
    """Replace every linear layer inside a module, in place, by a packed one of the same weights.

    Args:
        module: Layers on the CPU, for inference only from now on.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child))
        else:
            pack_linears(child)
