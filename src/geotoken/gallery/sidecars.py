"""Positions that photo tools keep beside a photo: XMP files and the JSON of Google Takeout.

Owns their names, formats, limits and order; must not know photos or galleries.
"""

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from geotoken.errors import ImageError, reason_of
from geotoken.images.read import quoted

MAX_BYTES = 16 << 20
"""Limit on the size of a sidecar: 16 MiB; an editor's long history takes a few."""

_EXIF_NAMESPACE = "http://ns.adobe.com/exif/1.0/"
_XMP_COORDINATE = re.compile(r"(\d{1,3}),(\d{1,2}(?:\.\d+)?)(?:,(\d{1,2}(?:\.\d+)?))?([NSEW])", re.IGNORECASE)
_NUMBERED = re.compile(r"(.+)(\(\d+\))(\.[^.]+)")  # photo(1).jpg, the second of that name in an album
_EDITED = re.compile(r"(.+)-edited(\.[^.]+)")
_MAX_TAKEOUT_STEM = 46  # letters of a Takeout file name before ".json"; the rest is cut

Position = tuple[float, float]
"""(lat, lng) in degrees."""


class SidecarError(ImageError):
    """A sidecar is there but cannot be read."""


def find_position(photo: Path, gps: Position | None) -> tuple[Position | None, str | None]:
    """Position of a photo of a folder: what a person set last, else what the camera wrote.

    Args:
        photo: The photo.
        gps: (lat, lng) in its EXIF.

    Returns:
        (lat, lng) in degrees or None, and what it is, "sidecar" or "exif".
    """
    if (position := xmp_position(photo)) is not None:
        return position, "sidecar"
    if gps is not None:
        return gps, "exif"
    if (position := takeout_position(photo)) is not None:
        return position, "sidecar"
    return None, None


def xmp_position(photo: Path) -> Position | None:
    """The position in the XMP sidecar of a photo: `photo.jpg.xmp`, else `photo.xmp`.

    darktable and digiKam write the first name, Lightroom the second. `exif:GPSLatitude` and
    `exif:GPSLongitude` may be attributes or elements. A document type declaration is refused: no photo tool
    writes one, and entities in it can expand to gigabytes.

    Args:
        photo: The photo's path.

    Returns:
        (lat, lng) in degrees, or None if there is no sidecar or none with a position.

    Raises:
        SidecarError: A sidecar is too large, cannot be read, or holds no XML or no possible position.

    References:
        XMP Specification Part 2 (2016), 1.2.7.4 GPSCoordinate: "DDD,MM,SSk" or "DDD,MM.mmk".
    """
    for path in _existing(photo.parent, _xmp_names(photo.name)):
        found = _parse_xmp(path)
        values = [found.get(name) for name in ("GPSLatitude", "GPSLongitude")]
        if values == [None, None]:
            continue
        lat, lng = _xmp_degrees(values[0], "NS"), _xmp_degrees(values[1], "EW")
        position = _possible(lat, lng)
        if position is None:
            raise SidecarError(_message(path, f"its position {values[0]}, {values[1]} is none"))
        if position != (0.0, 0.0):
            return position
    return None


def takeout_position(photo: Path) -> Position | None:
    """The position in the JSON that Google Takeout puts beside a photo.

    `geoData`, which Google Photos shows, comes before `geoDataExif`, of the camera; 0, 0 means unknown.

    Args:
        photo: The photo's path.

    Returns:
        (lat, lng) in degrees, or None if there is no sidecar or none with a position.

    Raises:
        SidecarError: A sidecar is too large, cannot be read, or holds no JSON or no possible position.
    """
    for path in _existing(photo.parent, _takeout_names(photo.name)):
        try:
            content = json.loads(_read(path))
        except (ValueError, RecursionError) as error:
            raise SidecarError(_message(path, "it is not JSON")) from error
        for key in ("geoData", "geoDataExif"):
            part = content.get(key) if isinstance(content, dict) else None
            if not isinstance(part, dict):
                continue
            values = part.get("latitude"), part.get("longitude")
            if values == (None, None):
                continue
            position = _possible(*values)
            if position is None:
                raise SidecarError(_message(path, f"its position {values[0]}, {values[1]} is none"))
            if position != (0.0, 0.0):
                return position
    return None


def sidecars_of(photo: Path) -> Iterator[Path]:
    """What may say where a photo was taken, whether it says so or not.

    Args:
        photo: The photo's path.

    Yields:
        Its sidecars that exist, those of XMP first.
    """
    yield from _existing(photo.parent, _xmp_names(photo.name))
    yield from _existing(photo.parent, _takeout_names(photo.name))


def _xmp_names(name: str) -> Iterator[str]:
    stem = os.path.splitext(name)[0]
    for base in (name, stem):
        yield f"{base}.xmp"
        yield f"{base}.XMP"


def _takeout_names(name: str) -> Iterator[str]:
    """The names that Takeout may have given to the JSON of a photo, newest habit first.

    A number goes to the end: `photo(1).jpg` has `photo.jpg.supplemental-metadata(1).json`. The stem is cut to
    `_MAX_TAKEOUT_STEM` letters, in the middle of "supplemental-metadata" or even of the photo's own name.
    """
    for base in (name, _EDITED.sub(r"\1\2", name)):
        numbered = _NUMBERED.fullmatch(base)
        forms = [(base, "")]
        if numbered:
            forms.insert(0, (numbered[1] + numbered[3], numbered[2]))
        for stem, number in forms:
            for whole in (f"{stem}.supplemental-metadata", stem):
                yield f"{whole[:_MAX_TAKEOUT_STEM]}{number}.json"
                yield f"{whole}{number}.json"


def _existing(folder: Path, names: Iterator[str]) -> Iterator[Path]:
    for name in dict.fromkeys(names):
        path = folder / name
        if os.path.lexists(path):
            yield path


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SidecarError(_message(path, "it is not a regular file"))
        if status.st_size > MAX_BYTES:
            raise SidecarError(
                _message(path, f"it has {status.st_size:,} bytes, more than the limit of {MAX_BYTES:,}")
            )
        return path.read_bytes()
    except OSError as error:
        raise SidecarError(_message(path, str(error.strerror))) from error


def _parse_xmp(path: Path) -> dict[str, str]:
    # Attributes and elements of the EXIF namespace that hold text; the first of a name counts.
    found: dict[str, str] = {}
    prefix = f"{_EXIF_NAMESPACE} "
    pieces: list[str] = []

    def start(_name: str, attributes: dict[str, str]) -> None:
        pieces.clear()
        for key, value in attributes.items():
            if key.startswith(prefix):
                found.setdefault(key.removeprefix(prefix), value)

    def end(name: str) -> None:
        if name.startswith(prefix) and pieces:
            found.setdefault(name.removeprefix(prefix), "".join(pieces))
        pieces.clear()

    def refuse(*_declaration: Any) -> None:
        raise SidecarError(_message(path, "it has a document type declaration"))

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = pieces.append
    parser.StartDoctypeDeclHandler = refuse
    content = _read(path)
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise SidecarError(_message(path, f"it is not XML: {reason_of(error)}")) from error
    return found


def _xmp_degrees(text: str | None, letters: str) -> float | None:
    match = _XMP_COORDINATE.fullmatch(re.sub(r"\s", "", text or ""))
    if match is None or match[4].upper() not in letters:
        return None
    minutes, seconds = float(match[2]), float(match[3] or 0)
    if minutes > 60 or seconds > 60:
        return None
    degrees = int(match[1]) + minutes / 60 + seconds / 3600
    return -degrees if match[4].upper() == letters[1] else degrees


def _possible(lat: object, lng: object) -> Position | None:
    """A position, or None if the two are not numbers within -90..90 and -180..180."""
    for value, limit in ((lat, 90), (lng, 180)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not -limit <= value <= limit:
            return None
    return float(lat), float(lng)  # type: ignore[arg-type]


def _message(path: Path, reason: str) -> str:
    return f"its sidecar {quoted(path.name)} cannot be read ({reason}); repair or remove it"
