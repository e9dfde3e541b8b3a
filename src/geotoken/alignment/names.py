"""What is said of a place: names from the offline gazetteer, as texts and as hashed parts of words.

Owns the wording and the hashing; must not know networks.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geotoken.places import Place, nearest

Ints = NDArray[np.int64]

_PART: Final = 3  # letters of a part of a word
_TOGETHER: Final = 2000  # places named at once


@dataclass(frozen=True, slots=True)
class PlaceTexts:
    """The distinct texts of many places, and which place has which."""

    texts: tuple[str, ...]
    """U distinct texts."""
    codes: Ints
    """Position in `texts` of each text of each place, shape (N, T): T is 3 by levels, 1 as a sentence."""


def describe_places(
    lat: NDArray[np.float64],
    lng: NDArray[np.float64],
    style: str,
    progress: Callable[[int, int], None] | None = None,
) -> PlaceTexts:
    """Name places and say so.

    Args:
        lat: Latitude in degrees, shape (N,).
        lng: Longitude in degrees, shape (N,).
        style: "levels" for country, division and city, each with what it lies in, or "sentence" for all at
            once.
        progress: Called with (places done, places in all).

    Returns:
        Their texts.
    """
    known: dict[str, int] = {}
    codes = np.empty((len(lat), 1 if style == "sentence" else 3), dtype=np.int64)
    for start in range(0, len(lat), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        codes[part] = [
            [known.setdefault(text, len(known)) for text in place_texts(place, style)]
            for place in nearest(lat[part], lng[part])
        ]
        if progress is not None:
            progress(min(part.stop, len(lat)), len(lat))
    return PlaceTexts(tuple(known), codes)


def place_texts(place: Place, style: str) -> list[str]:
    """What is said of one place.

    Args:
        place: The place.
        style: As for `describe_places`.

    Returns:
        One text, or three from the country down.
    """
    admin1 = ", ".join(filter(None, (place.admin1, place.country)))
    city = ", ".join(filter(None, (place.city, admin1)))
    return [f"A photo taken in {city}."] if style == "sentence" else [place.country, admin1, city]


def hashed_parts(texts: Sequence[str], num_buckets: int) -> tuple[Ints, Ints]:
    """Words and parts of words of texts, as rows of a table.

    A word is counted whole and by its groups of three letters, with its ends marked; so are two words that
    follow each other. Letters are compared in lower case.

    Args:
        texts: U texts.
        num_buckets: Rows of the table.

    Returns:
        Rows of all texts one after another, shape (P,), and where each text begins, with the end of the last,
        shape (U + 1,).

    References:
        Bojanowski et al. (2017), Enriching word vectors with subword information, section 3.2.
    """
    rows: list[int] = []
    starts = [0]
    for text in texts:
        words = [f"<{word.strip('.,')}>" for word in text.lower().split()]
        parts = [*words, *(a + b for a, b in pairwise(words))]
        parts += [word[i : i + _PART] for word in words for i in range(len(word) - _PART + 1)]
        rows += [zlib.crc32(part.encode()) % num_buckets for part in parts]
        starts.append(len(rows))
    return np.array(rows, dtype=np.int64), np.array(starts, dtype=np.int64)
