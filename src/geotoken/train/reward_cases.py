"""Cases that the reward model trains on: candidates of a token model, and how far each was from the truth.

Owns making, keeping and reading them; must not know the network, or whether the token model saw the photos.
Dimension letters: N cases, C candidates, E items.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geotoken.decoding import DecodingOptions, decode, posterior
from geotoken.errors import ArtifactError, ConfigError, InputError
from geotoken.evidence import Evidence
from geotoken.files import ARRAY_DAMAGE, read_json, replacing, write_whole
from geotoken.geo import check_lat_lng, haversine_km
from geotoken.manifest import MANIFEST_NAME, verify_manifest, write_manifest
from geotoken.model.batch import GUESS, EvidenceBatch
from geotoken.protocol import TokenModel
from geotoken.reward import RewardBatch, RewardConfig, collate, weigh
from geotoken.reward.batch import concatenate
from geotoken.reward.proposals import evidence_places
from geotoken.tokens import TokenScheme
from geotoken.train.cases import Cases
from geotoken.train.config import check_least

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KIND: Final = "geotoken-reward-cases"
"""What the manifest of such a folder calls it."""
FORMAT_VERSION: Final = 1
"""Newest layout that this version reads."""
SHARD_CASES: Final = 256
"""Cases in one file: what a killed process loses at most."""
DECODED_TOGETHER: Final = 8
"""Photos decoded in one go."""

_BUILD = "build.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateOptions:
    """Which candidates of a photo are trained on, beside the places of its neighbors and guesses.

    Raises:
        ConfigError: A field is out of its range; the message names it.
    """

    num_photos: int = 20_000
    """Photos decoded, drawn at random where there are more, >= 1."""
    beam_width: int = 5
    """Candidates by beam search, >= 1."""
    num_samples: int = 8
    """Samples drawn at each temperature, >= 1."""
    temperatures: tuple[float, ...] = (0.5, 1.0, 1.5)
    """Temperatures of the samples, each > 0; none for no samples."""
    max_candidates: int = 48
    """Candidates kept of a photo, drawn at random where there are more, >= 1."""
    epsilon: float = 1e-3
    """Probability of cells that the posterior by which candidates are weighed does not divide, in (0, 1]."""
    seed: int = 0
    """Fixes samples and draws, >= 0."""

    def __post_init__(self) -> None:
        check_least(self, num_photos=1, beam_width=1, num_samples=1, max_candidates=1, seed=0)
        if not 0 < self.epsilon <= 1:
            raise ConfigError(f"epsilon is {self.epsilon}; give more than 0 and at most 1")
        try:
            self.searches()
        except InputError as error:
            raise ConfigError(str(error)) from error

    def searches(self) -> list[DecodingOptions]:
        """The runs of the decoder that find the candidates.

        Returns:
            Beam search, then sampling at each temperature.
        """
        beam = DecodingOptions(beam_width=self.beam_width)
        samples = [
            DecodingOptions(decoder="sample", num_samples=self.num_samples, temperature=one, seed=self.seed)
            for one in self.temperatures
        ]
        return [beam, *samples]


class RewardCases:
    """Candidates of N photos whose place is known."""

    def __init__(self, batch: RewardBatch, lat: Floats, lng: Floats, owner: Ints) -> None:
        """Take cases as they are.

        Args:
            batch: Candidates and evidence of N photos.
            lat: True latitude of each photo in degrees, shape (N,).
            lng: True longitude in degrees, shape (N,).
            owner: Code of its owner, shape (N,).
        """
        self.batch = batch
        """Candidates and evidence."""
        self.lat = lat
        """True latitude of each photo in degrees, shape (N,)."""
        self.lng = lng
        """True longitude in degrees, shape (N,)."""
        self.owner = owner
        """Code of each photo's owner, shape (N,)."""
        self.distance_km: Floats = haversine_km(batch.lat, batch.lng, lat[:, None], lng[:, None])
        """Distance of each candidate to the truth in km, shape (N, C); meaningless where there is none."""

    def __len__(self) -> int:
        return len(self.owner)

    @classmethod
    def join(cls, parts: "Sequence[RewardCases]") -> "RewardCases":
        """Cases of several calls of `make_cases` as one.

        Args:
            parts: At least one.

        Returns:
            All their photos, in order.
        """
        lat, lng, owner = (
            np.concatenate([getattr(one, name) for one in parts]) for name in ("lat", "lng", "owner")
        )
        return cls(concatenate([one.batch for one in parts]), lat, lng, owner)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> "RewardCases":
        """Read finished cases.

        Args:
            folder: What `make_cases` wrote.

        Returns:
            The cases.

        Raises:
            ArtifactError: The folder is unfinished, damaged or something else.
        """
        root = Path(folder)
        manifest = verify_manifest(root, KIND, FORMAT_VERSION)
        names = sorted(name for name in manifest["files"] if name.endswith(".npz"))
        return cls.join([_read_shard(root / name) for name in names])


def make_cases(
    model: TokenModel,
    evidence: Sequence[Evidence],
    truth: tuple[ArrayLike, ArrayLike, ArrayLike],
    folder: Path,
    *,
    config: RewardConfig | None = None,
    options: CandidateOptions | None = None,
    source: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> RewardCases:
    """Decode photos whose place is known, and keep the candidates.

    The token model must not have been trained on these photos: where it has, it is surer than it ought to be,
    and the reward model learns to trust it.

    Args:
        model: Any token model.
        evidence: Evidence of N photos; read a few at a time, so it may be made as it is asked for.
        truth: True latitudes and longitudes in degrees, and codes of the photos' owners, each of shape (N,).
        folder: Where cases are kept, `SHARD_CASES` a file; made if absent. What an earlier call with the
            same arguments left there is not made again.
        config: What the reward model reads of the evidence.
        options: Which candidates.
        source: What else the cases depend on, such as the hash of the model's files.
        progress: Called with (cases done, cases in all) after each file.

    Returns:
        The cases.

    Raises:
        InputError: Evidence and truth are not as many, a place is impossible, or something else is in the
            folder.
        ArtifactError: A file cannot be written, or one of an earlier call is damaged.
    """
    config, options = config or RewardConfig(), options or CandidateOptions()
    lat, lng = check_lat_lng(truth[0], truth[1])
    owner = np.asarray(truth[2], dtype=np.int64)
    if not len(evidence) == len(lat) == len(owner) > 0:
        raise InputError(
            f"there is evidence of {len(evidence)} photos, {len(lat)} places and {len(owner)} owners; give "
            "one of each for at least one photo"
        )
    fingerprint = _fingerprint(config, options, source, (lat, lng, owner))
    _begin(folder, fingerprint)
    shards = []
    for start in range(0, len(lat), SHARD_CASES):
        part = slice(start, min(start + SHARD_CASES, len(lat)))
        path = folder / f"{start // SHARD_CASES:05}.npz"
        if not path.exists():
            batch = _decode(model, evidence[part], config, options, start)
            _write_shard(path, RewardCases(batch, lat[part], lng[part], owner[part]))
        shards.append(_read_shard(path))
        if progress is not None:
            progress(part.stop, len(lat))
    if not (folder / MANIFEST_NAME).exists():
        write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION, extra={"num_cases": len(lat)})
    return RewardCases.join(shards)


def _decode(
    model: TokenModel,
    evidence: Sequence[Evidence],
    config: RewardConfig,
    options: CandidateOptions,
    first: int,
) -> RewardBatch:
    """Candidates and evidence of the photos from number `first` on."""
    batches = []
    for start in range(0, len(evidence), DECODED_TOGETHER):
        some = list(evidence[start : start + DECODED_TOGETHER])
        memory = model.encode(some)
        found = [decode(model, memory, one) for one in options.searches()]
        places = []
        for photo, one in enumerate(some):
            listed = [evidence_places(one), *((run[photo].lat, run[photo].lng) for run in found)]
            lat, lng = (np.concatenate([pair[i] for pair in listed]) for i in (0, 1))
            # Of places in one leaf the first stays; then a random order decides which are too many.
            leaf = model.scheme.to_cells(model.scheme.encode(lat, lng))
            distinct = np.unique(leaf, return_index=True)[1]
            random = np.random.default_rng([options.seed, first + start + photo])
            kept = random.permutation(distinct)[: options.max_candidates]
            places.append((lat[kept], lng[kept]))
        proposals = weigh(model, memory, posterior(model, memory, options.epsilon), places)
        batches.append(collate(some, proposals, config))
    return concatenate(batches)


def _begin(folder: Path, fingerprint: str) -> None:
    """Make the folder, or check that it holds the same cases.

    Raises:
        InputError: Something else is there.
        ArtifactError: It cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        try:
            found: Any = read_json(folder / _BUILD)
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or found.get("kind") != KIND:
            raise InputError(f"{folder} exists and holds no candidates; choose another folder")
        if found.get("fingerprint") != fingerprint:
            raise InputError(
                f"{folder} holds candidates of another model, other photos or other options; remove it, or "
                "choose another"
            )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _BUILD, json.dumps({"kind": KIND, "fingerprint": fingerprint}).encode())
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be written ({error.strerror or error})") from error


def _fingerprint(
    config: RewardConfig, options: CandidateOptions, source: str, arrays: Sequence[NDArray[Any]]
) -> str:
    read = {"modalities": config.modalities, "neighbors": config.num_neighbors, "guesses": config.num_guesses}
    text = json.dumps([dataclasses.asdict(options), read, source, FORMAT_VERSION])
    digest = hashlib.sha256(text.encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _write_shard(path: Path, cases: RewardCases) -> None:
    """Write one file of cases, whole or not at all.

    Raises:
        ArtifactError: It cannot be written.
    """
    arrays = {f.name: getattr(cases.batch, f.name) for f in dataclasses.fields(RewardBatch)}
    try:
        with replacing(path) as beside, beside.open("wb") as file:
            np.savez_compressed(file, true_lat=cases.lat, true_lng=cases.lng, owner=cases.owner, **arrays)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be written ({error.strerror or error})") from error


def _read_shard(path: Path) -> RewardCases:
    """One file of cases.

    Raises:
        ArtifactError: It is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            batch = RewardBatch(**{f.name: file[f.name] for f in dataclasses.fields(RewardBatch)})
            return RewardCases(batch, file["true_lat"], file["true_lng"], file["owner"])
    except ARRAY_DAMAGE as error:
        raise ArtifactError(
            f"{path} is damaged ({error}); remove it, and its candidates are found again"
        ) from error


class CaseEvidence(Sequence[Evidence]):
    """Evidence of some training cases, read when it is asked for."""

    def __init__(self, cases: Cases, rows: Ints, scheme: TokenScheme) -> None:
        """Remember which.

        Args:
            cases: The cases.
            rows: Which of them, shape (N,).
            scheme: The token scheme of their configuration.
        """
        self._cases, self._rows, self._scheme = cases, rows, scheme

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> Evidence: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Evidence]: ...
    def __getitem__(self, at: int | slice) -> Evidence | Sequence[Evidence]:
        if isinstance(at, slice):
            return CaseEvidence(self._cases, self._rows[at], self._scheme)
        return self.read(self._rows[at : at + 1])[0]

    def __iter__(self) -> Iterator[Evidence]:
        for start in range(0, len(self._rows), DECODED_TOGETHER):
            yield from self.read(self._rows[start : start + DECODED_TOGETHER])

    def read(self, rows: Ints) -> list[Evidence]:
        """The evidence of some cases.

        Args:
            rows: Their numbers, shape (B,).

        Returns:
            Their evidence; places are centers of leaves.
        """
        return to_evidence(self._cases.evidence(rows, None), self._scheme)


def to_evidence(batch: EvidenceBatch, scheme: TokenScheme) -> list[Evidence]:
    """The photos of a batch one by one.

    Args:
        batch: Evidence of B photos.
        scheme: The token scheme of its items.

    Returns:
        What the batch was made of, but for places, which are centers of leaves (3 m off at level 20).
    """
    lat, lng = scheme.decode(batch.item_tokens)
    photos = []
    for photo in range(batch.num_photos):
        mask, guess = batch.item_mask[photo], batch.item_kind[photo] == GUESS
        near, told = np.flatnonzero(mask & ~guess), np.flatnonzero(mask & guess)
        known = batch.item_similarity_known[photo, near]
        query, neighbors = {}, {}
        for m, name in enumerate(batch.query_vectors):
            if batch.query_present[photo, m]:
                query[name] = batch.query_vectors[name][photo].astype(np.float64)
            if len(near) and batch.item_present[photo, near, m].all():
                neighbors[name] = batch.item_vectors[name][photo, near].astype(np.float64)
        photos.append(
            Evidence(
                neighbor_lat=lat[photo, near],
                neighbor_lng=lng[photo, near],
                neighbor_rank=batch.item_rank[photo, near].astype(np.float64),
                neighbor_similarity=batch.item_similarity[photo, near].astype(np.float64)
                if len(near) and known.all()
                else None,
                guess_lat=lat[photo, told],
                guess_lng=lng[photo, told],
                guess_weight=np.exp(batch.item_log_weight[photo, told].astype(np.float64)),
                query_vectors=query,
                neighbor_vectors=neighbors,
            )
        )
    return photos
