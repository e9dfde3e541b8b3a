"""What is to be located, with the truth: from tables of truths, folders of photos and evidence tables.

Owns the matching of photos to truths; must not know models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geotoken.errors import InputError
from geotoken.evaluate.evidence_table import EvidenceTable
from geotoken.evaluate.run import Case
from geotoken.evaluate.tables import (
    IMAGE_NAMES,
    OWNER_NAMES,
    TRUTH_NAMES,
    Names,
    find_column,
    need_column,
    number_of,
    owner_of,
    read_table,
)
from geotoken.geo import check_lat_lng
from geotoken.images.read import find_images, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Where a photo was taken."""

    image: str
    """Name of the photo."""
    owner: str
    """Its photographer; empty where unknown."""
    lat: float
    """Latitude in degrees."""
    lng: float
    """Longitude in degrees."""


def read_truth(path: Path, limit: int | None = None) -> list[Truth]:
    """Read a table of truths, also with the columns of Im2GPS3k, YFCC4k, IM2GPS, OSV-5M and GWS15k.

    Args:
        path: Delimited text with a header.
        limit: Photos taken at most; all when None.

    Returns:
        One entry a photo, in order.

    Raises:
        InputError: If it cannot be read, lacks a column, or a row has no place or a name that was there.
    """
    what = f"the truth (--truth) {quoted(path)}"
    columns, rows = read_table(path, "the truth (--truth)")
    image = need_column(columns, IMAGE_NAMES, what)
    lat, lng = (need_column(columns, names, what) for names in TRUTH_NAMES)
    owner = find_column(columns, OWNER_NAMES)
    truths: dict[str, Truth] = {}
    for line, row in enumerate(rows[:limit], start=2):
        name = row[image].strip()
        try:
            values = [number_of(row[column]) for column in (lat, lng)]
            if None in values or not name:
                raise InputError("the name or a coordinate is empty")
            place = [float(value) for value in check_lat_lng(*values)]  # type: ignore[arg-type]
        except ValueError as error:
            raise InputError(f"{what} cannot be used in line {line}: {error}") from None
        if name in truths:
            raise InputError(f"{what} has {name!r} again in line {line}; give each photo once")
        truths[name] = Truth(image=name, owner=owner_of(row, owner, name), lat=place[0], lng=place[1])
    return list(truths.values())


def cases_of_images(folder: Path, truths: Sequence[Truth]) -> tuple[list[Case], int]:
    """Find the photos of a table of truths.

    Args:
        folder: Folder of the photos, searched with its subfolders.
        truths: Their names, as paths in the folder, or file names with or without ending, and places.

    Returns:
        One case a truth, one that failed where there is no such photo; and the number of photos in the
        folder that no truth is about.

    Raises:
        InputError: If the folder cannot be read or holds no photo.
    """
    if not folder.is_dir():
        raise InputError(f"--images {quoted(folder)} is no folder; give the folder of the photos")
    photos = find_images([folder])
    names = Names([path.relative_to(folder).as_posix() for path in photos])
    cases, used = [], set()
    for truth in truths:
        plain, row = folder / truth.image, names.find(truth.image)
        path = plain if plain.is_file() else None if row is None else photos[row]
        used.add(path)
        cases.append(
            Case(
                image=truth.image,
                owner=truth.owner,
                lat=truth.lat,
                lng=truth.lng,
                path=None if path is None else str(path),
                error="" if path is not None else f"there is no photo {quoted(truth.image)} in the folder",
            )
        )
    return cases, len(set(photos) - used)


def cases_of_evidence(table: EvidenceTable) -> list[Case]:
    """The photos of an evidence table.

    Args:
        table: The table.

    Returns:
        One case a photo, in order.
    """
    columns = (table.image, table.owner, table.lat.tolist(), table.lng.tolist(), table.cases)
    return [
        Case(image=image, owner=owner, lat=lat, lng=lng, evidence=evidence)
        for image, owner, lat, lng, evidence in zip(*columns, strict=True)
    ]
