"""`Locator`: a photo in, a `Prediction` out; the only place where all the parts meet.

Owns the order of the parts and the batches; must not know command lines, HTTP or training.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.alignment import Alignment
from geotoken.artifact import ALIGNMENT, REWARD, load_artifact, load_head
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
from geotoken.images.embed import ImageEncoder
from geotoken.images.read import MAX_PIXELS, Photo, read
from geotoken.places import nearest
from geotoken.prediction import Prediction, remarks
from geotoken.protocol import Memory, TokenModel
from geotoken.regions import Region
from geotoken.reward import RewardModel, evidence_places, widen
from geotoken.selection import METHODS, SCORED, Utility, mixed_thresholds, select, weighted_thresholds
from geotoken.vectors import VectorSource, check_modalities, modalities_of

PhotoSource = str | os.PathLike[str] | bytes

BATCH_SIZE = 16
EPSILON = 3e-4
"""Cells of less probability than this are not divided further when an answer is sought."""
LEAST_LOG_PROB = float(np.log(np.finfo(np.float64).tiny))
"""Floor of the log-probability of a point that somebody else chose, -708 nats: its logarithm stays finite."""


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
        alignment: Alignment | None = None,
        reward: RewardModel | None = None,
        name: str,
    ) -> None:
        gallery.check_encoder(encoder.name, encoder.dim)
        if alignment is not None:
            alignment.check_encoder(encoder.name, encoder.dim)
        check_modalities(model, alignment, name)
        self.encoder = encoder
        self.gallery = gallery
        self.model = model
        self.num_neighbors = num_neighbors
        self.utility = utility
        self.ranked_utility = utility
        """What `mbr` aims at where similarities are not known."""
        self.alignment = alignment
        self.reward = reward
        self.name = name
        self.max_pixels = MAX_PIXELS
        """Photos of more are refused before they are decoded."""
        self._vectors = VectorSource(gallery, alignment, modalities_of(model))

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
        aligned, judged = artifact.folder / ALIGNMENT, artifact.folder / REWARD
        locator = cls(
            encoder=load_encoder(artifact.folder / "encoder", num_threads=num_threads),
            gallery=Gallery.load(artifact.folder / "gallery" if gallery is None else gallery),
            model=token_model,
            num_neighbors=num_neighbors,
            utility=weighted_thresholds(artifact.threshold_weights),
            alignment=Alignment.load(aligned) if aligned.is_dir() else None,
            reward=RewardModel.load(judged, num_threads) if judged.is_dir() else None,
            name=artifact.name,
        )
        locator.ranked_utility = weighted_thresholds(artifact.ranked_threshold_weights)
        return locator

    def check(self, options: LocateOptions) -> None:
        """Refuse what this model cannot do, before any photo is read.

        Args:
            options: How photos are to be located.

        Raises:
            InputError: The selection method needs a part that the model lacks.
        """
        parts = {
            "similarity": (self.alignment, "an alignment", "align"),
            "reward": (self.reward, "a reward model", "reward"),
        }
        if options.select in parts and parts[options.select][0] is None:
            _, needed, command = parts[options.select]
            has = [method for method, (part, *_) in parts.items() if part is not None]
            others = ", ".join([*(method for method in METHODS if method not in SCORED), *has])
            raise InputError(
                f"select (--select) {options.select!r} needs {needed}, and the model {self.name} has none; "
                f"choose one of {others}, or take a model with one (geotoken train {command})"
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
        self.check(options)
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
        self.check(options)
        remaining = iter(photos)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            ahead = pool.submit(self._look_up, list(islice(remaining, BATCH_SIZE)), options)
            while batch := ahead.result():
                ahead = pool.submit(self._look_up, list(islice(remaining, BATCH_SIZE)), options)
                yield from pool.map(lambda item: self._answer_one(item, options), batch)

    def locate_each(
        self, photos: Sequence[PhotoSource], options: Sequence[LocateOptions]
    ) -> Iterator[Prediction | Failure]:
        """Locate photos that are looked up as one batch, but each in its own way, as several users may ask.

        Args:
            photos: Paths, or contents of files; they are held in memory at once.
            options: How, one for each photo; all with the same `exclude`.

        Yields:
            A prediction, or the failure of a photo that cannot be read.

        Raises:
            InputError: If the numbers differ, or `exclude` does.
        """
        if len(photos) != len(options) or any(one.exclude != options[0].exclude for one in options):
            raise InputError(
                f"{len(photos)} photos have {len(options)} options; give one a photo, with the same exclude"
            )
        for one in options:
            self.check(one)
        if photos:
            for item, one in zip(self._look_up(photos, options[0]), options, strict=True):
                yield self._answer_one(item, one)

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
        self.check(options)
        looked_up: list[_LookedUp | Failure] = []
        for start in range(0, len(photos), BATCH_SIZE):
            looked_up += self._look_up(list(photos[start : start + BATCH_SIZE]), options)
        distinct = {item.photo.sha256: item for item in looked_up if not isinstance(item, Failure)}
        if not distinct:
            return [item for item in looked_up if isinstance(item, Failure)]
        joint = Evidence.merge([self._evidence(item) for item in distinct.values()])
        vectors = np.stack([item.vector for item in distinct.values()])
        found = self._decide(Evidence.merge([joint, guess_evidence(options.guesses)]), vectors, options)
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

        Raises:
            InputError: The selection method compares candidates with the photo itself.
        """
        options = options or LocateOptions()
        if options.select == "similarity":
            others = ", ".join(method for method in METHODS if method != "similarity")
            raise InputError(
                "select (--select) 'similarity' needs the photo, and there is only evidence about it; choose "
                f"one of {others}"
            )
        self.check(options)
        merged = Evidence.merge([evidence, guess_evidence(options.guesses)])
        no_photo = np.empty((0, self.encoder.dim), dtype=np.float32)
        return self._predict(name, Neighbors.none(), self._decide(merged, no_photo, options))

    def answer_at(self, answer: Prediction, lat: float, lng: float) -> Prediction:
        """Answer with another point: candidates and posterior stay, what is said of the point is new.

        Args:
            answer: An answer of this locator.
            lat: Latitude of the point in degrees; it must lie in the region of the answer, if there is one.
            lng: Longitude of the point in degrees.

        Returns:
            The answer at that point.

        Raises:
            InputError: If the answer does not say what it was found with.
        """
        if answer.evidence is None:
            raise InputError(f"the answer for {answer.image} has no evidence; give one of this locator")
        model = self.model
        if answer.region is not None:
            model = RegionModel(model, answer.region, EPSILON)
        tokens = model.scheme.encode(lat, lng)
        log_probs = score_prefixes(model, [answer.evidence], tokens[None, None])[0, 0]
        log_probs = np.maximum(log_probs, LEAST_LOG_PROB)
        return replace(
            answer,
            lat=lat,
            lng=lng,
            tokens=tuple(tokens.tolist()),
            levels=self._levels(tokens, log_probs),
            place=nearest([lat], [lng])[0],
            warnings=remarks(lat, lng, answer.gps, answer.region_probability),
        )

    def _look_up(self, photos: Sequence[PhotoSource], options: LocateOptions) -> "list[_LookedUp | Failure]":
        """Read, embed and search a batch."""
        read_photos = [self._read(photo) for photo in photos]
        good = [photo for photo in read_photos if isinstance(photo, Photo)]
        vectors = self.encoder.embed([photo.pixels for photo in good])
        found = zip(vectors, self.gallery.search(vectors, self.num_neighbors, options.exclude), strict=True)
        return [
            photo if isinstance(photo, Failure) else _LookedUp(_name(source), photo, *next(found))
            for source, photo in zip(photos, read_photos, strict=True)
        ]

    def _read(self, source: PhotoSource) -> Photo | Failure:
        try:
            return read(
                source if isinstance(source, bytes | str) else Path(source),
                max_pixels=self.max_pixels,
                min_side=self.encoder.min_side,
            )
        except ImageError as error:
            return Failure(_name(source), error)

    def _answer_one(self, item: "_LookedUp | Failure", options: LocateOptions) -> Prediction | Failure:
        if isinstance(item, Failure):
            return item
        evidence = Evidence.merge([self._evidence(item), guess_evidence(options.guesses)])
        return self._describe(item, self._decide(evidence, item.vector[None], options))

    def _evidence(self, item: "_LookedUp") -> Evidence:
        return self._vectors.add_vectors(item.neighbors, item.vector)

    def _decide(self, evidence: Evidence, vectors: NDArray[np.float32], options: LocateOptions) -> "_Found":
        """Decode, integrate and select; vectors of the photos, shape (P, D)."""
        model, memory, whole, region_probability = self._posterior(evidence, options.within)
        candidates = decode(model, memory, options.decoding)[0]
        if isinstance(model, RegionModel):
            candidates = model.place(candidates, whole)
        points = evidence_places(evidence)
        by_rank = evidence.neighbor_similarity is None
        utility = options.utility or (self.ranked_utility if by_rank else self.utility)
        judged, scores = candidates, self._similarity(options.select, candidates, vectors)
        if options.select == "reward" and self.reward is not None:
            judged, proposals = widen(model, memory, whole, candidates, points, options.within)
            scores = self.reward.score(evidence, proposals, utility)
        chosen = select(
            options.select,
            judged,
            whole,
            utility=utility,
            extra=points,
            region=options.within,
            scores=scores,
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
            evidence,
        )

    def _similarity(
        self, method: str, candidates: Candidates, vectors: NDArray[np.float32]
    ) -> NDArray[np.float64] | None:
        """How good each candidate is, where the method asks: the mean over the photos, shape (C,)."""
        if method != "similarity" or self.alignment is None:
            return None
        places = self.alignment.embed_places(candidates.lat, candidates.lng)
        scores: NDArray[np.float64] = places @ self.alignment.project(vectors)["location"].mean(axis=0)
        return scores

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
        return self._predict(item.name, item.neighbors, found, item.photo.gps)

    def _predict(
        self, name: str, neighbors: Neighbors, found: "_Found", gps: tuple[float, float] | None = None
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
            warnings=remarks(found.lat, found.lng, gps, found.region_probability),
            evidence=found.evidence,
            gps=gps,
        )


@dataclass(frozen=True, slots=True)
class _LookedUp:
    """A photo that was read, its vector of shape (D,), and its neighbors."""

    name: str
    photo: Photo
    vector: NDArray[np.float32]
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
    evidence: Evidence


def _refuse_single(photos: object) -> None:
    if isinstance(photos, str | bytes | os.PathLike):
        raise InputError(f"photos is the single photo {_name(photos)}; give a list of photos")


def _name(source: PhotoSource) -> str:
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else os.fspath(source)
