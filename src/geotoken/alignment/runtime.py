"""Aligned vectors in numpy: of photos, from their image vectors, and of places.

Owns the arithmetic of a trained alignment, without PyTorch; must not know how it was trained.
Dimension letters: N photos or places, F frequencies, D width of the common space.
"""

import os
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geotoken.alignment.config import CONFIG_FILE, FORMAT_VERSION, KIND, WEIGHTS_FILE, AlignmentConfig
from geotoken.alignment.weights import read_weights
from geotoken.errors import ArtifactError, InputError
from geotoken.geo import check_lat_lng
from geotoken.manifest import verify_manifest

Singles = NDArray[np.float32]
Floats = NDArray[np.float64]

_POLYNOMIAL: Final = (1.340264, -0.081106, 0.000893, 0.003796)  # A1..A4 of the Equal Earth map
_MAP_SCALE: Final = 66.50336 / 180
_TOGETHER: Final = 4096  # places computed at once; bounds memory


class Alignment:
    """The heads and the location encoder of a trained alignment. Safe for threads."""

    def __init__(self, config: AlignmentConfig, weights: dict[str, Singles]) -> None:
        """Take weights into use; see `load`.

        Args:
            config: The configuration.
            weights: Arrays by their names in the network, each of the shape it has there.

        Raises:
            ArtifactError: An array is missing or of another shape.
        """
        self.config = config
        self._heads = {
            name: _layers(weights, f"heads.{name}.layers", config.head_widths(name))
            for name in config.modalities
        }
        inside = (2 * config.num_frequencies, *[config.width] * config.num_hidden, config.dim)
        self._branches = []
        for branch in range(len(config.scales)):
            name = f"location_encoder.branches.{branch}"
            frequencies = _array(weights, f"{name}.0.frequencies", (config.num_frequencies, 2))
            layers = _layers(weights, name, inside, first=1, step=2)
            self._branches.append((frequencies.astype(np.float64), layers))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Alignment":
        """Load an alignment folder, its manifest verified.

        Args:
            folder: A folder with `align.json`, `align.safetensors` and `manifest.json`.

        Returns:
            The alignment.

        Raises:
            ArtifactError: A file is missing or damaged, or a newer geotoken made the folder.
        """
        root = Path(folder)
        listed = verify_manifest(root, KIND, FORMAT_VERSION)["files"]
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if name not in listed:
                raise ArtifactError(f"{root}/manifest.json has no {name}; train or fetch the alignment again")
        return cls(AlignmentConfig.load(root / CONFIG_FILE), read_weights(root / WEIGHTS_FILE))

    def check_encoder(self, name: str, dim: int) -> None:
        """Refuse image vectors that it was not trained on.

        Args:
            name: Name of the encoder that makes them.
            dim: Their length.

        Raises:
            ArtifactError: It was trained on those of another encoder.
        """
        if (name, dim) != (self.config.image_encoder, self.config.image_dim):
            raise ArtifactError(
                f'the alignment was trained on vectors of encoder "{self.config.image_encoder}" '
                f'({self.config.image_dim} numbers), not "{name}" ({dim}); train it on that one'
            )

    def project(self, vectors: NDArray[np.floating]) -> dict[str, Singles]:
        """Turn image vectors into aligned ones.

        Args:
            vectors: Image vectors, shape (N, `config.image_dim`), of any length but 0.

        Returns:
            "location", shape (N, `config.dim`), and, if texts were learnt, "text", shape
            (N, `config.text_dim`); float32, of length 1.

        Raises:
            InputError: The vectors are of another shape.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.config.image_dim:
            raise InputError(
                f"image vectors have shape {vectors.shape}; give rows of {self.config.image_dim} numbers"
            )
        units = to_units(vectors.astype(np.float32))
        return {name: to_units(_perceptron(units, layers)) for name, layers in self._heads.items()}

    def embed_places(self, lat: ArrayLike, lng: ArrayLike) -> Singles:
        """GPS vectors of places; the dot product with "location" says how well a photo fits a place.

        Args:
            lat: Latitude in degrees, shape (N,) or a number.
            lng: Longitude in degrees, shape (N,) or a number.

        Returns:
            Vectors, shape (N, `config.dim`), float32, of length 1.

        Raises:
            InputError: A coordinate is not finite or out of range.
        """
        lats, lngs = (np.atleast_1d(values).reshape(-1) for values in check_lat_lng(lat, lng))
        found = np.empty((len(lats), self.config.dim), dtype=np.float32)
        for start in range(0, len(lats), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            found[part] = self._embed(equal_earth(lats[part], lngs[part]))
        return found

    def _embed(self, places: Floats) -> Singles:
        vectors = np.zeros((len(places), self.config.dim), dtype=np.float32)
        for frequencies, layers in self._branches:
            phase = 2 * np.pi * places @ frequencies.T  # (N, F)
            waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1).astype(np.float32)
            vectors += _perceptron(waves, layers)
        return to_units(vectors)


def equal_earth(lat: Floats, lng: Floats) -> Floats:
    """Project places onto the Equal Earth map, in the unit of `network.location`.

    Args:
        lat: Latitude in degrees, shape (N,).
        lng: Longitude in degrees, shape (N,).

    Returns:
        East and north, shape (N, 2).

    References:
        Savric, Patterson, Jenny, "The Equal Earth map projection", IJGIS 33 (2019), equations 1 to 3.
    """
    a1, a2, a3, a4 = _POLYNOMIAL
    root3 = np.sqrt(3.0)
    theta = np.arcsin(root3 / 2 * np.sin(np.radians(lat)))
    slope = 9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1
    east = 2 * root3 * np.radians(lng) * np.cos(theta) / (3 * slope)
    north = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return np.stack([east, north], axis=1) * _MAP_SCALE


def to_units(vectors: Singles) -> Singles:
    """Scale rows to length 1.

    Args:
        vectors: Vectors, shape (N, D).

    Returns:
        Vectors, shape (N, D); one of zeros stays as it is.
    """
    norm = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    scaled: Singles = vectors / np.maximum(norm, np.float32(1e-12))[:, None]
    return scaled


def _perceptron(vectors: Singles, layers: list[tuple[Singles, Singles]]) -> Singles:
    """Linear layers with ReLU between them."""
    for number, (weight, bias) in enumerate(layers):
        vectors = (np.maximum(vectors, 0) if number else vectors) @ weight.T + bias
    return vectors


def _layers(
    weights: dict[str, Singles], name: str, widths: tuple[int, ...], first: int = 0, step: int = 1
) -> list[tuple[Singles, Singles]]:
    """Weights and biases of the layers between widths, named NAME.0, NAME.1 or with other numbers."""
    return [
        (
            _array(weights, f"{name}.{first + step * i}.weight", (widths[i + 1], widths[i])),
            _array(weights, f"{name}.{first + step * i}.bias", (widths[i + 1],)),
        )
        for i in range(len(widths) - 1)
    ]


def _array(weights: dict[str, Singles], name: str, shape: tuple[int, ...]) -> Singles:
    """One array.

    Raises:
        ArtifactError: It is missing or of another shape.
    """
    array = weights.get(name)
    if array is None or array.shape != shape:
        found = "missing" if array is None else f"of shape {array.shape}"
        raise ArtifactError(
            f"the alignment's weights {name} are {found}, not {shape}; train or fetch it again"
        )
    return array
