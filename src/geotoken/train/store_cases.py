"""Cases to train on, from a feature store and its neighbor lists.

Owns turning rows of a store into evidence; must not know what learns from it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geotoken.alignment.runtime import to_units
from geotoken.errors import InputError
from geotoken.features import FeatureStore
from geotoken.model.batch import EvidenceBatch, Ints, Items, Singles, make_batch
from geotoken.model.config import ModelConfig
from geotoken.train.neighbor_lists import NeighborLists
from geotoken.train.splits import Bools, held_out, owner_codes
from geotoken.vectors import IMAGE


class Projection(Protocol):
    """What turns image vectors into vectors of other modalities; `Alignment` is one."""

    def project(self, vectors: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        """Project image vectors of shape (N, D) to vectors of shape (N, d) by modality."""
        ...


class StoreCases:
    """Rows of a store as cases: the photo, its neighbors, and where it was taken.

    Case i is the row `lists.query_rows[i]` of the store. Vectors are those that `VectorSource` gives when a
    photo is located: image vectors, read from the store for each batch and scaled to length 1, and what the
    alignment makes of them. What it does not make is read as it is.
    """

    def __init__(
        self,
        store: FeatureStore,
        lists: NeighborLists,
        config: ModelConfig,
        *,
        alignment: Projection | None = None,
    ) -> None:
        """Look at a store as cases.

        Args:
            store: The store.
            lists: Its neighbor lists.
            config: The model's configuration: which modalities, how many neighbors.
            alignment: What makes "location" and "text" of "image"; also where the store has such vectors.

        Raises:
            InputError: The model has a modality that can neither be read nor computed, or one of another
                length.
        """
        self._store, self._lists, self._config, self._alignment = store, lists, config, alignment
        rows = lists.query_rows
        self.lat: NDArray[np.float64] = store.lat[rows]
        """Latitude of each case in degrees, shape (N,)."""
        self.lng: NDArray[np.float64] = store.lng[rows]
        """Longitude of each case in degrees, shape (N,)."""
        self.owner: Ints = owner_codes(store, rows)
        """Code of each case's owner, shape (N,); a photo without one has a code of its own."""
        self._num_neighbors = min(config.num_neighbors, lists.num_neighbors)
        computed = [name for name, _ in config.modalities if name not in store.dims]
        if computed and alignment is None:
            raise InputError(
                f"{store.folder} has no modality {computed[0]}, only {', '.join(store.dims)}; give an "
                "alignment that makes it of image, or embed the photos with it"
            )
        self._check_lengths()

    @classmethod
    def open(
        cls,
        store: FeatureStore,
        folder: str | Path,
        config: ModelConfig,
        *,
        alignment: Projection | None = None,
        verify: bool = True,
    ) -> "StoreCases":
        """Open the lists of a store and look at both as cases.

        Args:
            store: The store.
            folder: Folder of its lists, `NeighborReport.lists`.
            config: The model's configuration.
            alignment: What makes "location" and "text" of "image".
            verify: Whether the sha256 of the lists is checked.

        Returns:
            The cases.

        Raises:
            InputError: The model has a modality that can neither be read nor computed.
            ArtifactError: The lists are damaged, or those of another store.
        """
        return cls(store, NeighborLists.open(folder, store, verify=verify), config, alignment=alignment)

    def __len__(self) -> int:
        return len(self._lists)

    def held_out(self, share: float) -> Bools:
        """Which cases are validated with and not trained on, see `geotoken.train.splits.held_out`.

        Args:
            share: Share of the owners that is held out, in (0, 1), of a store without the split "val".

        Returns:
            Whether each case is, shape (N,).
        """
        return held_out(self._store, self._lists.query_rows, self.owner, share)

    def evidence(self, rows: Ints, rng: np.random.Generator | None = None) -> EvidenceBatch:
        """Evidence of some cases.

        Args:
            rows: Cases, in any order, also repeated, shape (B,).
            rng: Has no effect: these cases are as they are.

        Returns:
            The batch: vectors of the photos and their neighbors, places, ranks and similarities.

        Raises:
            InputError: A case does not exist.
        """
        near, similarity = self._lists.take(rows)
        near, similarity = near[:, : self._num_neighbors], similarity[:, : self._num_neighbors]
        there = near >= 0
        asked = self._lists.query_rows[rows]
        found = self._lists.gallery_rows[np.where(there, near, 0)]  # (B, K)
        # Each photo is read, and projected, once.
        photos, place = np.unique(np.concatenate([asked, found[there]]), return_inverse=True)
        vectors = self._vectors(photos)
        of_item = np.zeros(there.shape, dtype=np.int64)
        of_item[there] = place[len(rows) :]
        items = Items(
            lat=np.where(there, self._store.lat[found], np.nan),
            lng=np.where(there, self._store.lng[found], np.nan),
            similarity=similarity,
            vectors={name: one[of_item] for name, one in vectors.items()},
        )
        query_vectors = {name: one[place[: len(rows)]] for name, one in vectors.items()}
        return make_batch(items, query_vectors, self._config)

    def _vectors(self, photos: Ints) -> dict[str, Singles]:
        """Vectors of every modality of the model, of rows of the store, shape (P, D)."""
        wanted = [name for name, _ in self._config.modalities]
        names = {name for name in wanted if name in self._store.dims}
        needs_alignment = self._alignment is not None and set(wanted) - {IMAGE}
        if needs_alignment:
            names.add(IMAGE)
        read = self._store.batch(photos, sorted(names))
        vectors = {name: one.astype(np.float32) for name, one in read.items()}
        if IMAGE in vectors:
            vectors[IMAGE] = to_units(vectors[IMAGE])
        if needs_alignment:
            assert self._alignment is not None
            vectors |= self._alignment.project(vectors[IMAGE])
        return {name: vectors[name] for name in wanted}

    def _check_lengths(self) -> None:
        """Refuse a model whose vectors have other lengths, before anything is trained.

        Raises:
            InputError: One has.
        """
        try:
            found = self._vectors(self._lists.query_rows[:1])
        except KeyError as error:
            raise InputError(f"the alignment does not make the modality {error}; train it anew") from None
        for name, dim in self._config.modalities:
            if found[name].shape[1] != dim:
                raise InputError(
                    f"{name} vectors have {found[name].shape[1]} numbers, but the model expects {dim}"
                )
