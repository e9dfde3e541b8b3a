"""WebDataset: tars in which the files of a sample follow each other and share their name up to the first dot.

Owns reading their headers and metadata; must not know other sources.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from geotoken.errors import InputError, reason_of
from geotoken.features.shard import CREDIT_COLUMNS
from geotoken.features.sources import Item, ItemSource, TarSlice
from geotoken.gallery.sources import BuildError
from geotoken.geo import check_lat_lng
from geotoken.images.formats import SUFFIXES

LAT_NAMES: Final = ("lat", "latitude")
"""Names of a latitude in metadata, in any case; the first that is there counts."""

LNG_NAMES: Final = ("lng", "lon", "long", "longitude")
"""Names of a longitude in metadata."""

OWNER_NAMES: Final = ("owner", "author", "creator_id", "user_id", "user")
"""Names of an owner in metadata."""

_MAX_METADATA = 1 << 20


def find_tars(path: Path) -> list[Path]:
    """The tars of a source.

    Args:
        path: A .tar, or a folder.

    Returns:
        The tar, or those directly in the folder, sorted; none if it is something else.
    """
    if path.is_dir():
        return sorted(one for one in path.iterdir() if one.suffix.lower() == ".tar" and one.is_file())
    return [path] if path.suffix.lower() == ".tar" and path.is_file() else []


def open_webdataset(path: Path) -> ItemSource:
    """Open tars; only their headers and metadata are read here.

    A sample is a photo and perhaps a `.json` with an object that has a latitude and a longitude, perhaps an
    owner and a `split`. Without the position, that in the photo's EXIF counts.

    Args:
        path: A .tar, or a folder of them.

    Returns:
        The source; ids are "tar/key".

    Raises:
        InputError: There is no tar.
    """
    tars = find_tars(path)
    if not tars:
        raise InputError(f"{path} is no .tar and holds none; give an uncompressed tar, or a folder of them")
    digest = hashlib.sha256()
    for tar in tars:
        about = tar.stat()
        digest.update(
            f"{tar.resolve()}\0{about.st_size}\0{about.st_mtime_ns}\0".encode("utf-8", "surrogateescape")
        )

    def items() -> Iterator[Item | BuildError]:
        for tar in tars:
            yield from tar_items(tar)

    return ItemSource(num_items=None, fingerprint=digest.hexdigest(), items=items)


def members(tar: Path) -> Iterator[tuple[str, TarSlice]]:
    """Files of a tar, in order, from its headers alone.

    Args:
        tar: An uncompressed tar.

    Yields:
        Name, and where the file is.

    Raises:
        InputError: It is no such tar, damaged or cut short.
    """
    try:
        with tarfile.open(tar, "r:") as opened:
            while (member := opened.next()) is not None:
                if member.isreg() and not member.issparse():
                    yield member.name, TarSlice(tar, member.offset_data, member.size)
                opened.members = []  # type: ignore[attr-defined]  # or it would remember them all
        end = TarSlice(tar, opened.offset, min(512, max(0, tar.stat().st_size - opened.offset))).read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(
            f"{tar} is damaged, compressed or no tar ({reason_of(error)}); fetch or unpack it again"
        ) from error
    if any(end):  # tarfile takes a damaged header for the end
        raise InputError(f"{tar} is damaged after {opened.offset} bytes; fetch it again")


def read_position(metadata: Mapping[str, Any]) -> tuple[float, float] | None:
    """A position in metadata.

    Args:
        metadata: Names in lower case.

    Returns:
        (lat, lng) in degrees, or None if it has none.

    Raises:
        InputError: It is not a possible position.
    """
    lat, lng = (first(metadata, names) for names in (LAT_NAMES, LNG_NAMES))
    if lat is None and lng is None:
        return None
    try:
        checked = check_lat_lng(float(lat), float(lng))  # TypeError is caught
    except TypeError:
        raise InputError(f"its position is {lat!r}, {lng!r}; give degrees") from None
    except InputError:
        raise
    except ValueError:
        raise InputError(f"its position is {lat!r}, {lng!r}; give degrees as numbers") from None
    return float(checked[0]), float(checked[1])


def first(metadata: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first entry that is there and not empty.

    Args:
        metadata: Entries.
        names: Their names, the preferred one first.

    Returns:
        Its value, or None.
    """
    return next((metadata[name] for name in names if metadata.get(name) not in (None, "")), None)


def tar_items(tar: Path, *, with_metadata: bool = True) -> Iterator[Item | BuildError]:
    """Samples of a tar, in order, from its headers and metadata.

    Args:
        tar: An uncompressed tar.
        with_metadata: Whether position, owner and so on are asked for; they may be damaged.

    Yields:
        A photo, or why a sample has none.

    Raises:
        InputError: It is no such tar, damaged or cut short.
    """

    def key_of(member: tuple[str, TarSlice]) -> str:
        folder, _, name = member[0].rpartition("/")
        return f"{folder}/{name.split('.', 1)[0]}" if folder else name.split(".", 1)[0]

    for key, group in groupby(members(tar), key_of):
        name = f"{tar.stem}/{key}"
        files = {Path(member).suffix.lower(): place for member, place in group}
        photo = next((place for suffix, place in files.items() if suffix in SUFFIXES), None)
        if photo is None:
            yield BuildError(name, f"the sample has no photo, only {', '.join(files) or 'nothing'}")
            continue
        try:
            metadata = _metadata(files.get(".json")) if with_metadata else {}
            position = read_position(metadata)
        except InputError as error:
            yield BuildError(name, str(error))
            continue
        owner, split = first(metadata, OWNER_NAMES), metadata.get("split")
        yield Item(
            id=name,
            photo=photo,
            position=position,
            owner=None if owner is None else str(owner),
            split=None if split is None else str(split),
            credit={name: str(metadata[name]) for name in CREDIT_COLUMNS if metadata.get(name)},
        )


def _metadata(place: TarSlice | None) -> dict[str, Any]:
    if place is None:
        return {}
    if place.size > _MAX_METADATA:
        raise InputError(f"its metadata has {place.size} bytes; allowed: {_MAX_METADATA}")
    try:
        found = json.loads(place.read())
    except (ValueError, RecursionError) as error:
        raise InputError("its metadata is not JSON") from error
    return {str(name).lower(): value for name, value in found.items()} if isinstance(found, dict) else {}
