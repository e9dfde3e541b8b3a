"""Countries and territories by code or name, from the borders that ship with geotoken.

Owns the bundled file and the search for names; must not know where the borders come from.

The file is made by tools/build_countries.py from Natural Earth.
"""

import json
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError
from geotoken.regions.polygons import Polygons

STEPS_PER_DEGREE = 10_000
"""Coordinates are stored in these steps, about 11 m."""

_FORMAT = 1
_NUM_SUGGESTIONS = 3
_MAX_SHOWN = 60  # characters of what was given that a message repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """What a country or territory is called."""

    alpha2: str
    """ISO 3166-1 code of two letters; XK for Kosovo."""
    alpha3: str
    """ISO 3166-1 code of three letters; XKX for Kosovo."""
    name: str
    """Usual English name."""
    other_names: tuple[str, ...]
    """Further English names that are understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Atlas:
    """C countries of P polygons of R rings; the parts of a country are adjacent."""

    countries: list[Country]
    polygon_starts: NDArray[np.int64]  # (C + 1,), first polygon of each country, then P
    ring_starts: NDArray[np.int64]  # (P + 1,), first ring of each polygon, then R
    point_starts: NDArray[np.int64]  # (R + 1,), first point of each ring, then N
    steps: NDArray[np.int32]  # (N, 2), longitude and latitude, from the point before in the country
    tree_starts: NDArray[np.int64]  # (C + 1,)
    trees: NDArray[np.int8]  # (T,), of the covers
    rows: dict[str, int]  # of each code and name, as `fold` writes it
    about: dict[str, Any]


def load_country(text: str) -> tuple[str, Polygons]:
    """Find a country by its code or name, and its borders.

    Args:
        text: ISO 3166-1 code of two or three letters, or an English name; case, accents and punctuation do
            not matter.

    Returns:
        Its usual English name and its shape: the land, and the sea up to 20 km out.

    Raises:
        InputError: If there is no such country; the message has the nearest names.
        ArtifactError: If the bundled file is missing or of another format.
    """
    atlas = _load()
    if not isinstance(text, str):
        raise InputError(f"country {text!r} is not a text; give a code such as PE, or an English name")
    row = atlas.rows.get(fold(text))
    if row is None:
        text = text.strip()[:_MAX_SHOWN]
        raise InputError(
            f"{text!r} is no country; give an ISO 3166 code or an English name{_suggest(atlas, text)}"
        )
    return atlas.countries[row].name, _polygons(atlas, row)


def countries() -> list[Country]:
    """All countries and territories that have a region, by code.

    Returns:
        Their names and codes.

    Raises:
        ArtifactError: If the bundled file is missing or of another format.
    """
    return list(_load().countries)


def about() -> dict[str, Any]:
    """Origin of the bundled borders.

    Returns:
        Their `source`, `license` and `format`.

    Raises:
        ArtifactError: If the bundled file is missing or of another format.
    """
    return dict(_load().about)


def fold(text: str) -> str:
    """A name without what people write differently: case, accents, punctuation, "the" and "and".

    Args:
        text: Name or code.

    Returns:
        Words in lower case with one space between them.
    """
    plain = unicodedata.normalize("NFKD", text.casefold().replace("&", " and "))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).replace("'", "").replace("’", "")
    plain = plain.replace(".", "")
    words = "".join(c if c.isalnum() else " " for c in plain).split()
    if len(words) > 1:  # AND and ST alone are the codes of Andorra and São Tomé
        words = [{"st": "saint"}.get(word, word) for word in words if word not in ("the", "and")]
    return " ".join(words)


def _suggest(atlas: _Atlas, text: str) -> str:
    """The names nearest to a text, as the end of a message; empty if none is near."""
    wanted = fold(text)
    words = set(wanted.split())
    with_word = [key for key in atlas.rows if len(wanted) > 3 and words <= set(key.split())]
    near = with_word + get_close_matches(wanted, atlas.rows, n=2 * _NUM_SUGGESTIONS, cutoff=0.6)
    rows = list(dict.fromkeys(atlas.rows[key] for key in near))[:_NUM_SUGGESTIONS]
    names = [f"{atlas.countries[row].name} ({atlas.countries[row].alpha2})" for row in rows]
    return f"; did you mean {' or '.join(names)}?" if names else ""


def _polygons(atlas: _Atlas, row: int) -> Polygons:
    """The shape of the country of a row."""
    first_polygon, last_polygon = atlas.polygon_starts[row : row + 2]
    first_ring, last_ring = atlas.ring_starts[[first_polygon, last_polygon]]
    first_point, last_point = atlas.point_starts[[first_ring, last_ring]]
    points = np.cumsum(atlas.steps[first_point:last_point], axis=0, dtype=np.int64) / STEPS_PER_DEGREE
    ring_of_point = np.repeat(
        np.arange(last_ring - first_ring), np.diff(atlas.point_starts[first_ring : last_ring + 1])
    )
    rings = shapely.linearrings(points, indices=ring_of_point)
    bounds = atlas.ring_starts[first_polygon : last_polygon + 1] - first_ring
    polygons = [shapely.Polygon(rings[i], rings[i + 1 : j]) for i, j in pairwise(bounds.tolist())]
    tree = atlas.trees[atlas.tree_starts[row] : atlas.tree_starts[row + 1]]
    return Polygons.of(shapely.MultiPolygon(polygons), tree)


@cache
def _load() -> _Atlas:
    """Read the file once.

    Raises:
        ArtifactError: If it is missing, damaged or of another format.
    """
    path = files("geotoken") / "data" / "countries.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            data = {name: arrays[name] for name in arrays.files}
        about = json.loads(data["about"].tobytes())
    except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"the borders of countries cannot be read ({error}); install geotoken again"
        ) from error
    if about["format"] != _FORMAT:
        raise ArtifactError(
            f"the borders have format {about['format']}, not {_FORMAT}; install geotoken again"
        )
    entries = [line.split("\t") for line in data["countries"].tobytes().decode().split("\n")]
    known = [
        Country(alpha2=entry[0], alpha3=entry[1], name=entry[2], other_names=tuple(entry[3:]))
        for entry in entries
    ]
    rows = {fold(name): row for row, entry in enumerate(entries) for name in reversed(entry)}
    return _Atlas(
        countries=known,
        polygon_starts=_starts(data["num_polygons"]),
        ring_starts=_starts(data["num_rings"]),
        point_starts=_starts(data["num_points"]),
        steps=data["steps"],
        tree_starts=_starts(data["tree_sizes"]),
        trees=data["trees"],
        rows=rows,
        about=about,
    )


def _starts(sizes: NDArray[Any]) -> NDArray[np.int64]:
    """Positions where runs of the given sizes start, and the end; shape (K + 1,)."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
