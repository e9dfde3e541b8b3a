"""What is known about where a photo was taken, before any model has looked at it.

Owns the `Evidence` value; must not know how a model weighs it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import InputError
from geotoken.geo import check_lat_lng

Floats = NDArray[np.float64]
Guess = tuple[float, float] | tuple[float, float, float]
"""A place that somebody believes in: (lat, lng) in degrees, or (lat, lng, weight)."""


def _empty() -> Floats:
    return np.empty(0, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Evidence about one place: retrieved neighbors and guesses; every kind may be absent.

    All arrays are float64: K neighbors, best first within each photo, and G guesses. Vectors are optional and
    named by what they show, such as "image"; the mixture does not read them.
    """

    neighbor_lat: Floats = field(default_factory=_empty)
    """Latitude of each neighbor in degrees, shape (K,)."""
    neighbor_lng: Floats = field(default_factory=_empty)
    """Longitude of each neighbor in degrees, shape (K,)."""
    neighbor_rank: Floats = field(default_factory=_empty)
    """Rank of each neighbor among those of its own query photo, from 1, shape (K,)."""
    neighbor_similarity: Floats | None = None
    """Cosine similarity of each neighbor to its query photo, shape (K,); None where it was not recorded."""
    guess_lat: Floats = field(default_factory=_empty)
    """Latitude of each guess in degrees, shape (G,)."""
    guess_lng: Floats = field(default_factory=_empty)
    """Longitude of each guess in degrees, shape (G,)."""
    guess_weight: Floats = field(default_factory=_empty)
    """Trust in each guess, > 0, shape (G,): 1 is that of a typical good guess, 2 doubles its odds."""
    query_vectors: Mapping[str, Floats] = field(default_factory=dict)
    """Vectors of the photo itself by name, each of shape (D,) with a D of its own."""
    neighbor_vectors: Mapping[str, Floats] = field(default_factory=dict)
    """Vectors of the neighbors by name, each of shape (K, D)."""

    def __post_init__(self) -> None:
        num_neighbors = len(self.neighbor_lat)
        for name in ("neighbor_lng", "neighbor_rank", "neighbor_similarity"):
            values = getattr(self, name)
            if values is not None and len(values) != num_neighbors:
                raise InputError(f"{name} has {len(values)} entries, but there are {num_neighbors} neighbors")
        for name in ("guess_lng", "guess_weight"):
            if len(getattr(self, name)) != len(self.guess_lat):
                raise InputError(
                    f"{name} has {len(getattr(self, name))} entries, but there are {len(self.guess_lat)} "
                    "guesses"
                )
        for kind in ("neighbor", "guess"):
            lat, lng = check_lat_lng(getattr(self, f"{kind}_lat"), getattr(self, f"{kind}_lng"))
            object.__setattr__(self, f"{kind}_lat", lat)
            object.__setattr__(self, f"{kind}_lng", lng)
        if not np.all((self.neighbor_rank >= 1) & np.isfinite(self.neighbor_rank)):
            raise InputError("the rank of a neighbor must be finite and at least 1")
        if self.neighbor_similarity is not None and not np.all(np.abs(self.neighbor_similarity) <= 1.001):
            raise InputError("the similarity of a neighbor must be from -1 to 1")
        if not np.all((self.guess_weight > 0) & np.isfinite(self.guess_weight)):
            raise InputError("the weight of a guess must be finite and greater than 0")
        self._check_vectors()

    @classmethod
    def merge(cls, parts: Sequence["Evidence"]) -> "Evidence":
        """Join the evidence of several photos of one place.

        Args:
            parts: Evidence of each photo; similarities are kept only if every part with neighbors has them.

        Returns:
            One evidence with the neighbors and guesses of all parts; ranks stay those within each photo.
            Vectors of neighbors are kept like similarities; those of the photos become their mean.

        Raises:
            InputError: If vectors of one name differ in length.
        """
        similarities = [p.neighbor_similarity for p in parts if len(p.neighbor_lat)]
        known = [s for s in similarities if s is not None]
        joined = {
            name: np.concatenate([_empty(), *(getattr(p, name) for p in parts)])
            for name in (
                "neighbor_lat",
                "neighbor_lng",
                "neighbor_rank",
                "guess_lat",
                "guess_lng",
                "guess_weight",
            )
        }
        similarity = np.concatenate(known) if known and len(known) == len(similarities) else None
        return cls(
            neighbor_similarity=similarity,
            query_vectors=_mean_vectors([p.query_vectors for p in parts]),
            neighbor_vectors=_join_vectors([p.neighbor_vectors for p in parts if len(p.neighbor_lat)]),
            **joined,
        )

    def _check_vectors(self) -> None:
        """Refuse vectors that do not fit.

        Raises:
            InputError: A shape or a value is impossible.
        """
        num_neighbors = len(self.neighbor_lat)
        for name, vector in self.query_vectors.items():
            if vector.ndim != 1 or not np.all(np.isfinite(vector)):
                raise InputError(f"query vector {name!r} must be one row of finite numbers")
        for name, vectors in self.neighbor_vectors.items():
            if vectors.ndim != 2 or len(vectors) != num_neighbors or not np.all(np.isfinite(vectors)):
                raise InputError(
                    f"neighbor vectors {name!r} of shape {vectors.shape} must be {num_neighbors} rows of "
                    "finite numbers, one a neighbor"
                )


def guess_evidence(guesses: Sequence[Guess]) -> Evidence:
    """Guesses as evidence.

    Args:
        guesses: (lat, lng) or (lat, lng, weight); weight is 1 when not given.

    Returns:
        Evidence without neighbors.

    Raises:
        InputError: If a guess is not two or three numbers, a coordinate is out of range, or a weight is not
            greater than 0.
    """
    for guess in guesses:
        if not isinstance(guess, Sequence) or len(guess) not in (2, 3) or isinstance(guess, str):
            raise InputError(f"guess {guess!r} is not (lat, lng) or (lat, lng, weight); give a list of those")
    lat, lng = check_lat_lng([g[0] for g in guesses], [g[1] for g in guesses])
    weight = np.array([g[2] if len(g) == 3 else 1.0 for g in guesses], dtype=np.float64)
    return Evidence(guess_lat=lat, guess_lng=lng, guess_weight=weight)


def parse_guess(text: str) -> Guess:
    """Read a guess as it is written on the command line or in a form.

    Args:
        text: "LAT,LNG" or "LAT,LNG,WEIGHT".

    Returns:
        (lat, lng) or (lat, lng, weight).

    Raises:
        InputError: If it is neither, or a number is out of range.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(map(math.isfinite, numbers)):
        raise InputError(
            f"guess (--guess) is {text!r}; give LAT,LNG or LAT,LNG,WEIGHT in degrees, such as -33.9,18.4"
        )
    guess: Guess = (numbers[0], numbers[1], *numbers[2:])  # type: ignore[assignment]
    try:
        guess_evidence([guess])
    except InputError as error:
        reason = str(error).removeprefix("row 0: ")  # one guess has no rows to tell apart
        raise InputError(f"guess (--guess) is {text!r}: {reason}") from None
    return guess


def _mean_vectors(parts: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """The mean of the vectors of each name over the parts that have it."""
    names = {name: None for part in parts for name in part}
    return {
        name: np.mean(_same_length(name, [p[name] for p in parts if name in p]), axis=0) for name in names
    }


def _join_vectors(parts: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """The rows of all parts, for the names that every part has."""
    names = [name for name in (parts[0] if parts else ()) if all(name in part for part in parts)]
    return {name: np.concatenate(_same_length(name, [part[name] for part in parts])) for name in names}


def _same_length(name: str, vectors: list[Floats]) -> list[Floats]:
    """The vectors themselves.

    Raises:
        InputError: They differ in length.
    """
    lengths = sorted({one.shape[-1] for one in vectors})
    if len(lengths) > 1:
        raise InputError(f"vectors {name!r} differ in length ({lengths}); use one encoder for all photos")
    return vectors
