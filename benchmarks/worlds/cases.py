"""Photos held in memory as training cases: neighbors once for all, then batches by indexing alone.

Owns retrieval within a world and its batches; must not know how the world was made, or who is trained.
Dimension letters: N photos, G photos of the gallery, K neighbors, D numbers of a feature, B rows of a batch.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from geotoken.evidence import Evidence
from geotoken.model.batch import NEIGHBOR, EvidenceBatch, describe_places
from geotoken.tokens import TokenScheme

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

MODALITY = "image"
"""Name of the only kind of vector there is."""
_SPARE = 4  # retrieved beyond what is asked, times the number asked, before owners are excluded
_CHUNK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Photos to retrieve from, as a batch reads them."""

    feature: Singles
    """Unit vectors, shape (G, D)."""
    lat: Floats
    """Latitudes in degrees, shape (G,)."""
    lng: Floats
    """Longitudes in degrees, shape (G,)."""
    owner: Ints
    """Code of the owner, shape (G,)."""
    tokens: Ints
    """Token sequences, shape (G, T)."""
    waves: Singles
    """Waves of the places, shape (G, PLACE_DIM)."""

    @classmethod
    def of(cls, feature: Singles, lat: Floats, lng: Floats, owner: Ints) -> "Gallery":
        """Prepare photos, N of them, for retrieval; see the fields."""
        tokens, waves = TokenScheme().encode(lat, lng), describe_places(lat, lng)
        return cls(feature=feature, lat=lat, lng=lng, owner=owner, tokens=tokens, waves=waves)

    def search(self, feature: Singles, owner: Ints, num_neighbors: int) -> tuple[Ints, Singles]:
        """Find the neighbors of photos, none of them by the photo's own owner.

        Args:
            feature: Unit vectors, shape (N, D).
            owner: Owners of the photos, shape (N,).
            num_neighbors: Neighbors K.

        Returns:
            Rows of the gallery, best first, shape (N, K), and their cosine similarity.
        """
        index = faiss.IndexFlatIP(self.feature.shape[1])
        index.add(self.feature)
        rows = np.empty((len(feature), num_neighbors), dtype=np.int64)
        similarity = np.empty(rows.shape, dtype=np.float32)
        for start in range(0, len(feature), _CHUNK):
            part = slice(start, start + _CHUNK)
            found, at, wanted = self._others(index, feature[part], owner[part], num_neighbors)
            order = np.argsort(~wanted, axis=1, kind="stable")[:, :num_neighbors]  # the others first
            rows[part] = np.take_along_axis(at, order, axis=1)
            similarity[part] = np.take_along_axis(found, order, axis=1)
        return rows, similarity

    def _others(
        self, index: faiss.IndexFlatIP, feature: Singles, owner: Ints, num_neighbors: int
    ) -> tuple[Singles, Ints, NDArray[np.bool_]]:
        """Similarities, rows and whether by another owner, enough of them for every photo."""
        spare = _SPARE if np.isin(owner, self.owner).any() else 1
        num_found = min(spare * num_neighbors, len(self.feature))
        while True:
            found, at = index.search(feature, num_found)
            others = self.owner[at] != owner[:, None]
            if num_found == len(self.feature) or others.sum(axis=1).min() >= num_neighbors:
                return found, at, others
            num_found = min(4 * num_found, len(self.feature))


class WorldCases:
    """Photos with their neighbors; as `geotoken.train.cases.Cases` asks."""

    def __init__(
        self,
        gallery: Gallery,
        feature: Singles,
        lat: Floats,
        lng: Floats,
        owner: Ints,
        num_neighbors: int = 20,
    ) -> None:
        """Retrieve the neighbors of all photos.

        Args:
            gallery: What to retrieve from; photos of a photo's own owner are left out.
            feature: Unit vectors, shape (N, D).
            lat: True latitudes in degrees, shape (N,).
            lng: True longitudes in degrees, shape (N,).
            owner: Owners, shape (N,).
            num_neighbors: Neighbors K.
        """
        self.lat, self.lng, self.owner = lat, lng, owner
        self.feature, self.gallery = feature, gallery
        self.neighbors, self.similarity = gallery.search(feature, owner, num_neighbors)

    def evidence(self, rows: Ints, rng: np.random.Generator | None = None) -> EvidenceBatch:
        """The evidence of some photos.

        Args:
            rows: Rows, shape (B,).
            rng: Not used: neighbors are what they are.

        Returns:
            A batch of B photos with K neighbors each.
        """
        at = self.neighbors[rows]
        shape = at.shape
        return EvidenceBatch(
            query_vectors={MODALITY: self.feature[rows]},
            query_present=np.ones((shape[0], 1), dtype=bool),
            item_vectors={MODALITY: self.gallery.feature[at]},
            item_present=np.ones((*shape, 1), dtype=bool),
            item_mask=np.ones(shape, dtype=bool),
            item_kind=np.full(shape, NEIGHBOR),
            item_tokens=self.gallery.tokens[at],
            item_place=self.gallery.waves[at],
            item_rank=np.broadcast_to(np.arange(1, shape[1] + 1), shape).copy(),
            item_similarity=self.similarity[rows],
            item_similarity_known=np.ones(shape, dtype=bool),
            item_log_weight=np.zeros(shape, dtype=np.float32),
        )

    def single(self, row: int) -> Evidence:
        """The evidence of one photo as the pipeline has it."""
        at = self.neighbors[row]
        return Evidence(
            neighbor_lat=self.gallery.lat[at],
            neighbor_lng=self.gallery.lng[at],
            neighbor_rank=np.arange(1.0, len(at) + 1),
            neighbor_similarity=np.clip(self.similarity[row].astype(np.float64), -1, 1),
            query_vectors={MODALITY: self.feature[row].astype(np.float64)},
            neighbor_vectors={MODALITY: self.gallery.feature[at].astype(np.float64)},
        )
