"""Recorded answers in place of a multimodal model, so that what it adds can be measured again and again.

Owns the table of recorded answers; must not know metrics. Whoever answered never saw geotoken's candidates:
fuse is what it would be, pool and free are only simulated.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from geotoken import duck
from geotoken.errors import InputError, reason_of
from geotoken.files import check_regular
from geotoken.geo import check_lat_lng, haversine_km
from geotoken.mllm.decide import decide
from geotoken.mllm.options import MODES
from geotoken.pipeline import LocateOptions, Locator
from geotoken.prediction import Opinion, Prediction, Said

COLUMNS: Final = ("image_id", "guess_lat", "guess_lng")
"""Columns of the table; the last two are empty where the model failed. `guess_source` may name the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a model answered about one photo, in a given mode."""

    mode: str
    """One of `MODES`."""
    model: str
    """Name of the model."""
    place: tuple[float, float] | None
    """(lat, lng) in degrees that it answered; None where it gave no place, or was not asked."""
    weight: float = 1.0
    """fuse: trust in the answer, > 0."""

    def judge(self, locator: Locator, own: Prediction, options: LocateOptions) -> Prediction:
        """Let the recorded answer decide.

        Args:
            locator: What has located the photo.
            own: Its own answer, found without the recorded one.
            options: How it was located.

        Returns:
            The answer, by the same code as for a model that is asked now.
        """
        said = Said(problem="it gave no place")
        if self.place is not None:
            lat, lng = _nearest_candidate(own, *self.place) if self.mode == "pool" else self.place
            said = Said(lat=lat, lng=lng)
        opinion = Opinion(mode=self.mode, model=self.model, answers=(said,))
        return decide(locator, own, opinion, options, self.weight)


def is_simulated(mode: str) -> bool:
    """Whether recorded answers only stand in for those of a mode: they never saw the candidates.

    Args:
        mode: One of `MODES`.

    Returns:
        False for fuse alone, which shows a model nothing but the photo.
    """
    return mode != "fuse"


def load_recorded(path: Path, mode: str, weight: float = 1.0) -> dict[str, Recorded]:
    """Read recorded answers.

    Args:
        path: Parquet with the columns `COLUMNS`, such as an evidence table.
        mode: One of `MODES`.
        weight: fuse: trust in the answers, > 0.

    Returns:
        The answer about each photo by its name.

    Raises:
        InputError: If the table cannot be read, lacks a column or holds what is no place; or the mode or the
            weight cannot be.
    """
    if mode not in MODES:
        raise InputError(f"mode (--mllm) is {mode!r}; choose one of {', '.join(MODES)}")
    if not 0 < weight < np.inf:
        raise InputError(f"weight (--mllm-weight) is {weight}; give a number greater than 0")
    found: dict[str, Recorded] = {}
    for row in _rows(path):
        name, pair = str(row["image_id"]), (row["guess_lat"], row["guess_lng"])
        try:
            lat, lng = (math.nan if value is None else float(value) for value in pair)
            place = None if math.isnan(lat) or math.isnan(lng) else (lat, lng)
            check_lat_lng(*(place or (0.0, 0.0)))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"the recorded answers (--replay) {path} cannot be used for {name!r}: {reason_of(error)}"
            ) from None
        if name in found:
            raise InputError(
                f"the recorded answers (--replay) {path} have {name!r} twice; give each photo one row"
            )
        found[name] = Recorded(
            mode=mode,
            model=str(row.get("guess_source") or "recorded"),
            place=place,
            weight=weight,
        )
    return found


def _nearest_candidate(own: Prediction, lat: float, lng: float) -> tuple[float, float]:
    """What would be chosen by whoever believes in a place: the candidate nearest to it."""
    found = own.candidates
    lats, lngs = np.append(found.lat, own.lat), np.append(found.lng, own.lng)
    row = int(np.argmin(haversine_km(lat, lng, lats, lngs)))
    return float(lats[row]), float(lngs[row])


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table.

    Raises:
        InputError: If it cannot be read or lacks a column.
    """
    import duckdb

    try:
        check_regular(path)
        with duck.connect(threads=1) as connection:
            file = [duck.literal(path)]
            present = {row[0] for row in connection.execute("describe from read_parquet(?)", file).fetchall()}
            names = [name for name in (*COLUMNS, "guess_source") if name in present]
            rows = connection.execute(f"select {', '.join(names) or 1} from read_parquet(?)", file).fetchall()
    except (OSError, ValueError, duckdb.Error) as error:
        raise InputError(
            f"the recorded answers (--replay) {path} cannot be read ({reason_of(error)}); give a Parquet file"
        ) from error
    missing = [name for name in COLUMNS if name not in present]
    if missing:
        raise InputError(
            f"the recorded answers (--replay) {path} lack {', '.join(missing)}; they must have "
            f"{', '.join(COLUMNS)}"
        )
    return [dict(zip(names, row, strict=True)) for row in rows]
