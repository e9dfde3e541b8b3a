"""Recorded answers of a multimodal model in place of a model, so that what it adds is measured again and again.

Owns the table of recorded answers; must not know metrics. Whoever answered never saw geotoken's candidates: fuse
is what it would be, pool and free are only simulated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from geotoken import duck
from geotoken.errors import InputError, reason_of
from geotoken.files import check_regular
from geotoken.geo import haversine_km
from geotoken.mllm.decide import decide
from geotoken.mllm.options import MODES
from geotoken.pipeline import LocateOptions, Locator
from geotoken.prediction import Opinion, Prediction, Said

COLUMNS: Final = ("image_id", "guess_lat", "guess_lng")
"""Columns of the table; the last two are empty where the model failed. `guess_source` names it, where present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Recorded answers, in one mode."""

    mode: str
    """One of `MODES`."""
    answers: Mapping[str, tuple[float, float] | None] = field(repr=False)
    """(lat, lng) in degrees that the model answered about each photo; None where it gave no place."""
    model: str = "recorded"
    """Name of the model."""
    weight: float = 1.0
    """fuse: trust in the answer, > 0."""

    @property
    def simulated(self) -> bool:
        """Whether the answers were not given to what the mode asks: they never saw a candidate."""
        return self.mode != "fuse"

    @classmethod
    def load(cls, path: Path, mode: str, weight: float = 1.0) -> "Replay":
        """Read recorded answers.

        Args:
            path: Parquet with the columns `COLUMNS`, such as an evidence table.
            mode: One of `MODES`.
            weight: fuse: trust in the answers, > 0.

        Returns:
            The answers.

        Raises:
            InputError: If the table cannot be read or lacks a column, or the mode is unknown.
        """
        if mode not in MODES:
            raise InputError(f"mode (--mllm) is {mode!r}; choose one of {', '.join(MODES)}")
        answers: dict[str, tuple[float, float] | None] = {}
        sources: dict[str, None] = {}
        for row in _rows(path):
            name, lat, lng = str(row["image_id"]), row["guess_lat"], row["guess_lng"]
            known = lat is not None and lng is not None and not (np.isnan(lat) or np.isnan(lng))
            if known and not (abs(lat) <= 90 and abs(lng) <= 180):
                raise InputError(
                    f"the recorded answers {path}: {lat:g}, {lng:g} for {name!r} is no place on Earth"
                )
            answers[name] = (float(lat), float(lng)) if known else None
            if row.get("guess_source"):
                sources[str(row["guess_source"])] = None
        return cls(mode=mode, answers=answers, model=", ".join(sources) or "recorded", weight=weight)

    def judge(self, locator: Locator, own: Prediction, options: LocateOptions) -> Prediction:
        """Let the recorded answer about a photo decide.

        Args:
            locator: What has located the photo.
            own: Its own answer, found without the recorded one.
            options: How it was located.

        Returns:
            The answer, by the same code as for a model that is asked now.
        """
        place = self.answers.get(own.image)
        said = Said(problem="it gave no place") if place is None else Said(lat=place[0], lng=place[1])
        if place is not None and self.mode == "pool":
            said = _nearest_candidate(own, *place)
        opinion = Opinion(mode=self.mode, model=self.model, answers=(said,))
        return decide(locator, own, opinion, options, self.weight)


def _nearest_candidate(own: Prediction, lat: float, lng: float) -> Said:
    """What would be chosen by whoever believes in a place: the candidate nearest to it."""
    found = own.candidates
    lats, lngs = np.append(found.lat, own.lat), np.append(found.lng, own.lng)
    row = int(np.argmin(haversine_km(lat, lng, lats, lngs)))
    return Said(lat=float(lats[row]), lng=float(lngs[row]))


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
            f"the recorded answers (--replay) {path} lack {', '.join(missing)}; they must have {', '.join(COLUMNS)}"
        )
    return [dict(zip(names, row, strict=True)) for row in rows]
