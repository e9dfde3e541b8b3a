"""Where on Earth as a vector: random Fourier features at several scales on an equal-area map.

Owns the map and the layers; must not know images, or where weights come from.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from geotoken.alignment.config import GEOCLIP_SCALES

_POLYNOMIAL: Final = (1.340264, -0.081106, 0.000893, 0.003796)  # A1..A4, Savric et al. 2018, section 3
_MAP_SCALE: Final = 66.50336  # GeoCLIP's unit of the map is 180 / 66.50336 of the projection's


def equal_earth(lat_lng: Tensor) -> Tensor:
    """Project places onto the Equal Earth map, in GeoCLIP's unit.

    Args:
        lat_lng: Latitude and longitude in degrees, shape (B, 2).

    Returns:
        East and north on the map, shape (B, 2): about -1 to 1, and -0.49 to 0.49.

    References:
        Savric, Patterson, Jenny, "The Equal Earth map projection", IJGIS 33 (2019), equations 1 to 3; the
        unit is that of Vivanco Cepeda et al., "GeoCLIP", NeurIPS 2023.
    """
    a1, a2, a3, a4 = _POLYNOMIAL
    lat, lng = torch.deg2rad(lat_lng).unbind(1)
    root3 = torch.sqrt(lat.new_tensor(3.0))
    theta = torch.asin(root3 / 2 * torch.sin(lat))  # the parametric latitude
    slope = 9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1  # of north by theta
    east = 2 * root3 * lng * torch.cos(theta) / (3 * slope)
    north = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    # Multiplied, then divided, as when the weights were trained: one rounding less turns the finest features.
    return torch.stack((east, north), dim=1) * _MAP_SCALE / 180


class FourierFeatures(nn.Module):
    """Cosines and sines of places along random directions, with fixed frequencies."""

    def __init__(self, scale: float, num_frequencies: int) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.randn(num_frequencies, 2) * scale)

    def forward(self, places: Tensor) -> Tensor:
        """Encode places.

        Args:
            places: On the map, shape (B, 2); phases are computed in their precision.

        Returns:
            All cosines, then all sines, shape (B, 2 F), in that of the frequencies.

        References:
            Tancik et al., "Fourier features let networks learn high frequency functions", NeurIPS 2020.
        """
        phase = 2 * math.pi * places @ self.frequencies.to(places.dtype).T
        return torch.cat((torch.cos(phase), torch.sin(phase)), dim=-1).to(self.frequencies.dtype)


class LocationEncoder(nn.Module):
    """GeoCLIP's location encoder: one perceptron a scale, their outputs summed.

    At the finest scale a place is a phase of some thousand radians, which float32 knows to 1e-4 only; weights
    that were trained so can live with it. Places in float64 give phases that all libraries agree on.
    """

    def __init__(
        self,
        *,
        scales: Sequence[float] = GEOCLIP_SCALES,
        num_frequencies: int = 256,
        width: int = 1024,
        num_hidden: int = 3,
        dim: int = 512,
    ) -> None:
        """Make the layers, randomly initialised.

        Args:
            scales: Standard deviations of the frequencies, per unit of the map.
            num_frequencies: Frequencies F of each scale.
            width: Length of the hidden vectors.
            num_hidden: Hidden layers of each scale, at least 1.
            dim: Length D of the vectors.
        """
        super().__init__()
        self.dim = dim
        self.shape: dict[str, Any] = {
            "scales": tuple(scales),
            "num_frequencies": num_frequencies,
            "width": width,
            "num_hidden": num_hidden,
        }
        self.branches = nn.ModuleList()
        for scale in scales:
            layers: list[nn.Module] = [FourierFeatures(scale, num_frequencies)]
            inside = 2 * num_frequencies
            for _ in range(num_hidden):
                layers += [nn.Linear(inside, width), nn.ReLU()]
                inside = width
            self.branches.append(nn.Sequential(*layers, nn.Linear(inside, dim)))

    def forward(self, lat_lng: Tensor) -> Tensor:
        """Encode places.

        Args:
            lat_lng: Latitude and longitude in degrees, shape (B, 2), float32 or float64.

        Returns:
            Vectors, shape (B, D), not normalised.
        """
        places = equal_earth(lat_lng)
        vectors: Tensor = self.branches[0](places)
        for branch in self.branches[1:]:
            vectors = vectors + branch(places)
        return vectors
