"""GeoCLIP's real places and their vectors by its real location encoder.

Owns reading them out of the package, and a file that keeps the vectors; must not know what is made of them.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geotoken.backbones.geoclip_package import read_points
from geotoken.backbones.network.geoclip import load_geoclip

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


class LocationVectors:
    """Places and their unit vectors."""

    def __init__(self, package: Path, kept: Path) -> None:
        """Read the places and compute their vectors, unless they are kept already.

        Args:
            package: The wheel of geoclip, or the folder it was unpacked to.
            kept: File of the vectors, made if absent.
        """
        points = np.unique(read_points(package), axis=0)
        self.lat, self.lng = np.ascontiguousarray(points.T)
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, _embed(package, points))
        self.vectors: Singles = np.load(kept)

    def of(self, lat: Floats, lng: Floats) -> Singles:
        """Vectors of places that are among these.

        Args:
            lat: Latitudes in degrees, shape (N,).
            lng: Longitudes in degrees, shape (N,).

        Returns:
            Unit vectors, shape (N, L).
        """
        row = np.searchsorted(self.lat + 1j * self.lng, lat + 1j * lng)  # complex numbers sort as pairs
        assert np.array_equal(self.lat[row], lat)
        return self.vectors[row]


@torch.inference_mode()
def _embed(package: Path, points: Floats) -> Singles:
    encoder = load_geoclip(package).location_encoder
    vectors = [encoder(part) for part in torch.from_numpy(points).float().split(4096)]
    found: Singles = torch.nn.functional.normalize(torch.cat(vectors), dim=1).numpy()
    return found
