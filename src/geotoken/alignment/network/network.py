"""Heads for image vectors, an encoder for locations and a tower for texts, with two learned temperatures.

Owns the layers; must not know losses or where data comes from.
Dimension letters: B photos, L places, U texts, P parts of words, D width of a common space.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from geotoken.alignment.config import AlignmentConfig
from geotoken.alignment.network.head import ProjectionHead
from geotoken.alignment.network.location import LocationEncoder

FIRST_SCALE: Final = 1 / 0.07
"""What similarities are multiplied with before anything is learnt; as CLIP (Radford et al. 2021)."""

MAX_SCALE: Final = 100.0
"""What they are multiplied with at most; as CLIP."""

_TEXT_HIDDEN: Final = (512,)  # of the tower, where heads have no hidden layers to be like


class TextTower(nn.Module):
    """Texts to vectors: word parts averaged from a table, or the vectors of a frozen encoder; then a head."""

    def __init__(self, config: AlignmentConfig) -> None:
        """Make the layers, randomly initialised.

        Args:
            config: The configuration; it has texts.
        """
        super().__init__()
        self.table: nn.EmbeddingBag | None = None
        given = config.text_encoder_dim
        if config.text_encoder is None:
            self.table = nn.EmbeddingBag(config.num_buckets, config.bucket_width, mode="mean")
            given = config.bucket_width
        self.head = ProjectionHead([given, *(config.hidden or _TEXT_HIDDEN), config.text_dim])

    def forward(self, texts: tuple[Tensor, ...]) -> Tensor:
        """Encode U texts.

        Args:
            texts: Rows of the table, shape (P,), and where each text begins, shape (U,); or, after a frozen
                encoder, its vectors alone, shape (U, its length).

        Returns:
            Vectors of length 1, shape (U, D).
        """
        vectors = self.table(*texts) if self.table is not None else normalize(texts[0], dim=1)
        return normalize(self.head(vectors), dim=1)


class AlignmentNetwork(nn.Module):
    """The whole alignment; `geotoken.alignment.Alignment` computes the same without PyTorch."""

    def __init__(self, config: AlignmentConfig) -> None:
        """Make the layers, randomly initialised.

        Args:
            config: The configuration.
        """
        super().__init__()
        self.config = config
        self.heads = nn.ModuleDict(
            {name: ProjectionHead(config.head_widths(name)) for name in config.modalities}
        )
        self.location_encoder = LocationEncoder(
            scales=config.scales,
            num_frequencies=config.num_frequencies,
            width=config.width,
            num_hidden=config.num_hidden,
            dim=config.dim,
        )
        self.text_tower = TextTower(config) if config.has_text else None
        self.log_scales = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(math.log(FIRST_SCALE))) for name in config.modalities}
        )

    def project(self, vectors: Tensor) -> dict[str, Tensor]:
        """Turn image vectors into aligned ones.

        Args:
            vectors: Image vectors, shape (B, their length).

        Returns:
            By name, as `config.modalities`, vectors of length 1, shape (B, D).
        """
        units = normalize(vectors, dim=1)
        return {name: normalize(head(units), dim=1) for name, head in self.heads.items()}

    def embed_places(self, lat_lng: Tensor) -> Tensor:
        """GPS vectors of places.

        Args:
            lat_lng: Latitude and longitude in degrees, shape (L, 2), float64.

        Returns:
            Vectors of length 1, shape (L, D).
        """
        return normalize(self.location_encoder(lat_lng), dim=1)

    def forward(
        self, vectors: Tensor, lat_lng: Tensor, texts: tuple[Tensor, ...] | None = None
    ) -> dict[str, Tensor]:
        """All that the losses compare.

        Args:
            vectors: Image vectors, shape (B, their length).
            lat_lng: Places in degrees, shape (L, 2), float64.
            texts: As `TextTower` takes them; needed if the alignment has texts.

        Returns:
            Vectors of length 1: `image_location` and `image_text`, shape (B, D); `places`, shape (L, D);
            `texts`, shape (U, D). And what similarities are multiplied with: `scale_location` and
            `scale_text`, shape ().
        """
        found = {f"image_{name}": value for name, value in self.project(vectors).items()}
        found["places"] = self.embed_places(lat_lng)
        if self.text_tower is not None and texts is not None:
            found["texts"] = self.text_tower(texts)
        for name, value in self.log_scales.items():
            found[f"scale_{name}"] = value.exp().clamp(max=MAX_SCALE)
        return found
