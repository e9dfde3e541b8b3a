"""Data sets as their authors publish them: a CSV of positions, and photos in folders or tars.

Owns the names of their files and columns; must not know where they can be had.
"""

import csv
import hashlib
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from geotoken.errors import InputError, reason_of
from geotoken.features.sources import Item, ItemSource, TarSlice
from geotoken.features.webdataset import OWNER_NAMES, find_tars, first, members, read_position
from geotoken.gallery.sources import BuildError
from geotoken.images.formats import SUFFIXES


@dataclass(frozen=True, slots=True)
class Published:
    """A published data set."""

    tables: Mapping[str, str]
    """Its CSV files, the first that is there or all of several splits, and the split of each."""
    id_column: str
    """Column that names the photo, in lower case."""
    all_tables: bool = False
    """Whether every table that is there counts, not only the first."""


PUBLISHED: Final[Mapping[str, Published]] = MappingProxyType(
    {
        "mp16": Published({"MP16_Pro_filtered.csv": "train", "MP16_Pro_places365.csv": "train"}, "img_id"),
        "osv5m": Published({"train.csv": "train", "test.csv": "test"}, "id", all_tables=True),
        "yfcc4k": Published({"yfcc4k_places365.csv": "test"}, "img_id"),
        "im2gps3k": Published({"im2gps3k_places365.csv": "test"}, "img_id"),
    }
)
"""By name of the layout."""


class PhotoIndex:
    """Where photos are, by file name, in a few arrays: 28 bytes a photo, whatever their number."""

    def __init__(self, root: Path) -> None:
        """Look through a folder with its subfolders, or through tars.

        Args:
            root: A folder of photos, a .tar, or a folder of tars.

        Raises:
            InputError: There is nothing, or a tar is damaged.
        """
        hashes, offsets, sizes, where = array("q"), array("q"), array("q"), array("i")
        self._places: list[Path] = []
        for tar in find_tars(root):
            for name, place in members(tar):
                hashes.append(_hash(name.rpartition("/")[2]))
                offsets.append(place.offset)
                sizes.append(place.size)
                where.append(len(self._places))
            self._places.append(tar)
        for folder, _, names in os.walk(root):
            photos = [name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES]
            for name in photos:
                hashes.append(_hash(name))
                offsets.append(-1)
                sizes.append(-1)
                where.append(len(self._places))
            if photos:
                self._places.append(Path(folder))
        if not hashes:
            raise InputError(f"{root} holds no photos, neither as files nor in a .tar; say where (--images)")
        self._hashes = np.frombuffer(hashes, dtype=np.int64)
        self._order = np.argsort(self._hashes, kind="stable").astype(np.int32)
        self._hashes = self._hashes[self._order]
        self._offsets, self._sizes = np.frombuffer(offsets, np.int64), np.frombuffer(sizes, np.int64)
        self._where = np.frombuffer(where, np.int32)

    def find(self, name: str) -> Path | TarSlice | None:
        """Find a photo.

        Args:
            name: Its file name, without folders.

        Returns:
            Where it is, or None.
        """
        key = _hash(name)
        position = int(np.searchsorted(self._hashes, key))
        if position == len(self._hashes) or self._hashes[position] != key:
            return None
        row = self._order[position]
        place: Path = self._places[self._where[row]]
        if self._offsets[row] < 0:
            return place / name
        return TarSlice(place, int(self._offsets[row]), int(self._sizes[row]))


def open_published(path: Path, layout: str, images: Path | None = None) -> ItemSource:
    """Open a published data set that the user has.

    Args:
        path: Its CSV, or the folder with it.
        layout: One of `PUBLISHED`.
        images: Folder, .tar or folder of tars with its photos; the folder of the CSV when None.

    Returns:
        The source, in the order of the CSV. A row whose photo is not there comes as an error.

    Raises:
        InputError: A file is missing or has other columns.
    """
    published = PUBLISHED[layout]
    tables = _tables(path, layout)
    root = images if images is not None else path if path.is_dir() else path.parent
    digest = hashlib.sha256(os.fsencode(root.resolve()))
    num_items = 0
    for table in tables:
        _check_columns(table, published, layout)
        with table.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        num_items += sum(1 for _ in _rows(table))

    def items() -> Iterator[Item | BuildError]:
        index = PhotoIndex(root)
        for table in tables:
            split = published.tables.get(table.name)
            for row in _rows(table):
                yield _item(row, published.id_column, split, index)

    return ItemSource(num_items=num_items, fingerprint=digest.hexdigest(), items=items)


def _tables(path: Path, layout: str) -> list[Path]:
    published = PUBLISHED[layout]
    if path.is_file():
        return [path]
    folders = (path, path / "metadata")
    found = [one / name for name in published.tables for one in folders if (one / name).is_file()]
    if not found:
        names = " or ".join(published.tables)
        raise InputError(f"{path} has no {names}; give the folder of {layout}, or its CSV")
    return found if published.all_tables else found[:1]


def _rows(table: Path) -> Iterator[dict[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                yield {(name or "").strip().lower(): value or "" for name, value in row.items() if name}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise InputError(f"{table} cannot be read ({reason}); give a CSV in UTF-8") from error


def _check_columns(table: Path, published: Published, layout: str) -> None:
    """Refuse a table of another data set.

    Raises:
        InputError: A column is missing, or there is no row.
    """
    row = next(_rows(table), None)
    if row is None:
        raise InputError(f"{table} has no rows; fetch it again")
    present = published.id_column in row
    if not present or not ({"lat", "latitude"} & set(row)) or not ({"lon", "longitude", "lng"} & set(row)):
        found = ", ".join(row)[:200]
        raise InputError(
            f"{table} is not the table of {layout}: it needs {published.id_column}, a latitude and a "
            f"longitude; found: {found}"
        )


def _item(row: dict[str, str], id_column: str, split: str | None, index: PhotoIndex) -> Item | BuildError:
    name = row[id_column].strip()
    if not name:
        return BuildError("a row", f"its {id_column} is empty")
    try:
        position = read_position(row)
    except InputError as error:
        return BuildError(name, str(error))
    if position is None:
        return BuildError(name, "its position is empty; give degrees")
    photo = _find(index, name)
    if photo is None:
        return BuildError(name, "its photo is not there")
    owner = first(row, OWNER_NAMES)
    return Item(id=name, photo=photo, position=position, owner=owner, split=row.get("split") or split)


def _find(index: PhotoIndex, name: str) -> Path | TarSlice | None:
    """MP-16's tar writes "4f/a0/396.jpg" as "4f_a0_396.jpg"; OSV-5M's ids have no suffix."""
    last = name.rpartition("/")[2]
    for one in (name.replace("/", "_"), last, f"{last}.jpg"):
        if (found := index.find(one)) is not None:
            return found
    return None


def _hash(name: str) -> int:
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
