"""`Locator`: a photo in, a `Prediction` out; the only place where all the parts meet.

Owns the order of the parts and the batches; must not know command lines, HTTP or training.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.artifact import load_artifact, load_head
from geotoken.backbones import load_encoder
from geotoken.decoding import (
    Candidates,
    CellProbability,
    DecodingOptions,
    Posterior,
    RegionModel,
    decode,
    posterior,
    score_prefixes,
)
from geotoken.errors import ImageError, InputError
from geotoken.evidence import Evidence, Guess, guess_evidence
from geotoken.gallery import Exclusion, Gallery, Neighbors
from geotoken.geo import haversine_km
from geotoken.images.embed import ImageEncoder
from geotoken.images.read import Photo, read
from geotoken.places import nearest
from geotoken.prediction import Prediction
from geotoken.protocol import Memory, TokenModel
from geotoken.regions import Region
from geotoken.selection import METHODS, Utility, mixed_thresholds, select, weighted_thresholds
from geotoken.words import DOUBTFUL, percent

PhotoSource = str | os.PathLike[str] | bytes

BATCH_SIZE = 16
EPSILON = 3e-4
"""Cells of less probability than this are not divided further when an answer is sought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateOptions:
    """How to look for the answer; see `DecodingOptions` for the decoder's own fields."""

    decoding: DecodingOptions = field(default_factory=DecodingOptions)
    """Which candidates to find."""
    select: str = "mbr"
    """How to choose the answer: one of `geotoken.selection.METHODS`."""
    utility: Utility | None = None
    """What `mbr` maximises the expectation of; the model's own choice when None."""
    guesses: tuple[Guess, ...] = ()
    """Places that somebody believes in, (lat, lng) or (lat, lng, weight); evidence for every photo."""
    within: Region | None = None
    """Where the photo is known to have been taken; anywhere when None."""
    exclude: Exclusion | None = None
    """Gallery rows that must not count as evidence."""

    def __post_init__(self) -> None:
        if self.select not in METHODS:
            raise InputError(f"select (--select) is {self.select!r}; choose one of {', '.join(METHODS)}")
        guess_evidence(self.guesses)


@dataclass(frozen=True, slots=True)
class Failure:
    """A photo of a batch that could not be located."""

    image: str
    """Name of the photo as given."""
    error: ImageError
    """Why."""


class Locator:
    """Locates photos with one model and one gallery, both held in memory."""

    def __init__(
        self,
        *,
        encoder: ImageEncoder,
        gallery: Gallery,
        model: TokenModel,
        num_neighbors: int,
        utility: Utility = mixed_thresholds,
        ranked_utility: Utility | None = None,
        name: str,
    ) -> None:
        gallery.check_encoder(encoder.name, encoder.dim)
        self.encoder = encoder
        self.gallery = gallery
        self.model = model
        self.num_neighbors = num_neighbors
        self.utility = utility
        self.ranked_utility = ranked_utility or utility
        self.name = name

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = "mini",
        *,
        gallery: str | Path | None = None,
        head: str | None = None,
        num_threads: int | None = None,
        offline: bool = False,
    ) -> "Locator":
        """Load a model; nothing is downloaded but a model on the hub that is not in the hub's local cache.

        Args:
            model: Name of a bundled model ("mini"), path of a model folder, "geoclip" once it was pulled, or
                "owner/name[@revision]" on the hub (extra `hub`).
            gallery: Folder of another gallery, made with the same encoder; the model's own when None.
            head: Evidence model, "mixture" or "transformer"; the artifact's default when None.
            num_threads: Processor cores for the networks; all when None.
            offline: Whether nothing may be downloaded.

        Returns:
            The locator.

        Raises:
            ArtifactError: If a folder is missing, damaged, or does not fit, or cannot be downloaded.
            DependencyError: If the model is on the hub and the extra `hub` is not installed, or its encoder
                needs the extra `backbones`.
            InputError: If the head is unknown, or the model does not have it.
        """
        artifact = load_artifact(model, offline=offline)
        token_model, num_neighbors = load_head(artifact, head, num_threads)
        return cls(
            encoder=load_encoder(artifact.folder / "encoder", num_threads=num_threads),
            gallery=Gallery.load(artifact.folder / "gallery" if gallery is None else gallery),
            model=token_model,
            num_neighbors=num_neighbors,
            utility=weighted_thresholds(artifact.threshold_weights),
            ranked_utility=weighted_thresholds(artifact.ranked_threshold_weights),
            name=artifact.name,
        )

    def locate(self, photo: PhotoSource, **options: Any) -> Prediction:
        """Locate one photo.

        Args:
            photo: Path of a photo, or the content of its file.
            **options: Any field of `DecodingOptions` (decoder, beam_width, num_samples, temperature, top_k,
                top_p, seed, num_candidates, max_expansions) or of `LocateOptions` but `decoding` (select,
                utility, guesses, within, exclude).

        Returns:
            The prediction.

        Raises:
            ImageError: If the photo cannot be read.
            InputError: If an option is out of range or unknown.
        """
        for_decoding = {f.name for f in fields(DecodingOptions)}
        for_all = {f.name for f in fields(LocateOptions)} - {"decoding"}
        unknown = set(options) - for_decoding - for_all
        if unknown:
            allowed = ", ".join(sorted(for_decoding | for_all))
            raise InputError(f"unknown option {min(unknown)!r}; the options are {allowed}")
        decoding = DecodingOptions(**{k: v for k, v in options.items() if k in for_decoding})
        rest = {k: v for k, v in options.items() if k in for_all}
        answer = self.locate_one(photo, LocateOptions(decoding=decoding, **rest))
        if isinstance(answer, Failure):
            raise answer.error
        return answer

    def locate_one(self, photo: PhotoSource, options: LocateOptions | None = None) -> Prediction | Failure:
        """Locate one photo, with its failure as a value.

        Args:
            photo: Path of a photo, or the content of its file.
            options: How.

        Returns:
            The prediction, or the failure of a photo that cannot be read.
        """
        options = options or LocateOptions()
        return self._answer_one(self._look_up([photo], options)[0], options)

    def locate_many(
        self, photos: Iterable[PhotoSource], options: LocateOptions | None = None
    ) -> Iterator[Prediction | Failure]:
        """Locate photos one by one, in order, with bounded memory.

        Args:
            photos: Paths, or contents of files.
            options: How.

        Yields:
            A prediction, or the failure of a photo that cannot be read.

        Raises:
            InputError: If a single photo is given instead of several.
        """
        _refuse_single(photos)
        options = options or LocateOptions()
        remaining = iter(photos)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            ahead = pool.submit(self._look_up, list(islice(remaining, BATCH_SIZE)), options)
            while batch := ahead.result():
                ahead = pool.submit(self._look_up, list(islice(remaining, BATCH_SIZE)), options)
                yield from pool.map(lambda item: self._answer_one(item, options), batch)

    def locate_together(
        self, photos: Sequence[PhotoSource], options: LocateOptions | None = None
    ) -> list[Prediction | Failure]:
        """Locate several photos of one place: their evidence is joined, and all get the same answer.

        Equal files count once. Other shots of the same moment are no independent evidence either, but are
        taken as such.

        Args:
            photos: Paths, or contents of files.
            options: How.

        Returns:
            One entry a photo, in order, with the joint answer and the photo's own neighbors.

        Raises:
            InputError: If a single photo is given instead of several.
        """
        _refuse_single(photos)
        options = options or LocateOptions()
        looked_up: list[_LookedUp | Failure] = []
        for start in range(0, len(photos), BATCH_SIZE):
            looked_up += self._look_up(list(photos[start : start + BATCH_SIZE]), options)
        distinct = {item.photo.sha256: item for item in looked_up if not isinstance(item, Failure)}
        if not distinct:
            return [item for item in looked_up if isinstance(item, Failure)]
        joint = Evidence.merge([item.neighbors.to_evidence() for item in distinct.values()])
        found = self._decide(Evidence.merge([joint, guess_evidence(options.guesses)]), options)
        return [item if isinstance(item, Failure) else self._describe(item, found) for item in looked_up]

    def locate_evidence(
        self, evidence: Evidence, options: LocateOptions | None = None, *, name: str = ""
    ) -> Prediction:
        """Locate what is known of a photo, without the photo.

        Args:
            evidence: Neighbors and guesses, from anywhere.
            options: How.
            name: What the photo is called.

        Returns:
            The prediction; it lists no neighbors, for they need not be of the gallery.
        """
        options = options or LocateOptions()
        merged = Evidence.merge([evidence, guess_evidence(options.guesses)])
        return self._predict(name, Neighbors.none(), self._decide(merged, options))

    def _look_up(self, photos: Sequence[PhotoSource], options: LocateOptions) -> "list[_LookedUp | Failure]":
        """Read, embed and search a batch."""
        read_photos = [self._read(photo) for photo in photos]
        good = [photo for photo in read_photos if isinstance(photo, Photo)]
        vectors = self.encoder.embed([photo.pixels for photo in good])
        found = iter(self.gallery.search(vectors, self.num_neighbors, options.exclude))
        return [
            photo if isinstance(photo, Failure) else _LookedUp(_name(source), photo, next(found))
            for source, photo in zip(photos, read_photos, strict=True)
        ]

    def _read(self, source: PhotoSource) -> Photo | Failure:
        try:
            return read(
                source if isinstance(source, bytes | str) else Path(source), min_side=self.encoder.min_side
            )
        except ImageError as error:
            return Failure(_name(source), error)

    def _answer_one(self, item: "_LookedUp | Failure", options: LocateOptions) -> Prediction | Failure:
        if isinstance(item, Failure):
            return item
        evidence = Evidence.merge([item.neighbors.to_evidence(), guess_evidence(options.guesses)])
        return self._describe(item, self._decide(evidence, options))

    def _decide(self, evidence: Evidence, options: LocateOptions) -> "_Found":
        """Decode, integrate and select."""
        model, memory, whole, region_probability = self._posterior(evidence, options.within)
        candidates = decode(model, memory, options.decoding)[0]
        if isinstance(model, RegionModel):
            candidates = model.place(candidates, whole)
        points = (
            np.concatenate([evidence.neighbor_lat, evidence.guess_lat]),
            np.concatenate([evidence.neighbor_lng, evidence.guess_lng]),
        )
        by_rank = evidence.neighbor_similarity is None
        chosen = select(
            options.select,
            candidates,
            whole,
            utility=options.utility or (self.ranked_utility if by_rank else self.utility),
            extra=points,
            region=options.within,
        )
        tokens = self.model.scheme.encode(chosen.lat, chosen.lng)
        levels = self._levels(tokens, score_prefixes(model, memory, tokens[None, None])[0, 0])
        return _Found(
            chosen.lat,
            chosen.lng,
            tuple(tokens.tolist()),
            levels,
            candidates,
            whole,
            options.within,
            region_probability,
        )

    def _posterior(
        self, evidence: Evidence, region: Region | None
    ) -> tuple[TokenModel, Memory, Posterior, float | None]:
        """The model to decode with, the encoded evidence, the posterior and the region's probability."""
        if region is None:
            memory = self.model.encode([evidence])
            return self.model, memory, posterior(self.model, memory, EPSILON)[0], None
        model = RegionModel(self.model, region, EPSILON)
        inside = model.encode([evidence])
        return model, inside, inside.posteriors[0], inside.region_probability[0]

    def _levels(
        self, tokens: NDArray[np.int64], log_probs: NDArray[np.float64]
    ) -> tuple[CellProbability, ...]:
        """The cells named by the prefixes of a token sequence, with their probabilities."""
        scheme = self.model.scheme
        return tuple(
            CellProbability(
                scheme.level_at(num_tokens),
                np.uint64(scheme.to_cells(tokens[:num_tokens])),
                float(np.exp(log_probs[num_tokens - 1])),
            )
            for num_tokens in range(1, scheme.length + 1)
        )

    def _describe(self, item: "_LookedUp", found: "_Found") -> Prediction:
        return self._predict(item.name, item.neighbors, found, _warnings(item.photo, found))

    def _predict(
        self, name: str, neighbors: Neighbors, found: "_Found", warnings: tuple[str, ...] = ()
    ) -> Prediction:
        return Prediction(
            image=name,
            lat=found.lat,
            lng=found.lng,
            tokens=found.tokens,
            levels=found.levels,
            candidates=found.candidates,
            posterior=found.posterior,
            neighbors=neighbors,
            place=nearest([found.lat], [found.lng])[0],
            region=found.region,
            region_probability=found.region_probability,
            warnings=warnings,
        )


@dataclass(frozen=True, slots=True)
class _LookedUp:
    """A photo that was read, and its neighbors."""

    name: str
    photo: Photo
    neighbors: Neighbors


@dataclass(frozen=True, slots=True)
class _Found:
    """The answer to a piece of evidence."""

    lat: float
    lng: float
    tokens: tuple[int, ...]
    levels: tuple[CellProbability, ...]
    candidates: Candidates
    posterior: Posterior
    region: Region | None
    region_probability: float | None


def _refuse_single(photos: object) -> None:
    if isinstance(photos, str | bytes | os.PathLike):
        raise InputError(f"photos is the single photo {_name(photos)}; give a list of photos")


def _warnings(photo: Photo, found: _Found) -> tuple[str, ...]:
    remarks = []
    if photo.gps is not None:
        lat, lng = photo.gps
        distance_km = float(haversine_km(lat, lng, found.lat, found.lng))
        remarks.append(
            f"this file already carries GPS ({lat:.5f}, {lng:.5f}), {distance_km:,.1f} km from this answer; "
            "it was not used as evidence"
        )
    if found.region_probability is not None and found.region_probability < DOUBTFUL:
        remarks.append(
            f"the photo alone gives the region asked for {percent(found.region_probability)}; radii and "
            "probabilities hold only if it was taken there"
        )
    return tuple(remarks)


def _name(source: PhotoSource) -> str:
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else os.fspath(source)
