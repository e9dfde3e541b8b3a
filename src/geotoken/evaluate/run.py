"""From photos with a truth to rows of predictions, through interruptions.

Owns what is asked of each answer, and the guards against leakage; must not know metrics or tables.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.decoding import Posterior, score
from geotoken.errors import InputError
from geotoken.evaluate.records import REGION_PERCENTS, Row, failed_row
from geotoken.evidence import Evidence
from geotoken.exports.columns import writable
from geotoken.exports.journal import Journal
from geotoken.files import sha256_of
from geotoken.gallery import Exclusion
from geotoken.metrics import THRESHOLDS_KM
from geotoken.mllm import Recorded
from geotoken.pipeline import Failure, LocateOptions, Locator
from geotoken.prediction import Prediction
from geotoken.protocol import Cache, Memory, TokenModel
from geotoken.tokens import TokenScheme

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REGION_LEVEL: Final = 12
"""Level of the cells that credible regions are made of; an edge is about 2 km."""
LEAST_LOG_PROB: Final = float(np.log(np.finfo(np.float64).tiny))
"""Floor of the log-probability of the true leaf, -708 nats: one impossible truth makes no mean infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One photo to be located, or what is known of it, with the truth."""

    image: str
    """Name of the photo."""
    owner: str
    """Its photographer; empty where unknown."""
    lat: float
    """True latitude in degrees."""
    lng: float
    """True longitude in degrees."""
    path: str | None = None
    """The photo's file."""
    evidence: Evidence | None = None
    """What is known where there is no photo."""
    recorded: Recorded | None = None
    """What a multimodal model answered about it, which then judges the answer."""
    error: str = ""
    """Why it cannot be located; empty if it can be tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What of the gallery must not count for a photo, so that it is not found by having been there."""

    owner: bool = False
    """Leave out photos of the same owner."""
    near_km: float | None = None
    """Leave out photos up to this great-circle distance in km from the truth."""
    duplicate_similarity: float | None = None
    """Leave out equal files, and photos of at least this similarity, in [-1, 1]."""

    def __post_init__(self) -> None:
        if self.near_km is not None and not 0 <= self.near_km < np.inf:
            raise InputError(f"near_km (--exclude-near) is {self.near_km}; give a distance of 0 km or more")
        limit = self.duplicate_similarity
        if limit is not None and not -1 <= limit <= 1:
            raise InputError(
                f"duplicate_similarity (--exclude-duplicates) is {limit}; a similarity is from -1 to 1"
            )

    def exclusion(self, case: Case) -> Exclusion:
        """The guard for one photo.

        Args:
            case: The photo, which has a file.

        Returns:
            Which gallery rows are left out.
        """
        near = self.near_km is not None
        return Exclusion(
            owner=(case.owner or None) if self.owner else None,
            sha256=None if self.duplicate_similarity is None else _sha256(case.path),
            min_duplicate_similarity=self.duplicate_similarity,
            within_km=self.near_km,
            lat=case.lat if near else None,
            lng=case.lng if near else None,
        )


DEFAULT_GUARD: Final = Guard(owner=True, near_km=0.05, duplicate_similarity=0.98)
"""Same owner, same spot, same picture."""


def run_cases(
    cases: Sequence[Case],
    answer: Callable[[Iterable[Case]], Iterator[Row]],
    journal: Journal | None = None,
) -> Iterator[Row]:
    """Rows of predictions, in order; each is in the journal before the next is begun.

    Args:
        cases: The photos.
        answer: Locates them, in order.
        journal: What an earlier run has found, and where more goes; opened by the caller.

    Yields:
        One row a photo.
    """
    known = {} if journal is None else {name: e for name, e in journal.entries.items() if e.located}
    waiting = [case for case in cases if not case.error and writable(case.image) not in known]
    answers = answer(waiting)
    for case in cases:
        name = writable(case.image)
        if case.error:
            yield failed_row(case.image, case.owner, case.lat, case.lng, case.error)
        elif journal is not None and name in known:
            yield next(iter(journal.read([name])))["row"]
        else:
            row = next(answers)
            if journal is not None:
                journal.add(
                    {
                        "image": case.image,
                        "status": row["status"],
                        "row": row,
                        "source": {"bytes": None, "mtime_us": None},
                    }
                )
            yield row


def examine(locator: Locator, options: LocateOptions, task: tuple[Case, Guard | None]) -> Row:
    """Locate one photo and compare the answer and its posterior with the truth.

    Args:
        locator: Locates it.
        options: How.
        task: The photo, and what of the gallery must not count.

    Returns:
        A row of predictions.

    Raises:
        InputError: If the case has neither photo nor evidence.
    """
    case, guard = task
    listening = copy(locator)
    listening.model = model = Listening(locator.model)
    answer: Prediction | Failure
    if case.evidence is not None:
        answer = listening.locate_evidence(case.evidence, options, name=case.image)
    elif case.path is not None:
        if guard is not None:
            options = replace(options, exclude=guard.exclusion(case))
        answer = listening.locate_one(case.path, options)
    else:
        raise InputError(f"{case.image} has neither a photo nor evidence; give one of them")
    if case.recorded is not None and not isinstance(answer, Failure):
        answer = case.recorded.judge(listening, answer, options)
    if isinstance(answer, Failure) or model.memory is None:
        error = str(answer.error) if isinstance(answer, Failure) else "it was located without any evidence"
        return failed_row(case.image, case.owner, case.lat, case.lng, error)
    return _row(case, answer, leaf_nll(locator.model, model.memory, case.lat, case.lng))


class Listening:
    """A model that keeps what it was told last: the truth is scored by what the answer was found with."""

    def __init__(self, model: TokenModel) -> None:
        self.model = model
        self.memory: Memory | None = None

    @property
    def scheme(self) -> TokenScheme:
        """The token scheme of the model."""
        return self.model.scheme

    def encode(self, evidence: Sequence[Evidence]) -> Memory:
        """Encode as the model does, and keep it.

        Args:
            evidence: Evidence of each photo.

        Returns:
            What the model made of it.
        """
        self.memory = self.model.encode(evidence)
        return self.memory

    def step(self, tokens: Ints | None, memory: Memory, cache: Cache) -> Floats:
        """Score the next token of every hypothesis, as the model does.

        Args:
            tokens: Last token of each hypothesis, shape (R,), int64; None when the hypotheses are empty.
            memory: What `encode` returned.
            cache: State of the hypotheses before `tokens`; advanced in place.

        Returns:
            Log-probabilities in nats, shape (R, V).
        """
        return self.model.step(tokens, memory, cache)


def leaf_nll(model: TokenModel, told: Evidence | Memory, lat: float, lng: float) -> float:
    """Minus log of the density per km2 at a point: probability of its leaf over the area of the leaf.

    Args:
        model: The evidence model.
        told: Evidence of one photo, or what `model.encode` made of it.
        lat: Latitude of the point in degrees.
        lng: Longitude of the point in degrees.

    Returns:
        Nats; the log-probability of the leaf is taken as at least `LEAST_LOG_PROB`.
    """
    tokens = model.scheme.encode(lat, lng)
    evidence = [told] if isinstance(told, Evidence) else told
    log_prob = max(float(score(model, evidence, tokens[None, None])[0, 0]), LEAST_LOG_PROB)
    area_km2 = float(cells.area_km2(cells.from_lat_lng(lat, lng, model.scheme.level)))
    return float(np.log(area_km2)) - log_prob


def region_km2(posterior: Posterior, probability: float) -> float:
    """Area of the credible region of a posterior.

    Args:
        posterior: The posterior.
        probability: Mass of the region, in (0, 1].

    Returns:
        Area in km2 of its cells, of the last one only the part that makes the mass exact.
    """
    region = posterior.credible_region(probability)
    area = cells.area_km2(region.cell_id)
    return float(area[:-1].sum() + region.last_fraction * area[-1])


def _row(case: Case, answer: Prediction, nll: float) -> Row:
    whole = answer.posterior
    coarse = whole.cut(min(REGION_LEVEL, whole.scheme.level))
    low, high = coarse.credible_level_of(case.lat, case.lng, min(REGION_LEVEL, whole.scheme.level))
    within = {
        f"probability_{radius_km}km": whole.probability_within_km(answer.lat, answer.lng, radius_km)
        for radius_km in THRESHOLDS_KM
    }
    regions = {f"region_{p}_km2": region_km2(coarse, p / 100) for p in REGION_PERCENTS}
    return {
        "image": case.image,
        "owner": case.owner,
        "true_lat": case.lat,
        "true_lng": case.lng,
        "status": "ok",
        "lat": float(answer.lat),
        "lng": float(answer.lng),
        "nll": nll,
        "credible_low": low,
        "credible_high": high,
        **regions,
        **{f"radius_{p}_km": answer.radius_km(p / 100) for p in REGION_PERCENTS},
        **within,
        "country_code": answer.place.country_code,
        "admin1": answer.place.admin1,
    }


def _sha256(path: str | None) -> str | None:
    """Hash of a file; None where it cannot be read, which locating it will tell."""
    try:
        return sha256_of(Path(path or ""))
    except (OSError, ValueError):
        return None
