"""A trained model's answers and densities on photos whose truth is known, decoder by decoder.

Owns how answers are made for the tables; must not know how the model was trained. Dimension letter: N photos.
"""

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geotoken import cells
from geotoken.decoding import Candidates, DecodingOptions, Posterior, decode, posterior, score
from geotoken.geo import from_xyz
from geotoken.metrics import THRESHOLDS_KM, accuracy, coverage, distance_to_truth_km
from geotoken.protocol import TokenModel
from geotoken.selection import select
from geotoken.selection.utility import Utility, mixed_thresholds, within_km
from worlds.cases import WorldCases
from worlds.oracle import disk_centers

Floats = NDArray[np.float64]

DECODERS = {
    "greedy": DecodingOptions(decoder="greedy"),
    "beam": DecodingOptions(decoder="beam", beam_width=5),
    "sample": DecodingOptions(decoder="sample", num_samples=30, temperature=1.0),
}
"""The decoders of the tables."""
EPSILON = 1e-3
"""Probability below which the posterior is not divided further."""
_TOGETHER = 16
_PLACE_LEVEL, _PLACES, _LEAST = 10, 10, 0.01  # what disks are laid around
_MARGIN_KM = 0.9


@dataclass(slots=True)
class Judged:
    """What a model said of N photos."""

    nll: Floats
    """Minus log density per km2 at the truth, nats, shape (N,)."""
    credible: Floats
    """Credible interval of the truth's cell, shape (N, 2), see `Posterior.credible_level_of`."""
    answers: dict[str, Floats] = field(default_factory=dict)
    """Latitudes and longitudes by decoder and method of selection, shape (2, N)."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time of each stage a photo."""

    def accuracy(self, name: str, lat: Floats, lng: Floats) -> dict[str, float]:
        """Accuracy of one kind of answer."""
        return accuracy(distance_to_truth_km(*self.answers[name], lat, lng))

    def best_at_each(self, kind: str, lat: Floats, lng: Floats) -> dict[str, float]:
        """Accuracy at each threshold of the answers chosen for that threshold.

        Args:
            kind: "mbr", as the pipeline proposes answers, or "disk", which also tries every disk that holds
                several places.
            lat: True latitudes in degrees, shape (N,).
            lng: True longitudes in degrees, shape (N,).

        Returns:
            Percent by name of the metric.
        """
        return {
            f"acc_at_{r}km": self.accuracy(f"{kind}_{r}km", lat, lng)[f"acc_at_{r}km"] for r in THRESHOLDS_KM
        }

    def coverage(self) -> dict[str, float]:
        """Share of truths in the regions of 50 and 90 %, percent."""
        return {f"coverage_{p}": coverage(self.credible, p / 100) for p in (50, 90)}


def judge(model: TokenModel, cases: WorldCases, num_photos: int, *, at_each: bool = True) -> Judged:
    """Ask the model about the first photos: every decoder and selection of the tables.

    Args:
        model: The model.
        cases: The photos.
        num_photos: How many, at most.
        at_each: Whether to answer for each threshold too, which takes most of the time.

    Returns:
        The answers.
    """
    num_photos = min(num_photos, len(cases.lat))
    found = Judged(np.empty(num_photos), np.empty((num_photos, 2)))
    for start in range(0, num_photos, _TOGETHER):
        rows = range(start, min(start + _TOGETHER, num_photos))
        _judge_some(model, cases, rows, found, at_each)
    found.seconds = {name: total / num_photos for name, total in found.seconds.items()}
    return found


def _judge_some(model: TokenModel, cases: WorldCases, rows: range, found: Judged, at_each: bool) -> None:
    part = slice(rows.start, rows.stop)
    lat, lng = cases.lat[part], cases.lng[part]
    began = time.perf_counter()
    memory = model.encode([cases.single(row) for row in rows])
    tokens = model.scheme.encode(lat, lng)
    area_km2 = cells.area_km2(model.scheme.to_cells(tokens))
    found.nll[part] = np.log(area_km2) - score(model, memory, tokens[:, None])[:, 0]
    began = _note(found, "encode", began)
    for decoder, options in DECODERS.items():
        candidates = decode(model, memory, options)
        for method in ("log_prob",) if decoder == "greedy" else ("log_prob", "medoid"):
            for row, one in zip(rows, candidates, strict=True):
                _put(found, f"{decoder}_{method}", row, method, one)
        began = _note(found, decoder, began)
    wholes = posterior(model, memory, EPSILON)
    began = _note(found, "posterior", began)
    for row, one, whole in zip(rows, candidates, wholes, strict=True):
        near = cases.gallery.lat[cases.neighbors[row]], cases.gallery.lng[cases.neighbors[row]]
        found.credible[row] = whole.credible_level_of(cases.lat[row], cases.lng[row])
        _put(found, "mbr", row, "mbr", one, whole, mixed_thresholds, near)
        if not at_each:
            continue
        disks = from_xyz(disk_centers(_likely_places(whole), _MARGIN_KM))
        more = np.concatenate([near[0], disks[0]]), np.concatenate([near[1], disks[1]])
        for r in THRESHOLDS_KM:
            _put(found, f"mbr_{r}km", row, "mbr", one, whole, within_km(r), near)
            _put(found, f"disk_{r}km", row, "mbr", one, whole, within_km(r), more)
    _note(found, "mbr", began)


def _likely_places(whole: Posterior) -> Floats:
    """Centers of the likeliest cells of some 8 km as unit vectors, shape (S, 3)."""
    cell_id, probability = whole.cells(_PLACE_LEVEL)
    return cells.center_xyz(cell_id[:_PLACES][probability[:_PLACES] >= _LEAST])


def _put(
    found: Judged,
    name: str,
    row: int,
    method: str,
    candidates: Candidates,
    whole: Posterior | None = None,
    utility: Utility = mixed_thresholds,
    near: tuple[Floats, Floats] | None = None,
) -> None:
    chosen = select(method, candidates, whole, utility=utility, extra=near)
    place = found.answers.setdefault(name, np.full((2, len(found.nll)), np.nan))
    place[:, row] = chosen.lat, chosen.lng


def _note(found: Judged, name: str, began: float) -> float:
    now = time.perf_counter()
    found.seconds[name] = found.seconds.get(name, 0.0) + now - began
    return now
