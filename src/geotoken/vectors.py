"""Vectors of a photo and of its neighbors as evidence, for heads that read them, and what they say of places.

Owns which vector comes from where; must not know heads beyond the names of the vectors they read.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.alignment import Alignment
from geotoken.alignment.runtime import to_units
from geotoken.errors import ArtifactError
from geotoken.evidence import Evidence
from geotoken.gallery import Gallery, Neighbors
from geotoken.protocol import TokenModel

IMAGE: Final = "image"
"""Name of the encoder's own vector; the others are an alignment's."""

Singles = NDArray[np.float32]


def modalities_of(model: TokenModel) -> tuple[str, ...]:
    """Names of the vectors that a head reads.

    Args:
        model: The head.

    Returns:
        The names in its configuration; none for the mixture, which reads no vectors.
    """
    modalities = getattr(getattr(model, "config", None), "modalities", ())
    return tuple(str(name) for name, _ in modalities)


def check_modalities(model: TokenModel, alignment: Alignment | None, name: str) -> None:
    """Refuse a model that lacks what its head reads.

    Args:
        model: The head.
        alignment: The model's alignment, if it has one.
        name: Name of the model.

    Raises:
        ArtifactError: A vector that the head reads comes from nowhere.
    """
    known = (IMAGE, *(alignment.config.modalities if alignment else ()))
    unknown = [one for one in modalities_of(model) if one not in known]
    if unknown:
        raise ArtifactError(
            f"the head of {name} reads {unknown[0]} vectors, but the model gives {' and '.join(known)}; put "
            "the alignment that it was trained with into its folder align, or install the model again"
        )


class VectorSource:
    """Where the vectors that a head reads come from: the encoder, the gallery, and an alignment of both."""

    def __init__(self, gallery: Gallery, alignment: Alignment | None, modalities: Sequence[str]) -> None:
        """Remember them.

        Args:
            gallery: Where neighbors lie.
            alignment: Turns image vectors into the others; needed if others are asked for.
            modalities: Names of the vectors that the head reads.
        """
        self._gallery = gallery
        self._alignment = alignment
        self._modalities = tuple(modalities)

    def add_vectors(self, neighbors: Neighbors, image_vector: Singles) -> Evidence:
        """The evidence of a photo.

        Args:
            neighbors: Its neighbors.
            image_vector: The encoder's vector of it, shape (D,).

        Returns:
            Neighbors as evidence, with every vector that the head reads, image vectors of length 1 as in
            training; without any if it reads none.
        """
        evidence = neighbors.to_evidence()
        if not self._modalities:
            return evidence
        stored = self._gallery.vectors_of(neighbors.row)
        images = np.concatenate([to_units(image_vector[None].astype(np.float32)), stored])  # (1 + K, D)
        by_name = {IMAGE: images}
        if self._alignment is not None and set(self._modalities) != {IMAGE}:
            by_name |= self._alignment.project(images)
        found = {name: by_name[name].astype(np.float64) for name in self._modalities}
        return replace(
            evidence,
            query_vectors={name: vectors[0] for name, vectors in found.items()},
            neighbor_vectors={name: vectors[1:] for name, vectors in found.items()},
        )
