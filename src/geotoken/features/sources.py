"""Where the photos of a store come from: folders, CSV, GeoJSON, WebDataset tars, published data sets.

Owns the choice of a reader, and what an item is; must not read pixels or know encoders.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from geotoken.errors import ImageError, InputError
from geotoken.features.shard import CREDIT_COLUMNS
from geotoken.gallery.sources import BuildError, Entry, open_source

LAYOUTS: Final = ("auto", "photos", "webdataset", "mp16", "osv5m", "yfcc4k", "im2gps3k")
"""How a source may be laid out; see docs/datasets.md."""


@dataclass(frozen=True, slots=True)
class TarSlice:
    """A file inside an uncompressed tar."""

    tar: Path
    """The tar."""
    offset: int
    """Where the file begins, in bytes."""
    size: int
    """Its length in bytes."""

    def read(self) -> bytes:
        """Read the file.

        Returns:
            Its content.

        Raises:
            ImageError: The tar cannot be read, or is cut short.
        """
        try:
            with self.tar.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise ImageError(f"cannot read {self.tar}: {error.strerror}") from error
        if len(content) != self.size:
            raise ImageError(f"cannot read {self.tar}: it is cut short; fetch it again")
        return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A photo to embed, before it has been read."""

    id: str
    """Its name, unique in the source."""
    photo: Path | TarSlice
    """Where its file is."""
    position: tuple[float, float] | None
    """(lat, lng) in degrees; None to take the position in the file's EXIF or in a sidecar."""
    owner: str | None = None
    """Who took or uploaded it."""
    split: str | None = None
    """The part of the data set it belongs to."""
    credit: Mapping[str, str] = field(default_factory=dict)
    """What its licence asks for: any of `CREDIT_COLUMNS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemSource:
    """Photos in a fixed order, found as they are needed."""

    num_items: int | None
    """Photos and bad rows in all; None where counting would take a pass over the source."""
    fingerprint: str
    """Equal for two sources that give the same items."""
    items: Callable[[], Iterator[Item | BuildError]]
    """Starts over the items; one that cannot be used comes as its error."""


def open_items(
    path: str | os.PathLike[str], *, layout: str = "auto", images: str | os.PathLike[str] | None = None
) -> ItemSource:
    """Find out what a source holds.

    Args:
        path: A folder, a CSV or GeoJSON as `geotoken.gallery.sources.open_source` takes them; a .tar or a
            folder of them; or, with one of the later `LAYOUTS`, a published data set's CSV or its folder.
        layout: One of `LAYOUTS`; "auto" tells tars from photos.
        images: Folder, .tar or folder of tars with the photos of a published data set; where its CSV is when
            None.

    Returns:
        The source.

    Raises:
        InputError: The layout is unknown, or the source does not exist, cannot be read, lacks what is needed,
            or is empty.
    """
    from geotoken.features.layouts import PUBLISHED, open_published
    from geotoken.features.webdataset import find_tars, open_webdataset

    if layout not in LAYOUTS:
        raise InputError(f"layout (--layout) is {layout!r}; choose one of {', '.join(LAYOUTS)}")
    if layout in PUBLISHED:
        return open_published(Path(path), layout, None if images is None else Path(images))
    if images is not None:
        raise InputError(f"images (--images) is for the layouts {', '.join(PUBLISHED)}; leave it out")
    if os.fspath(path) and (layout == "webdataset" or (layout == "auto" and find_tars(Path(path)))):
        return open_webdataset(Path(path))
    return _photos(path)


def _photos(path: str | os.PathLike[str]) -> ItemSource:
    source = open_source(path)

    def items() -> Iterator[Item | BuildError]:
        for entry in source.entries():
            yield _item(entry) if isinstance(entry, Entry) else entry

    return ItemSource(num_items=source.num_entries, fingerprint=source.fingerprint, items=items)


def _item(entry: Entry) -> Item:
    return Item(
        id=entry.columns.get("id") or entry.name,
        photo=entry.path,
        position=entry.position,
        owner=entry.columns.get("owner"),
        split=entry.split,
        credit={name: text for name in CREDIT_COLUMNS if (text := entry.columns.get(name))},
    )
