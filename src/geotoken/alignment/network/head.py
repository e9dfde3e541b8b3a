"""A small perceptron between a backbone's vector and another space.

Owns its layers and its file; must not know which space that is.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from geotoken.errors import ArtifactError, reason_of
from geotoken.tensors import save_weights


class ProjectionHead(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, widths: Sequence[int]) -> None:
        """Make the layers, randomly initialised.

        Args:
            widths: Length of the input, of each hidden vector, and of the output; one alone changes nothing.
        """
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    @property
    def widths(self) -> tuple[int, ...]:
        """Length of the input, of each hidden vector, and of the output."""
        weights = [parameter for parameter in self.parameters() if parameter.ndim == 2]
        return (weights[0].shape[1], *(weight.shape[0] for weight in weights))

    def forward(self, vectors: Tensor) -> Tensor:
        """Project vectors.

        Args:
            vectors: Shape (B, D).

        Returns:
            Shape (B, D'), not normalised.
        """
        for number, layer in enumerate(self.layers):
            vectors = layer(torch.relu(vectors) if number else vectors)
        return vectors

    def save(self, path: Path) -> None:
        """Write the weights as safetensors.

        Args:
            path: The file.
        """
        save_weights(self, path)

    @classmethod
    def load(cls, path: Path) -> "ProjectionHead":
        """Read weights written by `save`.

        Args:
            path: The file.

        Returns:
            The head.

        Raises:
            ArtifactError: It is missing, damaged, or something else.
        """
        try:
            weights = load_file(path)
            shapes = [weights[f"layers.{number}.weight"].shape for number in range(len(weights) // 2)]
            head = cls([shapes[0][1], *(shape[0] for shape in shapes)])
            head.load_state_dict(weights)
        except (OSError, SafetensorError, KeyError, IndexError, RuntimeError) as error:
            raise ArtifactError(
                f"{path} is not a projection head ({reason_of(error)}); install the model again"
            ) from error
        return head
