"""Where the photos of a gallery come from: a folder, a CSV table, or GeoJSON.

Owns the formats of sources and what is wrong with a row; must not read a photo or know an encoder.
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geotoken.errors import InputError, reason_of
from geotoken.files import check_regular, read_regular
from geotoken.gallery.sidecars import sidecars_of
from geotoken.geo import check_lat_lng
from geotoken.images.read import find_images, quoted

REQUIRED_COLUMNS = ("image", "lat", "lng")
"""Columns that the CSV of a gallery must have."""

OPTIONAL_COLUMNS = ("id", "owner", "label", "attribution", "license", "source_url", "coord_precision")
"""Columns of a CSV, or properties of GeoJSON, that a gallery keeps; an empty one means unknown."""

IMAGE_PROPERTIES = ("image", "file", "filename", "path", "photo")
"""Properties of a GeoJSON point that may name its photo; the first that is there counts."""

MAX_GEOJSON_BYTES = 1 << 30
"""A longer GeoJSON file is refused, for it is held in memory; a CSV may have any length."""

_MAX_HEADER = 200  # letters of a wrong header that are shown; a file of another kind may be one long line
_SUPPORTED = "give a folder of photos, a CSV in UTF-8, or GeoJSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A photo to add, before it has been read."""

    path: Path
    """Its file."""
    name: str
    """How reports call it, and its id if it has no other."""
    position: tuple[float, float] | None
    """(lat, lng) in degrees; None to take the position in the file's EXIF or in a sidecar."""
    columns: dict[str, str | None] = field(default_factory=dict)
    """Values of `OPTIONAL_COLUMNS`."""
    split: str | None = None
    """The part of a data set it belongs to; galleries have no use for it."""


@dataclass(frozen=True, slots=True)
class BuildError:
    """A photo that was not added."""

    image: str
    """The file or row."""
    reason: str
    """Why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Photos in a fixed order, read as they are needed."""

    num_entries: int
    """Photos and bad rows in all."""
    unused_columns: list[str]
    """Columns that a gallery has no use for, in order."""
    fingerprint: str
    """Equal for two sources that give the same entries."""
    entries: Callable[[], Iterator[Entry | BuildError]]
    """Starts over the entries; a row that cannot be used comes as its error."""


def open_source(path: str | os.PathLike[str]) -> Source:
    """Find out what a source holds.

    Args:
        path: A folder, searched with its subfolders for photos that have a position in their EXIF or in a
            sidecar; a file that ends in .geojson or .json, holding points; or a CSV file with a header,
            separated by commas, with `REQUIRED_COLUMNS` and any of `OPTIONAL_COLUMNS`. Paths of images are
            relative to the folder of the file.

    Returns:
        The source.

    Raises:
        InputError: It does not exist, cannot be read, lacks what is needed, or is empty.
    """
    if os.fspath(path) == "":
        raise InputError("an empty path; give a folder of photos, or a CSV")
    path = Path(path)
    if path.is_dir():
        return _open_folder(path)
    if path.suffix.lower() in {".geojson", ".json"}:
        return _open_geojson(path)
    return _open_csv(path)


def list_source(entries: Sequence[Entry]) -> Source:
    """Make a source of entries in memory.

    Args:
        entries: The photos.

    Returns:
        The source.
    """
    digest = _digest(f"{one.path}\0{one.name}\0{one.position}\0{one.columns}" for one in entries)
    return Source(
        num_entries=len(entries), unused_columns=[], fingerprint=digest, entries=lambda: iter(entries)
    )


def stamp(entries: Sequence[Entry | BuildError]) -> str:
    """Tell whether photos or their sidecars were changed, without reading them.

    Args:
        entries: Some entries of a source.

    Returns:
        A hash of the size and time of change of each photo, and of each sidecar that would be asked.
    """
    digest = hashlib.sha256()
    for entry in entries:
        if isinstance(entry, BuildError):
            continue
        for path in (entry.path, *(() if entry.position else sidecars_of(entry.path))):
            try:
                status = path.stat()
                digest.update(f"{status.st_size} {status.st_mtime_ns} {path.name!a}\n".encode())
            except (OSError, ValueError):  # ValueError: a null byte in the path
                digest.update(b"none\n")
    return digest.hexdigest()


def _open_folder(folder: Path) -> Source:
    names = [os.path.relpath(path, folder) for path in find_images([folder])]

    def entries() -> Iterator[Entry]:
        for name in names:
            yield Entry(path=folder / name, name=Path(name).as_posix(), position=None)

    return Source(
        num_entries=len(names), unused_columns=[], fingerprint=_digest(names, folder), entries=entries
    )


def _open_csv(path: Path) -> Source:
    try:
        check_regular(path)
        unused_columns = _check_header(path)
        num_entries = sum(1 for _ in _csv_entries(path))
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except InputError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({_reason(error)}); {_SUPPORTED}") from error
    if not num_entries:
        raise InputError(f"{path} has no rows; give one photo a line")
    return Source(
        num_entries=num_entries,
        unused_columns=unused_columns,
        fingerprint=_digest([content], path),
        entries=lambda: _csv_entries(path),
    )


def _csv_entries(path: Path) -> Iterator[Entry | BuildError]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = _csv_reader(file)
        for row in reader:
            try:
                yield _csv_entry(path.parent, row)
            except InputError as error:
                yield BuildError(f"{path.name} line {reader.line_num}", str(error))


def _csv_reader(file: Any) -> "csv.DictReader[str]":
    reader = csv.DictReader(file, strict=True, skipinitialspace=True)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    return reader


def _check_header(path: Path) -> list[str]:
    """The columns that are not used.

    Raises:
        InputError: A column that is needed is missing.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        columns = list(_csv_reader(file).fieldnames or ())
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        found = quoted(", ".join(columns)[:_MAX_HEADER]) or "nothing"
        raise InputError(
            f"{path} lacks the column {', '.join(missing)}; found: {found}. A gallery needs "
            f"{', '.join(REQUIRED_COLUMNS)}, separated by commas, and may have {', '.join(OPTIONAL_COLUMNS)}"
        )
    return [name for name in columns if name and name not in REQUIRED_COLUMNS + OPTIONAL_COLUMNS]


def _csv_entry(folder: Path, row: dict[str, str | None]) -> Entry:
    if None in row:
        raise InputError("it has more cells than the header; quote cells that hold a comma")
    cells = {name: (value or "").strip() or None for name, value in row.items()}
    image = cells["image"]
    if image is None:
        raise InputError("its image is empty; give the path of a photo")
    for name in ("lat", "lng"):
        if cells[name] is None:
            raise InputError(f"its {name} is empty; give degrees")
    try:
        lat, lng = float(cells["lat"] or ""), float(cells["lng"] or "")
    except ValueError:
        raise InputError(
            f"its position is {cells['lat']!r}, {cells['lng']!r}; give degrees as numbers"
        ) from None
    columns = {name: cells.get(name) for name in OPTIONAL_COLUMNS}
    return Entry(
        path=folder / image,
        name=image,
        position=_checked(lat, lng),
        columns=columns,
        split=cells.get("split"),
    )


def _open_geojson(path: Path) -> Source:
    try:
        content = read_regular(path, MAX_GEOJSON_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({_reason(error)}); {_SUPPORTED}") from error
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = "it is not JSON"
        raise InputError(f"{path} cannot be read ({reason}); {_SUPPORTED}") from error
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list) or not features:
        raise InputError(f"{path} is not a GeoJSON FeatureCollection with features; give one point a photo")

    def entries() -> Iterator[Entry | BuildError]:
        for number, feature in enumerate(features, start=1):
            try:
                yield _geojson_entry(path.parent, feature)
            except InputError as error:
                yield BuildError(f"{path.name} feature {number}", str(error))

    known = {*IMAGE_PROPERTIES, *OPTIONAL_COLUMNS}
    properties = (one.get("properties") for one in features if isinstance(one, dict))
    names = (name for one in properties if isinstance(one, dict) for name in one)
    return Source(
        num_entries=len(features),
        unused_columns=[name for name in dict.fromkeys(names) if name not in known],
        fingerprint=_digest([hashlib.sha256(content).hexdigest()], path),
        entries=entries,
    )


def _geojson_entry(folder: Path, feature: Any) -> Entry:
    parts = feature if isinstance(feature, dict) else {}
    geometry, properties = parts.get("geometry"), parts.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    image = next((properties[name] for name in IMAGE_PROPERTIES if properties.get(name)), None)
    if not isinstance(image, str):
        raise InputError(f"it names no photo; give its path as the property {IMAGE_PROPERTIES[0]}")
    point = geometry if isinstance(geometry, dict) else {}
    coordinates = point.get("coordinates")
    if (
        point.get("type") != "Point"
        or not isinstance(coordinates, list)
        or len(coordinates) < 2
        or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in coordinates[:2])
    ):
        raise InputError(f"{quoted(image)} has no point; give a Point with [lng, lat] in degrees")
    columns = {name: _text(properties, name) for name in OPTIONAL_COLUMNS}
    columns["id"] = columns["id"] or _text(parts, "id")
    lng, lat = coordinates[:2]
    return Entry(
        path=folder / image,
        name=image,
        position=_checked(lat, lng),
        columns=columns,
        split=_text(properties, "split"),
    )


def _text(properties: Mapping[str, Any], name: str) -> str | None:
    """A property as text, None where it has none.

    Raises:
        InputError: It cannot be written to a file.
    """
    value = properties.get(name)
    text = "" if value is None or isinstance(value, dict | list) else str(value).strip()
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # JSON can write half of one
        raise InputError(f"its {name} is not valid Unicode; write it anew")
    return text or None


def _checked(lat: float, lng: float) -> tuple[float, float]:
    checked_lat, checked_lng = check_lat_lng(lat, lng)
    return float(checked_lat), float(checked_lng)


def _digest(parts: Sequence[str] | Iterator[str], path: Path | None = None) -> str:
    digest = hashlib.sha256(os.fsencode(path.resolve()) if path else b"")
    for part in parts:
        digest.update(os.fsencode(part) + b"\0")
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not text in UTF-8"
    return getattr(error, "strerror", None) or reason_of(error)
