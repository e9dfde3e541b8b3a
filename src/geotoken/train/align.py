"""Stage 1: photos, places and names of places learn to share a space.

Owns what is compared, the queue of further places and the validation; must not know how weights are stored.
Dimension letters: B photos of this process, M of all processes, Q places of the queue, D width of a space.
"""

import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from geotoken.alignment.names import PlaceTexts, hashed_parts
from geotoken.alignment.network import AlignmentNetwork
from geotoken.errors import ConfigError, InputError
from geotoken.features import FeatureStore
from geotoken.geo import EARTH_RADIUS_KM, haversine_km, to_xyz
from geotoken.metrics import accuracy
from geotoken.train.config import check_least
from geotoken.train.draws import Draws
from geotoken.train.losses import gather, process_number, symmetric_info_nce
from geotoken.train.splits import held_out, known_rows, owner_codes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

COMPARED_TOGETHER: Final = 256
"""Photos compared with each other by the loss of a validation, however large batches are in training."""

_PLACES_TOGETHER: Final = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignConfig:
    """What stage 1 asks of the network.

    Raises:
        ConfigError: A field is out of its range; the message names it.
    """

    modality: str = "image"
    """Vectors of the store that are aligned."""
    false_negative_km: float = 1.0
    """Photos and places at most so far apart do not count as wrong for each other, in km, >= 0."""
    queue_size: int = 1024
    """Further places of training photos that each photo is compared with, Q >= 0."""
    jitter_m: float = 0.0
    """Standard deviation, east and north, by which the places of the queue are moved, in m, >= 0."""
    text_weight: float = 1.0
    """Weight of the loss of texts beside 1 for that of places, > 0."""
    validation_share: float = 0.05
    """Share of owners whose photos are not trained on, in (0, 1), in a store without the split "val"."""
    validation_rows: int = 4096
    """Photos of a validation at most, >= 2."""
    gallery_rows: int = 20_000
    """Places of training photos among which a validation looks for the photos' places, at most, >= 1."""

    def __post_init__(self) -> None:
        check_least(self, queue_size=0, validation_rows=2, gallery_rows=1)
        for name in ("false_negative_km", "jitter_m"):
            if not 0 <= getattr(self, name) < 20_000:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 0 or more, less than 20,000")
        if not self.text_weight > 0:
            raise ConfigError(f"text_weight is {self.text_weight}; give more than 0 (text none: no texts)")
        if not 0 < self.validation_share < 1:
            raise ConfigError(f"validation_share is {self.validation_share}; give more than 0, less than 1")


class TextInputs:
    """The texts of all rows of a store, as the text tower reads them."""

    def __init__(self, texts: PlaceTexts, num_buckets: int, vectors: Singles | None = None) -> None:
        """Prepare the texts.

        Args:
            texts: Texts and which row has which, N rows of T texts.
            num_buckets: Rows of the tower's table.
            vectors: Vectors of the texts by a frozen encoder, shape (U, D); None to hash their words.
        """
        self.codes = texts.codes
        """Which texts each row has, shape (N, T)."""
        self._vectors = vectors
        self._parts = None if vectors is not None else hashed_parts(texts.texts, num_buckets)

    def take(self, rows: Ints, device: torch.device) -> tuple[tuple[Tensor, ...], Tensor]:
        """What the tower reads for some rows; each distinct text once.

        Args:
            rows: Rows of the store, shape (B,).
            device: Where the tensors shall be.

        Returns:
            The tower's input, for U texts, and which of them each row has, shape (B, T).
        """
        distinct, which = np.unique(self.codes[rows], return_inverse=True)
        if self._parts is None:
            assert self._vectors is not None
            given: tuple[NDArray[np.generic], ...] = (self._vectors[distinct],)
        else:
            parts, starts = self._parts
            pieces = [parts[starts[code] : starts[code + 1]] for code in distinct]
            sizes = [0, *(len(piece) for piece in pieces[:-1])]
            given = (np.concatenate(pieces), np.cumsum(sizes, dtype=np.int64))
        tensors = tuple(torch.from_numpy(array).to(device) for array in given)
        return tensors, torch.from_numpy(which.reshape(len(rows), -1)).to(device)


class AlignStage:
    """Stage 1 for the training loop."""

    name = "align"

    def __init__(
        self, network: AlignmentNetwork, store: FeatureStore, texts: TextInputs | None, config: AlignConfig
    ) -> None:
        """Take photos to train on and others to validate with.

        Trained on are those of `training_rows`; validated with those of the split "val", or without one the
        photos of some owners, which are then not trained on.

        Args:
            network: The network, as it is to begin with.
            store: The photos.
            texts: Texts of all rows; needed if the alignment has texts.
            config: Losses and validation.

        Raises:
            InputError: Too few photos are left to train on, or to validate with.
        """
        self.module: nn.Module = network
        self.store = store
        self.texts = texts
        self.config = config
        rows = known_rows(store)
        unseen = held_out(store, rows, owner_codes(store, rows), config.validation_share)
        self.train_rows = rows[~unseen]
        self.validation_rows = spaced(rows[unseen], config.validation_rows)
        """Rows of the store to validate with, shape (V,); those trained on are `train_rows`, shape (N,)."""
        if len(self.train_rows) < 2 or len(self.validation_rows) < 2:
            raise InputError(
                f"{len(self.train_rows)} photos are to train on and {unseen.sum()} to validate with; both "
                f"need two: set validation_share, now {config.validation_share:g}, in [align] of a --config "
                "file, or give photos of more owners, or some the split val"
            )

    @property
    def num_rows(self) -> int:
        """Training rows."""
        return len(self.train_rows)

    def loss(self, module: nn.Module, rows: Ints, rng: Draws) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Compare B photos with the places and texts of the whole batch, and with the places of the queue.

        Places of the queue are those of training photos drawn for this batch, the same in every process: like
        the queue of GeoCLIP, which holds those of earlier batches, but nothing is kept from step to step.

        Args:
            module: The network.
            rows: Numbers of training rows, shape (B,).
            rng: Not used: the queue is drawn by the rows of the whole batch.

        Returns:
            The loss, shape (), its parts `location` and `text`, and `scale`: the inverse temperature of the
            former.

        References:
            Vivanco Cepeda et al. (2023), GeoCLIP, section 3.2; Jia et al. (2024), G3, section 3.2.
        """
        device = next(module.parameters()).device
        mine = self.train_rows[rows]
        everyone = gather(torch.from_numpy(mine).to(device)).cpu().numpy()  # (M,)
        first = process_number() * len(mine)
        queue = self._queue(everyone)
        found = self._forward(module, mine, queue, device)
        return self._compare(found, mine, everyone, first=first, queue=queue)

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Judge the network on the photos of held-out owners.

        Args:
            module: The network.

        Returns:
            `loss` without a queue; `median_rank` of the true place among those of the validation, from 1,
            those within `false_negative_km` left out; and of the nearest gallery place by its GPS vector
            acc_at_1km to acc_at_2500km in percent and median_error_km.
        """
        assert isinstance(module, AlignmentNetwork)
        device = next(module.parameters()).device
        rows = self.validation_rows
        losses, weights, photo_parts, place_parts = [], [], [], []
        bounds = [*range(0, len(rows) - 1, COMPARED_TOGETHER), len(rows)]
        for start, stop in pairwise(bounds):
            part, nothing = rows[start:stop], np.empty((0, 2))
            found = self._forward(module, part, nothing, device)
            losses.append(self._compare(found, part, part, queue=nothing, alone=True)[0].item())
            weights.append(len(part))
            photo_parts.append(found["image_location"])
            place_parts.append(found["places"])
        photos = torch.cat(photo_parts)
        lat, lng = self.store.lat[rows], self.store.lng[rows]
        gallery = spaced(self.train_rows, self.config.gallery_rows)
        ranks = self._ranks(photos, torch.cat(place_parts), lat, lng)
        best = (photos @ self._embed(module, gallery, device).T).argmax(dim=1).cpu().numpy()
        error_km = haversine_km(lat, lng, self.store.lat[gallery[best]], self.store.lng[gallery[best]])
        figures = {"loss": float(np.average(losses, weights=weights)), "median_rank": float(np.median(ranks))}
        return figures | accuracy(error_km)

    def _ranks(self, photos: Tensor, places: Tensor, lat: Floats, lng: Floats) -> Ints:
        """Rank of each photo's own place among all that are not as good as right, shape (V,)."""
        similarity = (photos @ places.T).cpu().numpy()
        wrong = ~near(lat, lng, lat, lng, self.config.false_negative_km)
        better = similarity > np.diagonal(similarity)[:, None]
        ranks: Ints = 1 + (better & wrong).sum(axis=1)
        return ranks

    def _embed(self, module: AlignmentNetwork, rows: Ints, device: torch.device) -> Tensor:
        parts = np.array_split(rows, -(-len(rows) // _PLACES_TOGETHER))
        return torch.cat([module.embed_places(self._places(part).to(device)) for part in parts])

    def _places(self, rows: Ints) -> Tensor:
        return torch.from_numpy(np.stack([self.store.lat[rows], self.store.lng[rows]], axis=1))

    def _vectors(self, rows: Ints, device: torch.device) -> Tensor:
        vectors = self.store.batch(rows, [self.config.modality])[self.config.modality]
        return torch.from_numpy(vectors).to(device).float()

    def _queue(self, everyone: Ints) -> Floats:
        """Further places for a batch, in degrees, shape (Q, 2)."""
        random = np.random.default_rng(zlib.crc32(np.sort(everyone).tobytes()))
        rows = self.train_rows[random.integers(0, self.num_rows, self.config.queue_size)]
        lat, lng = self.store.lat[rows], self.store.lng[rows]
        if self.config.jitter_m:
            north, east = random.normal(0, self.config.jitter_m, (2, len(rows)))
            lat, lng = moved(lat, lng, north, east)
        return np.stack([lat, lng], axis=1)

    def _forward(
        self, module: nn.Module, mine: Ints, queue: Floats, device: torch.device
    ) -> dict[str, Tensor]:
        """Embed photos, their places, the queue and texts; texts are given to each photo, shape (B, T, D)."""
        places = torch.cat([self._places(mine), torch.from_numpy(queue)])
        texts, which = (None, None) if self.texts is None else self.texts.take(mine, device)
        found: dict[str, Tensor] = module(self._vectors(mine, device), places.to(device), texts)
        if which is not None:
            found["texts"] = found["texts"][which]
        return found

    def _compare(
        self,
        found: dict[str, Tensor],
        mine: Ints,
        everyone: Ints,
        *,
        queue: Floats,
        first: int = 0,
        alone: bool = False,
    ) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The loss of what `_forward` gave, and its parts."""
        device = found["places"].device
        lat, lng = self.store.lat[everyone], self.store.lng[everyone]
        right = near(
            self.store.lat[mine],
            self.store.lng[mine],
            np.concatenate([lat, queue[:, 0]]),
            np.concatenate([lng, queue[:, 1]]),
            self.config.false_negative_km,
        )
        location = symmetric_info_nce(
            found["image_location"],
            found["places"][: len(mine)],
            found["scale_location"],
            first=first,
            ignored=torch.from_numpy(right).to(device),
            more_b=found["places"][len(mine) :],
            alone=alone,
        )
        parts: dict[str, float | Tensor] = {"location": location.detach()}
        parts["scale"] = found["scale_location"].detach()
        if self.texts is None:
            return location, parts
        codes, all_codes = self.texts.codes[mine], self.texts.codes[everyone]
        levels = [
            symmetric_info_nce(
                found["image_text"],
                found["texts"][:, level],
                found["scale_text"],
                first=first,
                ignored=torch.from_numpy(codes[:, level, None] == all_codes[:, level]).to(device),
                alone=alone,
            )
            for level in range(codes.shape[1])
        ]
        text = torch.stack(levels).mean()
        parts["text"] = text.detach()
        return location + self.config.text_weight * text, parts


def spaced(rows: Ints, count: int) -> Ints:
    """Some of many rows, evenly spaced, so that they are the same in every run.

    Args:
        rows: Rows, shape (N,).
        count: How many at most.

    Returns:
        Rows in order, shape (min(N, count),).
    """
    if len(rows) <= count:
        return rows
    return rows[np.arange(count) * len(rows) // count]


def near(lat1: Floats, lng1: Floats, lat2: Floats, lng2: Floats, radius_km: float) -> NDArray[np.bool_]:
    """Which places lie within a radius of each other.

    Args:
        lat1: Latitude in degrees, shape (B,).
        lng1: Longitude in degrees, shape (B,).
        lat2: Latitude in degrees, shape (M,).
        lng2: Longitude in degrees, shape (M,).
        radius_km: Great-circle radius in km, >= 0.

    Returns:
        Whether the distance is at most the radius, shape (B, M).
    """
    # 2 - 2 cos is the square of the chord; at 1 m it is 2e-14, which float64 knows to about 1 %.
    chord2 = 2 - 2 * (to_xyz(lat1, lng1) @ to_xyz(lat2, lng2).T)
    found: NDArray[np.bool_] = chord2 <= (2 * np.sin(radius_km / EARTH_RADIUS_KM / 2)) ** 2
    return found


def moved(lat: Floats, lng: Floats, north_m: Floats, east_m: Floats) -> tuple[Floats, Floats]:
    """Move places by some metres.

    Args:
        lat: Latitude in degrees, shape (N,).
        lng: Longitude in degrees, shape (N,).
        north_m: Metres to the north, shape (N,).
        east_m: Metres to the east, shape (N,).

    Returns:
        Latitude in [-90, 90] and longitude in [-180, 180] in degrees, each of shape (N,).
    """
    degrees_per_m = np.degrees(1 / (1000 * EARTH_RADIUS_KM))
    new_lat = np.clip(lat + north_m * degrees_per_m, -90, 90)
    new_lng = lng + east_m * degrees_per_m / np.maximum(np.cos(np.radians(lat)), 1e-6)
    return new_lat, (new_lng + 180) % 360 - 180
