"""Predictions with their truths, one row a photo: columns, files, and the join with tables of other systems.

Owns the predictions file; must not know metrics.
"""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import InputError
from geotoken.evaluate.tables import (
    ANSWER_NAMES,
    IMAGE_NAMES,
    OWNER_NAMES,
    TRUE_NAMES,
    Names,
    Texts,
    find_column,
    need_column,
    number_of,
    owner_of,
    read_table,
)
from geotoken.exports.columns import guard, unguard, writable
from geotoken.files import replacing
from geotoken.geo import check_lat_lng
from geotoken.images.read import quoted
from geotoken.metrics import THRESHOLDS_KM
from geotoken.places import nearest

Row = dict[str, Any]
"""Values of `COLUMNS` about one photo; a column without a value is absent or None."""

REGION_PERCENTS: Final = (50, 90)
"""Masses of the credible regions and radii that are looked at, in percent."""

COLUMNS: Final[dict[str, tuple[type, str]]] = {
    "image": (str, "Name of the photo."),
    "owner": (str, "Its photographer; empty where unknown."),
    "true_lat": (float, "Latitude of the truth in degrees."),
    "true_lng": (float, "Longitude of the truth in degrees."),
    "status": (str, "`ok`, or `error` for a photo without an answer, which counts as wrong."),
    "lat": (float, "Latitude of the answer in degrees."),
    "lng": (float, "Longitude of the answer in degrees."),
    "error_km": (float, "Distance of the answer from the truth in km, by the formula of the run."),
    "nll": (float, "Minus log of the density per km2 at the truth, in nats."),
    "credible_low": (
        float,
        "Mass of the credible region, of cells of level 12, that the truth's cell begins at.",
    ),
    "credible_high": (float, "Mass at which all of that cell is in the region."),
    **{f"region_{p}_km2": (float, f"Area of the {p} % credible region in km2.") for p in REGION_PERCENTS},
    **{
        f"radius_{p}_km": (float, f"Radius around the answer that holds {p} %, in km.")
        for p in REGION_PERCENTS
    },
    **{
        f"probability_{r}km": (float, f"Probability that the truth is within {r} km of the answer.")
        for r in THRESHOLDS_KM
    },
    "confidence": (float, "How sure another system says it is; only the order counts."),
    "true_country_code": (str, "Country of the settlement nearest to the truth, ISO 3166-1."),
    "true_admin1": (str, "First-level division of it."),
    "country_code": (str, "Country of the settlement nearest to the answer."),
    "admin1": (str, "First-level division of it."),
    "error": (str, "Why there is no answer, in one line."),
}
"""Type and meaning of each column of a predictions file, in order."""

_CONFIDENCE: Final = ("confidence", "score", "probability", "prob")
_NO_ANSWER: Final = "there is no answer for it"


class Placed(Protocol):
    """A truth: name, photographer and place of a photo."""

    @property
    def image(self) -> str:
        """Name of the photo."""

    @property
    def owner(self) -> str:
        """Its photographer."""

    @property
    def lat(self) -> float:
        """Latitude in degrees."""

    @property
    def lng(self) -> float:
        """Longitude in degrees."""


def failed_row(image: str, owner: str, lat: float, lng: float, error: str) -> Row:
    """The row of a photo without an answer.

    Args:
        image: Its name.
        owner: Its photographer.
        lat: True latitude in degrees.
        lng: True longitude in degrees.
        error: Why there is no answer.

    Returns:
        The row.
    """
    known = {"image": image, "owner": owner, "true_lat": lat, "true_lng": lng}
    return {**known, "status": "error", "error": " ".join(error.split())}


def column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    """A numeric column.

    Args:
        rows: N rows.
        name: Its name.

    Returns:
        Values, shape (N,), NaN where there is none.
    """
    return np.array([math.nan if row.get(name) is None else row[name] for row in rows], dtype=np.float64)


def name_places(rows: Sequence[Row]) -> None:
    """Fill the columns of countries and divisions where they are missing; changes the rows.

    Args:
        rows: The rows.
    """
    for prefix in ("true_", ""):
        bare = [
            r for r in rows if r.get(f"{prefix}lat") is not None and r.get(f"{prefix}country_code") is None
        ]
        if bare:
            places = nearest(column(bare, f"{prefix}lat"), column(bare, f"{prefix}lng"))
            for row, place in zip(bare, places, strict=True):
                row[f"{prefix}country_code"], row[f"{prefix}admin1"] = place.country_code, place.admin1


def write_predictions(path: Path, rows: Iterable[Row]) -> None:
    """Write a predictions file, whole or not at all.

    Args:
        path: The CSV file.
        rows: The rows.

    Raises:
        InputError: If it cannot be written.
    """
    try:
        with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for row in rows:
                values = [row.get(name) for name in COLUMNS]
                table.writerow([guard(writable(v)) if isinstance(v, str) else v for v in values])
    except OSError as error:
        raise InputError(
            f"--predictions {quoted(path)} cannot be written ({error.strerror or error})"
        ) from error


@dataclass(frozen=True, slots=True)
class Predictions:
    """Rows of a predictions file, and what does not fit the truth."""

    rows: list[Row]
    """One a photo of the truth, in its order."""
    num_unused: int
    """Answers about photos that the truth does not have."""


def read_predictions(path: Path, truths: Sequence[Placed] | None = None) -> Predictions:
    """Read the predictions of any system.

    Args:
        path: CSV with a name and a place a row; of ours, also what we know of the posterior.
        truths: Where the photos were taken; None if the file itself says so (`true_lat`, `true_lng`).

    Returns:
        One row a truth. A photo that the file lacks, or has without a place, is one that failed.

    Raises:
        InputError: If it cannot be read, lacks a column, has a photo twice or what is no place.
    """
    what = f"the predictions {quoted(path)}"
    columns, rows = read_table(path, "the predictions")
    image = need_column(columns, IMAGE_NAMES, what)
    ours = [name for name in COLUMNS if name in columns and COLUMNS[name][0] is float]
    sources = dict(zip(ours, ours, strict=True))
    sources["lat"], sources["lng"] = (need_column(columns, names, what) for names in ANSWER_NAMES)
    if confidence := find_column(columns, _CONFIDENCE):
        sources["confidence"] = confidence
    owner = find_column(columns, OWNER_NAMES)
    found: dict[str, Row] = {}
    for line, texts in enumerate(rows, start=2):
        row = _parse(texts, sources, f"{what}, line {line}")
        row["image"] = unguard(texts[image]).strip()
        row["owner"] = owner_of(texts, owner, row["image"])
        if row["image"] in found:
            raise InputError(f"{what}: line {line} is about {row['image']!r} again; give each photo once")
        if row["status"] == "error":
            row["error"] = unguard(texts.get("error") or "") or _NO_ANSWER
        found[row["image"]] = row
    if truths is None:
        return Predictions(_with_own_truth(list(found.values()), columns, rows, what), 0)
    return _join(list(found.values()), truths, what)


def _parse(texts: Texts, sources: dict[str, str], where: str) -> Row:
    """Numbers of a row.

    Raises:
        InputError: If one is none, or the place is not on Earth.
    """
    try:
        row: Row = {name: number_of(texts[source]) for name, source in sources.items()}
        if (row["lat"] is None) != (row["lng"] is None):
            raise InputError("a latitude without a longitude, or the other way round")
        if row["lat"] is not None:
            row["lat"], row["lng"] = (float(value) for value in check_lat_lng(row["lat"], row["lng"]))
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    return {**row, "status": "error" if row["lat"] is None else "ok"}


def _with_own_truth(found: list[Row], columns: list[str], rows: list[Texts], what: str) -> list[Row]:
    """Rows with the truth that stands in the file itself.

    Raises:
        InputError: If it does not, or is no place.
    """
    names = [find_column(columns, aliases) for aliases in TRUE_NAMES]
    if None in names:
        raise InputError(f"{what} has no true_lat and true_lng; give the truth with --truth FILE.csv")
    for row, texts in zip(found, rows, strict=True):
        try:
            place = [number_of(texts[name]) for name in names if name is not None]
            if None in place:
                raise InputError("no truth")
            lat, lng = check_lat_lng(*place)  # type: ignore[arg-type]
        except ValueError as error:
            raise InputError(f"{what}: {row['image']}: {error}") from None
        row["true_lat"], row["true_lng"] = float(lat), float(lng)
    return found


def _join(found: list[Row], truths: Sequence[Placed], what: str) -> Predictions:
    """One row a truth.

    Raises:
        InputError: If no name fits.
    """
    names = Names([row["image"] for row in found])
    rows, used = [], set()
    for truth in truths:
        position = names.find(truth.image)
        known = {"image": truth.image, "true_lat": truth.lat, "true_lng": truth.lng}
        if position is None:
            rows.append(failed_row(truth.image, truth.owner, truth.lat, truth.lng, _NO_ANSWER))
            continue
        used.add(position)
        row = found[position]
        rows.append({**row, **known, "owner": truth.owner or row["owner"]})
    if not used:
        raise InputError(
            f"{what} is about none of the photos of the truth, such as {truths[0].image!r}; it is about "
            f"{found[0]['image']!r} and others"
        )
    return Predictions(rows, len(found) - len(used))
