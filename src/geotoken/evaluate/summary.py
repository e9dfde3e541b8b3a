"""Rows of predictions in figures: accuracy, calibration, curves, intervals, and two systems side by side.

Owns which metrics there are, and what a photo without an answer counts as; must not know files or pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import InputError
from geotoken.evaluate.intervals import NUM_RESAMPLES, Measured, clusters, estimate, interval, resample
from geotoken.evaluate.records import REGION_PERCENTS, Row, column, name_places
from geotoken.metrics import (
    FARTHEST_KM,
    FORMULAS,
    SPHERES_KM,
    THRESHOLDS_KM,
    covered,
    distance_to_truth_km,
    geoscore,
)

Floats = NDArray[np.float64]

SHARES: Final = tuple(round(0.05 * k, 2) for k in range(1, 20))
"""Masses of the credible regions of the calibration curve."""
_NUM_BINS: Final = 10
_CDF_KM: Final = (*(float(f"{10 ** (k / 8):.3g}") for k in range(-16, 35)), 20038.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How a distance is measured and compared, and how intervals are drawn."""

    formula: str = "haversine"
    """One of `geotoken.metrics.FORMULAS`."""
    strict: bool = False
    """Whether a distance must be less than a threshold; equal is enough otherwise."""
    num_resamples: int = NUM_RESAMPLES
    """Resamples of the bootstrap."""
    seed: int = 0
    """Seed of the bootstrap."""

    def __post_init__(self) -> None:
        if self.formula not in FORMULAS:
            raise InputError(f"formula (--distance) is {self.formula!r}; choose one of {', '.join(FORMULAS)}")
        if self.num_resamples < 2:
            raise InputError(f"num_resamples (--resamples) is {self.num_resamples}; give at least 2")


def summarise(rows: Sequence[Row], measure: Measure | None = None) -> dict[str, Any]:
    """All figures of one system.

    Args:
        rows: Its predictions; the columns of distances and places are filled where they are missing.
        measure: How; the defaults if None.

    Returns:
        The figures of docs/evaluation.schema.json, JSON-ready; None where nothing is known.

    Raises:
        InputError: If there are no rows.
    """
    measure = measure or Measure()
    if not rows:
        raise InputError("there are no predictions to summarise; give at least one")
    error_km, measured = _measured(rows, measure)
    cluster = clusters([row["owner"] for row in rows])
    drawn = resample(measured, cluster, num_resamples=measure.num_resamples, seed=measure.seed)
    figures = {name: _or_none(value) for name, value in estimate(measured).items()}
    return {
        "n": len(rows),
        "num_failed": sum(row["status"] == "error" for row in rows),
        "num_with_posterior": int(np.sum(~np.isnan(column(rows, "nll")))),
        **figures,
        "ci95": {name: interval(values) for name, values in drawn.items()},
        **_how(rows, cluster, measure),
        "curves": _curves(rows, error_km),
        "failures": [{"image": r["image"], "error": r.get("error")} for r in rows if r["status"] == "error"],
    }


def compare(first: Sequence[Row], second: Sequence[Row], measure: Measure | None = None) -> dict[str, Any]:
    """Two systems on the same photos, with the interval of their difference.

    The same photographers are drawn for both, so what is hard for both cancels out.

    Args:
        first: Predictions of system a.
        second: Predictions of system b; a photo that only one of them has counts as failed for the other.
        measure: How; the defaults if None.

    Returns:
        `n`, `a`, `b` and `difference` (b minus a) by metric, `ci95` of the difference, and
        `num_only_in_a`, `num_only_in_b`.

    Raises:
        InputError: If they have no photo in common, or disagree about where one was taken.
    """
    measure = measure or Measure()
    a, b, only_in_a, only_in_b = _pair(first, second)
    tables = [_measured(rows, measure)[1] for rows in (a, b)]
    cluster = clusters([row["owner"] for row in a])
    options: dict[str, int] = {"num_resamples": measure.num_resamples, "seed": measure.seed}
    drawn = [resample(table, cluster, **options) for table in tables]
    of_a, of_b = (estimate(table) for table in tables)
    return {
        "n": len(a),
        "num_only_in_a": only_in_a,
        "num_only_in_b": only_in_b,
        "a": {name: _or_none(value) for name, value in of_a.items()},
        "b": {name: _or_none(value) for name, value in of_b.items()},
        "difference": {name: _or_none(of_b[name] - of_a[name]) for name in of_a},
        "ci95": {name: interval(drawn[1][name] - drawn[0][name]) for name in of_a},
        **_how(a, cluster, measure),
    }


def _measured(rows: Sequence[Row], measure: Measure) -> tuple[Floats, Measured]:
    """Distances of the answers, and what is averaged; missing columns of the rows are filled."""
    name_places(rows)
    error_km = fill_errors(rows, measure.formula)
    return error_km, measure_rows(rows, error_km, strict=measure.strict)


def _how(rows: Sequence[Row], cluster: NDArray[np.int64], measure: Measure) -> dict[str, Any]:
    """What the figures say of how they came about."""
    return {
        "bootstrap": {
            "over": "owners" if any(row["owner"] for row in rows) else "photos",
            "num_clusters": int(cluster.max()) + 1,
            "num_resamples": measure.num_resamples,
            "seed": measure.seed,
        },
        "distance": {
            "formula": measure.formula,
            "radius_km": SPHERES_KM.get(measure.formula),
            "comparison": "<" if measure.strict else "<=",
        },
    }


def fill_errors(rows: Sequence[Row], formula: str) -> Floats:
    """Distances of answers from truths; changes the rows.

    Args:
        rows: The rows, whose `error_km` is set where there is an answer.
        formula: One of `geotoken.metrics.FORMULAS`.

    Returns:
        Distances in km, shape (N,), infinity where there is no answer.

    Raises:
        InputError: If there is no such formula.
    """
    lat, lng, true_lat, true_lng = (column(rows, name) for name in ("lat", "lng", "true_lat", "true_lng"))
    error_km = distance_to_truth_km(lat, lng, true_lat, true_lng, formula)
    for row, value in zip(rows, error_km.tolist(), strict=True):
        row["error_km"] = value if np.isfinite(value) else None
    return error_km


def measure_rows(rows: Sequence[Row], error_km: Floats, *, strict: bool = False) -> Measured:
    """What each photo adds to each metric.

    A photo without an answer is wrong at every distance and place, `FARTHEST_KM` away, worth no points, and
    outside of every region and radius. It has no density at the truth: `nll` is over the others.

    Args:
        rows: Predictions with places.
        error_km: Distance of each from its truth in km, shape (N,), infinity where there is no answer.
        strict: Whether a distance must be less than a threshold; equal is enough otherwise.

    Returns:
        The values, percentages as 0 or 100.
    """
    right = np.less if strict else np.less_equal
    means = {f"acc_at_{r}km": 100.0 * right(error_km, r) for r in THRESHOLDS_KM}
    finite_km = np.minimum(error_km, FARTHEST_KM * 1.01)
    finite_km[np.isinf(error_km)] = FARTHEST_KM
    means |= {"mean_error_km": finite_km, "geoscore": geoscore(error_km)}
    means |= {
        "country_accuracy": 100.0 * np.array([_same(row, "country_code") for row in rows]),
        "region_accuracy": 100.0 * np.array([_same(row, "country_code", "admin1") for row in rows]),
        "nll": column(rows, "nll"),
    }
    failed = np.array([row["status"] == "error" for row in rows])
    medians = {"median_error_km": finite_km}
    for p in REGION_PERCENTS:
        low, high, radius_km = (
            column(rows, name) for name in ("credible_low", "credible_high", f"radius_{p}_km")
        )
        means[f"coverage_{p}"] = 100 * _counted(covered(np.stack([low, high], axis=1), p / 100), low, failed)
        means[f"within_radius_{p}"] = 100 * _counted(
            (error_km <= radius_km).astype(np.float64), radius_km, failed
        )
        medians[f"median_region_{p}_km2"] = column(rows, f"region_{p}_km2")
        medians[f"median_radius_{p}_km"] = radius_km
    return Measured(means=means, medians=medians)


def _counted(inside: Floats, known: Floats, failed: NDArray[np.bool_]) -> Floats:
    """Values of the photos whose region is known, 0 of those that failed, if any region is known at all."""
    if np.isnan(known).all():
        return np.full(len(known), np.nan)
    return np.where(failed, 0.0, np.where(np.isnan(known), np.nan, inside))


def _same(row: Row, *names: str) -> bool:
    return row["status"] == "ok" and all(row[name] == row[f"true_{name}"] for name in names)


def _curves(rows: Sequence[Row], error_km: Floats) -> dict[str, Any]:
    """What a report draws."""
    answered = np.array([row["status"] == "ok" for row in rows])
    low, high = column(rows, "credible_low"), column(rows, "credible_high")
    found: dict[str, Any] = {
        "error_cdf": [[km, 100 * float(np.mean(error_km <= km))] for km in _CDF_KM],
        "coverage": [],
        "selective": {},
        "reliability": {},
    }
    if not np.isnan(low).all():
        levels = np.stack([low, high], axis=1)
        for share in SHARES:
            inside = _counted(covered(levels, share), low, ~answered)
            found["coverage"].append([100 * share, 100 * float(np.nanmean(inside))])
    for radius_km in THRESHOLDS_KM:
        sure = column(rows, f"probability_{radius_km}km")
        has_probability = not np.isnan(sure).all()
        sure = sure if has_probability else column(rows, "confidence")
        if np.isnan(sure).all():
            continue
        right = error_km <= radius_km
        found["selective"][f"{radius_km}km"] = _selective(sure, right)
        if has_probability:
            found["reliability"][f"{radius_km}km"] = _reliability(sure[answered], right[answered])
    return found


def _selective(sure: Floats, right: NDArray[np.bool_]) -> list[list[float]]:
    """Share of photos answered, the surest first, and accuracy among them, both in percent.

    Photos of equal confidence are answered together, as the mean of all orders. Unknown is least sure.
    """
    sure = np.where(np.isnan(sure), -np.inf, sure)
    _, group, size = np.unique(-sure, return_inverse=True, return_counts=True)
    ended = np.cumsum(size)
    hits = np.cumsum(np.bincount(group, weights=right))
    num = np.unique(np.ceil(np.arange(5, 101, 5) / 100 * len(sure)).astype(np.int64))
    expected = np.interp(num, np.concatenate([[0], ended]), np.concatenate([[0.0], hits]))
    return [[100 * n / len(sure), 100 * h / n] for n, h in zip(num.tolist(), expected.tolist(), strict=True)]


def _reliability(probability: Floats, right: NDArray[np.bool_]) -> list[list[float]]:
    """Mean probability said, share right, both in percent, and number of photos, for each tenth."""
    tenth = np.minimum((probability * _NUM_BINS).astype(np.int64), _NUM_BINS - 1)
    return [
        [
            100 * float(probability[tenth == k].mean()),
            100 * float(right[tenth == k].mean()),
            int(np.sum(tenth == k)),
        ]
        for k in np.unique(tenth)
    ]


def _pair(first: Sequence[Row], second: Sequence[Row]) -> tuple[list[Row], list[Row], int, int]:
    """Rows of both systems about the same photos in the same order.

    Raises:
        InputError: If they have no photo in common, or disagree about where one was taken.
    """
    by_name = [{row["image"]: row for row in rows} for rows in (first, second)]
    names = list(dict.fromkeys([*by_name[0], *by_name[1]]))
    only = [sum(name not in other for name in one) for one, other in (by_name, by_name[::-1])]
    if only[0] == len(by_name[0]):
        raise InputError("the two files have no photo in common; compare predictions for the same photos")
    paired: tuple[list[Row], list[Row]] = ([], [])
    for name in names:
        known = [rows.get(name) for rows in by_name]
        some = known[0] or known[1] or {}
        truth = {key: some[key] for key in ("image", "true_lat", "true_lng")}
        truth["owner"] = next((row["owner"] for row in known if row and row["owner"]), "")
        for row, into in zip(known, paired, strict=True):
            if row and max(abs(row[key] - some[key]) for key in ("true_lat", "true_lng")) > 1e-6:
                raise InputError(
                    f"the two files disagree about where {name!r} was taken; use one truth for both"
                )
            into.append({**row, **truth} if row else {**truth, "status": "error", "error": "not in the file"})
    return *paired, only[0], only[1]


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
