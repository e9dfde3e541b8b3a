"""An answer as one flat row: the columns of every table that is exported.

Owns the columns, their types and their text forms; must not know files.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

Row = dict[str, Any]
"""An object of `locate --json` with its `source`, or a row of the columns below."""

PROBABILITY_LEVELS: Final = (0, 4, 8, 12, 16)
"""Levels of the cells around an answer whose probability has a column."""

COLUMNS: Final[dict[str, tuple[type, str]]] = {
    "image": (str, "Path of the photo as given or found."),
    "status": (str, "`ok`, or `error` for a photo that was not located; then most columns are empty."),
    "lat": (float, "Latitude of the answer in degrees."),
    "lng": (float, "Longitude of the answer in degrees."),
    "radius_50_km": (float, "Radius around the answer that holds half of the posterior, in km."),
    "radius_90_km": (float, "Radius that holds 90 % of it, in km."),
    **{
        f"probability_level_{level}": (
            float,
            f"Probability of the S2 cell of level {level} around the answer; empty if the model has no such "
            "level.",
        )
        for level in PROBABILITY_LEVELS
    },
    "region_probability": (float, "Probability that the region searched had before; empty without one."),
    "city": (str, "Settlement that the answer belongs to or is nearest to."),
    "admin1": (str, "First-level division of the country."),
    "country": (str, "English name of the country or territory."),
    "country_code": (str, "ISO 3166-1 code of two letters."),
    "cell_hex": (str, "Leaf cell that contains the answer."),
    "log_prob": (float, "Natural log of the probability of that whole cell."),
    "warnings": (str, "Remarks, joined by `; `."),
    "error": (str, "Why the photo was not located, in one line."),
    "source_bytes": (int, "Size of the photo's file when it was located."),
    "source_mtime_us": (int, "When that file was last changed, in microseconds since 1970."),
    "settings": (str, "Short hash of the model, gallery and options that made the row."),
}
"""Type and meaning of each column, in order."""

# Control characters have no place in a table or in XML; lone surrogates, of undecodable names, in no file.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_FORMULA = re.compile("'*[=+@-]")


def flatten(answer: Row) -> Row:
    """An answer as a row.

    Args:
        answer: An object of `locate --json` with its `source`; or a row, which is returned as it is.

    Returns:
        Every column of `COLUMNS` in order; None where there is no value.
    """
    if is_flat(answer):
        return answer
    levels = {level["level"]: level["probability"] for level in answer.get("levels", ())}
    place, source = answer.get("place", {}), answer["source"]
    values = {
        **answer,
        **{f"radius_{percent}_km": km for percent, km in answer.get("radius_km", {}).items()},
        **{f"probability_level_{level}": levels.get(level) for level in PROBABILITY_LEVELS},
        **place,
        "cell_hex": answer.get("cell", {}).get("hex"),
        "warnings": "; ".join(answer["warnings"]),
        "source_bytes": source["bytes"],
        "source_mtime_us": source["mtime_us"],
        "settings": source["settings"],
    }
    row = {name: values.get(name) for name in COLUMNS}
    return {name: (writable(v) or None) if isinstance(v, str) else v for name, v in row.items()}


def is_flat(answer: Row) -> bool:
    """Whether an answer is a row of columns, and so lacks what only JSON holds."""
    return "source" not in answer


def settings_of(answer: Row) -> str | None:
    """Hash of the settings that made an answer; None if it has none."""
    found = answer.get("settings") if is_flat(answer) else answer["source"].get("settings")
    return None if found is None else str(found)


def source_of(answer: Row) -> tuple[int | None, int | None]:
    """Size in bytes and time of change in µs of the file that was located; None of one that was missing."""
    if is_flat(answer):
        return answer.get("source_bytes"), answer.get("source_mtime_us")
    return answer["source"].get("bytes"), answer["source"].get("mtime_us")


def writable(text: str) -> str:
    """Text that every format can hold: one line, control characters and lone surrogates as escapes.

    Args:
        text: Any text.

    Returns:
        The same, but for characters such as a line feed, which becomes a backslash and an n.
    """
    return _UNWRITABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def guard(text: str) -> str:
    """Keep a spreadsheet from taking text for a formula: `=`, `+`, `-` or `@` in front gets a `'`.

    Args:
        text: Any text.

    Returns:
        Text that `unguard` takes back exactly.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(text: str) -> str:
    """The inverse of `guard`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def parse_row(texts: Mapping[str, str | None]) -> Row:
    """A row of typed values from their texts.

    Args:
        texts: Text of each column; one that is absent, None or empty has no value.

    Returns:
        Every column of `COLUMNS`.

    Raises:
        ValueError: If a number is not one, or there is no image or status.
    """
    row = {name: kind(texts[name]) if texts.get(name) else None for name, (kind, _) in COLUMNS.items()}
    if not row["image"] or row["status"] not in ("ok", "error"):
        raise ValueError("a row has no image or no status")
    return row
