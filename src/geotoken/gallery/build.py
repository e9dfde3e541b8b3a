"""Makes a gallery of a folder of photos or a CSV table.

Owns reading the sources and reporting what could not be used; must not know which encoder embeds.
"""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ImageError, InputError
from geotoken.files import check_regular
from geotoken.gallery.index import Gallery, check_destination
from geotoken.gallery.table import GalleryTable
from geotoken.geo import check_lat_lng
from geotoken.images.read import find_images, printable, read

BATCH_SIZE = 16
"""Photos read and embedded at once; bounds memory whatever the size of the source."""

REQUIRED_COLUMNS = ("image", "lat", "lng")
"""Columns that the CSV of a gallery must have."""

OPTIONAL_COLUMNS = ("id", "owner", "label", "attribution", "license", "source_url", "coord_precision")
"""Columns that the CSV of a gallery may have; others are reported, an empty cell means unknown."""

_MAX_HEADER = 200  # letters of a wrong header that are shown; a file of another kind may be one long line


class ImageEncoder(Protocol):
    """What building needs of an encoder; `geotoken.images.embed.Encoder` is one."""

    @property
    def name(self) -> str:
        """Name recorded in the gallery."""
        ...

    @property
    def dim(self) -> int:
        """Length D of the vectors."""
        ...

    @property
    def min_side(self) -> int:
        """Shorter side in pixels below which a photo loses detail the encoder could use."""
        ...

    def embed(self, photos: Sequence[NDArray[np.uint8]], *, for_gallery: bool) -> NDArray[np.float32]:
        """Embed B photos of shape (H, W, 3), uint8, to vectors of shape (B, D)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A photo to add, before it has been read."""

    path: Path
    """Its file."""
    name: str
    """How reports call it, and its id if it has no other."""
    position: tuple[float, float] | None
    """(lat, lng) in degrees; None to take the position in the file's EXIF."""
    columns: dict[str, str | None] = field(default_factory=dict)
    """Values of `OPTIONAL_COLUMNS`."""


@dataclass(frozen=True, slots=True)
class BuildError:
    """A photo that was not added."""

    image: str
    """The file or row."""
    reason: str
    """Why, in one line."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A photo that was not added because the same file was added before."""

    image: str
    """The file or row left out."""
    first: str
    """The one added."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What became of the photos of a source."""

    num_added: int
    """Photos in the gallery."""
    errors: list[BuildError]
    """Photos that could not be used, in order."""
    duplicates: list[Duplicate]
    """Repeated files, in order; a repeated photo would count twice as evidence."""
    unused_columns: list[str] = field(default_factory=list)
    """Columns of the CSV that a gallery has no use for, in order."""


def build_gallery(
    source: str | os.PathLike[str],
    encoder: ImageEncoder,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> BuildReport:
    """Make a gallery folder of photos whose position is known.

    Args:
        source: A folder of photos with a GPS position in their EXIF, searched with its subfolders; or a CSV
            file with `REQUIRED_COLUMNS` and any of `OPTIONAL_COLUMNS`, image paths relative to its folder.
        encoder: What turns photos into vectors.
        out: The gallery folder to make, outside the source.
        overwrite: Whether a gallery that is already there may be replaced.
        progress: Called with (photos done, photos in all) after each batch.

    Returns:
        How many photos were added, and which were not and why.

    Raises:
        InputError: The source cannot be read or none of its photos can be used, or `out` may not be replaced.
        ArtifactError: The gallery cannot be written.
    """
    if os.fspath(source) == "":
        raise InputError("an empty path; give a folder of photos, or a CSV")
    out = Path(out)
    check_destination(out, overwrite=overwrite)
    source = Path(source)
    unused_columns: list[str] = []
    if source.is_dir():
        paths = find_images([source])
        entries = [
            Entry(path=path, name=path.relative_to(source).as_posix(), position=None) for path in paths
        ]
        errors: list[BuildError] = []
    else:
        entries, errors, unused_columns = read_csv(source)
    gallery, report = embed_entries(entries, encoder, progress=progress)
    report = BuildReport(report.num_added, errors + report.errors, report.duplicates, unused_columns)
    if gallery is None:
        first = report.errors[0]
        raise InputError(
            f"none of the {len(report.errors)} photos of {source} can be used; "
            f"the first, {first.image}: {first.reason}"
        )
    gallery.save(out, overwrite=overwrite)
    return report


def embed_entries(
    entries: Sequence[Entry], encoder: ImageEncoder, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Gallery | None, BuildReport]:
    """Read and embed photos, batch by batch.

    Args:
        entries: The photos.
        encoder: What turns photos into vectors.
        progress: Called with (photos done, photos in all) after each batch.

    Returns:
        The gallery in memory, None if no photo could be used; and what became of each.
    """
    reader = _Reader(encoder.min_side)
    batches: list[NDArray[np.float32]] = []
    for start in range(0, len(entries), BATCH_SIZE):
        pixels = list(reader.read_all(entries[start : start + BATCH_SIZE]))
        if pixels:
            batches.append(encoder.embed(pixels, for_gallery=True))
        if progress is not None:
            progress(min(start + BATCH_SIZE, len(entries)), len(entries))
    report = BuildReport(len(reader.rows), reader.errors, reader.duplicates)
    if not batches:
        return None, report
    table = GalleryTable.from_rows(reader.rows)
    return Gallery.from_vectors(np.concatenate(batches), table, encoder.name), report


class _Reader:
    """Reads entries one after the other and keeps account of them."""

    def __init__(self, min_side: int) -> None:
        self.rows: list[dict[str, object]] = []
        self.errors: list[BuildError] = []
        self.duplicates: list[Duplicate] = []
        self._min_side = min_side
        self._first: dict[str, str] = {}  # sha256 -> name of the entry added

    def read_all(self, entries: Sequence[Entry]) -> Iterator[NDArray[np.uint8]]:
        """Yield the pixels of the entries that can be used, shape (H, W, 3), and record each."""
        for entry in entries:
            try:
                photo = read(entry.path, min_side=self._min_side)
            except ImageError as error:
                self.errors.append(BuildError(entry.name, str(error)))
                continue
            position = entry.position or photo.gps
            if photo.sha256 in self._first:
                self.duplicates.append(Duplicate(entry.name, self._first[photo.sha256]))
            elif position is None:
                reason = "no GPS position in its EXIF; give it in a CSV with the columns image, lat, lng"
                self.errors.append(BuildError(entry.name, reason))
            else:
                self._first[photo.sha256] = entry.name
                row = {"id": entry.name, "coord_precision": None if entry.position else "exif"}
                row |= {name: value for name, value in entry.columns.items() if value is not None}
                lat, lng = position
                self.rows.append(row | {"lat": lat, "lng": lng, "sha256": photo.sha256})
                yield photo.pixels


def read_csv(path: Path) -> tuple[list[Entry], list[BuildError], list[str]]:
    """Read the CSV of a gallery.

    Args:
        path: UTF-8 file with a header, separated by commas.

    Returns:
        The rows that can be used; the others with their line and what is wrong; and the columns that are
        neither required nor optional.

    Raises:
        InputError: The file cannot be read as CSV, lacks a column of `REQUIRED_COLUMNS`, or has no row.
    """
    entries: list[Entry] = []
    errors: list[BuildError] = []
    try:
        check_regular(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            unused_columns = _check_header(path, reader.fieldnames)
            for row in reader:
                try:
                    entries.append(_entry(path.parent, row))
                except InputError as error:
                    errors.append(BuildError(f"{path.name} line {reader.line_num}", str(error)))
    except InputError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read ({_reason(error)}); give a folder of photos, or a CSV in UTF-8"
        ) from error
    if not entries and not errors:
        raise InputError(f"{path} has no rows; give one photo a line")
    return entries, errors, unused_columns


def _check_header(path: Path, columns: Sequence[str]) -> list[str]:
    """The columns that are not used.

    Raises:
        InputError: A column that is needed is missing.
    """
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        found = printable(", ".join(columns)[:_MAX_HEADER]) or "nothing"
        raise InputError(
            f"{path} lacks the column {', '.join(missing)}; found: {found}. A gallery needs "
            f"{', '.join(REQUIRED_COLUMNS)}, separated by commas, and may have {', '.join(OPTIONAL_COLUMNS)}"
        )
    return [name for name in columns if name and name not in REQUIRED_COLUMNS + OPTIONAL_COLUMNS]


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not text in UTF-8"
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def _entry(folder: Path, row: dict[str, str | None]) -> Entry:
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
    checked_lat, checked_lng = check_lat_lng(lat, lng)
    return Entry(
        path=folder / image,
        name=image,
        position=(float(checked_lat), float(checked_lng)),
        columns={name: cells.get(name) for name in OPTIONAL_COLUMNS},
    )
