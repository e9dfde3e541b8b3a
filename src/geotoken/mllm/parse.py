"""The words of a multimodal model as a place or a choice, however they are written; never a place made up.

Owns reading of answers; must not know how they were asked for.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from geotoken.prediction import Said

MAX_TEXT: Final = 500
"""Letters of an answer that are kept."""

_MAX_READ: Final = 20_000

_LAT_NAMES, _LNG_NAMES = ("latitude", "lat"), ("longitude", "lng", "lon", "long")
_CHOICE_NAMES = ("candidate", "number", "choice", "answer", "option")

_THOUGHTS = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_SIGN = "[-+\u2212\u2013]"
_MARKS = r"(?:\s*(?:°|º|deg(?:rees)?\b))"
_ANGLE: Final = (
    rf"(?P<{{0}}_letter>[NSEW]\s*)?(?P<{{0}}_sign>{_SIGN})?\s*(?P<{{0}}_deg>\d+(?:\.\d+)?){_MARKS}?"
    r"(?:\s*(?P<{0}_min>\d+(?:\.\d+)?)\s*['′’](?:\s*(?P<{0}_sec>\d+(?:\.\d+)?)\s*(?:\"|″|”|''))?)?"
    r"(?:\s*(?P<{0}_after>[NSEW])(?![A-Za-z]))?"
)
_LABEL = r"[\s:=*]{1,8}(?:is\s+)?"
_ONE = re.compile(rf"\s*{_ANGLE.format('one')}\s*", re.IGNORECASE)
_PAIR = re.compile(
    rf"(?<![\w.])(?:lat(?:itude)?{_LABEL})?{_ANGLE.format('one')}"
    rf"(?:\s*[,;/]\s*|\s+and\s+|\s+)(?:(?:lng|lon(?:g(?:itude)?)?){_LABEL})?{_ANGLE.format('two')}(?![\d.]*\d)",
    re.IGNORECASE,
)
_CHOICE = re.compile(
    r"(?:candidate|option|choice|number|answer)\W{0,6}(?:is\s+|number\s+)?#?(-?\d{1,6})(?!\d)", re.IGNORECASE
)
_BARE_NUMBER = re.compile(r"\W*?(-?\d{1,6})\W*")
_REFUSAL = re.compile(
    r"\b(?:can(?:no|')?t|cannot|can not|unable to|won't|will not|not able to|decline to|sorry)\b",
    re.IGNORECASE,
)


def parse_place(text: str) -> Said:
    """Read a place from an answer.

    Understood are JSON in or without a fence, labelled or bare pairs of numbers, whole numbers, signs, degree
    marks, minutes and seconds, and letters N, S, E and W. Where the first number can only be a longitude, the
    two are taken as swapped.

    Args:
        text: What the model wrote.

    Returns:
        The place; a problem instead if there is none, if a number is out of range, or if both are exactly 0,
        which models write for "unknown".
    """
    plain = _plain(text)
    objects = list(_objects(plain))
    for value in reversed(objects):
        lat, lng = (_number(value, names) for names in (_LAT_NAMES, _LNG_NAMES))
        if lat is not None and lng is not None:
            return _checked(text, lat, lng)
        if any(name in value for name in (*_LAT_NAMES, *_LNG_NAMES)):
            return Said(text=cut(text), problem="it says that it cannot tell")
    for match in reversed([] if objects else list(_PAIR.finditer(plain))):
        if _is_meant(match, plain):
            return _checked(text, _angle(match, "one"), _angle(match, "two"))
    declined = _REFUSAL.search(plain)
    return Said(text=cut(text), problem="it declined to answer" if declined else "it names no place")


def parse_choice(text: str, candidates: Sequence[tuple[float, float]]) -> Said:
    """Read the number of a candidate from an answer.

    Args:
        text: What the model wrote.
        candidates: (lat, lng) in degrees of each candidate, in the order of their numbers from 1.

    Returns:
        The candidate; a problem instead if none is named, several are, or there is no such number.
    """
    plain = _plain(text)
    chosen = [_whole(v[name]) for v in _objects(plain) for name in _CHOICE_NAMES if name in v]
    named = {number for number in chosen[-1:] if number is not None}
    if not chosen:
        alone = _BARE_NUMBER.fullmatch(plain)
        named = {int(alone[1])} if alone else {int(number) for number in _CHOICE.findall(plain)}
    kept = cut(text)
    if not named:
        declined = _REFUSAL.search(plain)
        return Said(text=kept, problem="it declined to answer" if declined else "it names no candidate")
    if len(named) > 1:
        return Said(text=kept, problem="it names several candidates")
    number = named.pop()
    if not 1 <= number <= len(candidates):
        return Said(text=kept, problem=f"it names candidate {number} of {len(candidates)}")
    lat, lng = candidates[number - 1]
    return Said(text=kept, lat=lat, lng=lng, candidate=number)


def cut(text: str) -> str:
    """The beginning of an answer on one line, without anything that moves a cursor.

    Args:
        text: What the model wrote.

    Returns:
        At most `MAX_TEXT` letters.
    """
    line = "".join(
        letter if letter.isprintable() else "?" for letter in " ".join(text[: 8 * MAX_TEXT].split())
    )
    return line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 4]} ..."


def _plain(text: str) -> str:
    """An answer of bearable length without thoughts and bold type."""
    return _THOUGHTS.sub("", text[:_MAX_READ]).replace("*", "")


def _checked(text: str, one: tuple[float, str], two: tuple[float, str]) -> Said:
    """A place, if two numbers with their letters are one."""
    (lat, first), (lng, second) = one, two
    if first in ("E", "W") or second in ("N", "S") or (not first and abs(lng) <= 90 < abs(lat)):
        lat, lng = lng, lat
    if not (abs(lat) <= 90 and abs(lng) <= 180):
        return Said(text=cut(text), problem=f"its numbers {one[0]:g}, {two[0]:g} are no place on Earth")
    if lat == 0 and lng == 0:
        return Said(text=cut(text), problem="it answers 0, 0, which models write for unknown")
    return Said(text=cut(text), lat=lat, lng=lng)


def _is_meant(match: re.Match[str], text: str) -> bool:
    """Whether a pair of numbers in a text is meant as coordinates, and is not two years or a list."""
    found = match[0]
    if re.search(r"\d\s*$", text[: match.start()]) or re.match(r"\s*\d", text[match.end() :]):
        return False  # a part of more numbers, such as degrees and minutes without marks
    letters = [bool(match[f"{name}_letter"] or match[f"{name}_after"]) for name in ("one", "two")]
    if letters[0] != letters[1]:
        return False
    marked = re.search(r"[°º′’']|deg|lat|\d\s*[NSEW]\b|\b[NSEW]\s*\d", found, re.IGNORECASE)
    precise = "." in match["one_deg"] and "." in match["two_deg"]
    alone = not re.search(r"\w", text.replace(found, ""))
    return bool(marked) or alone or (precise and not _REFUSAL.search(text))


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object in a text, those in others after them; names in lower case."""
    decoder, start = json.JSONDecoder(), 0
    while (start := text.find("{", start)) >= 0:
        try:
            value, start = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start += 1
            continue
        inside = [value]
        while inside:
            one = inside.pop()
            yield {str(name).lower(): item for name, item in one.items()}
            inside += [item for item in one.values() if isinstance(item, dict)]


def _number(value: dict[str, Any], names: Sequence[str]) -> tuple[float, str] | None:
    """The number of an object under one of some names, and the letter N, S, E or W with it."""
    found = next((value[name] for name in names if name in value), None)
    if isinstance(found, bool) or found is None:
        return None
    if isinstance(found, int | float):
        try:
            return float(found), ""
        except OverflowError:
            return math.inf, ""
    match = _ONE.fullmatch(found) if isinstance(found, str) and len(found) < 100 else None
    return None if match is None else _angle(match, "one")


def _angle(match: re.Match[str], name: str) -> tuple[float, str]:
    """Degrees of a match, signed, and its letter."""
    letter = (match[f"{name}_letter"] or match[f"{name}_after"] or "").strip().upper()
    degrees = float(match[f"{name}_deg"])
    degrees += float(match[f"{name}_min"] or 0) / 60 + float(match[f"{name}_sec"] or 0) / 3600
    sign = match[f"{name}_sign"]
    negative = letter in ("S", "W") if letter else sign is not None and sign != "+"
    return -degrees if negative else degrees, letter


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        match = _BARE_NUMBER.fullmatch(value) or _CHOICE.search(value)
        return int(match[1]) if match else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    is_whole = isinstance(value, int) or value.is_integer()
    return int(value) if is_whole and abs(value) < 1e6 else None
