"""Which photos go into which block: decided before any work, and the same whenever the source is.

Owns sources on any filesystem and cutting them into blocks; must not know what is done with photos.
"""

import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final

import pyarrow
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from geotoken.errors import ImageError, InputError, reason_of
from geotoken.features.shard import CREDIT_COLUMNS
from geotoken.features.sources import Item
from geotoken.features.webdataset import tar_items
from geotoken.gallery.sources import BuildError
from geotoken.geo import check_lat_lng
from geotoken.images.formats import SUFFIXES
from geotoken.scale.storage import Place, place_of

MANIFESTS: Final = (".csv", ".parquet")
"""Endings of files that list photos: a column `image`, and perhaps `id`, `lat`, `lng`, `owner`, `split`."""

COLUMNS: Final = ("image", "id", "lat", "lng", "owner", "split", *CREDIT_COLUMNS)
"""Columns of a manifest that are used; paths in it are relative to its own folder."""


KEPT: Final = 64
"""Photos fetched from elsewhere that a worker keeps at a time."""


@dataclass(frozen=True, slots=True)
class Block:
    """Photos that one worker does at a time, and that become one shard."""

    number: int
    """Its place in the order, from 0: the name of its shard."""
    content: bytes
    """JSON: either the URI of a tar, or a list of photos with what is known of each."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All blocks of a source."""

    blocks: list[Block] = field(repr=False)
    """In order."""
    fingerprint: str
    """Equal for two plans of the same blocks."""


def plan_photos(sources: Sequence[str | PurePath], *, block_photos: int, full_names: bool = False) -> Plan:
    """Find photos and cut them into blocks; no photo is read.

    Args:
        sources: Each a folder of photos or of tars, a photo, a WebDataset tar, or a manifest (`MANIFESTS`);
            by path or URI. A tar is a block of its own.
        block_photos: Photos in one block at most, at least 1.
        full_names: Whether a photo of a folder is called by its path, as it is given or found, and not by the
            path below the folder.

    Returns:
        The plan. The files of a folder are taken in the order of their names.

    Raises:
        InputError: A source does not exist, cannot be read, lacks what is needed, or is empty.
    """
    if block_photos < 1:
        raise InputError(f"photos in a block are {block_photos}; give a whole number of at least 1")
    contents: list[Any] = []
    photos: list[dict[str, Any]] = []
    known: set[int] = set()
    for source in sources:
        for one in _entries(place_of(source), os.fspath(source) if full_names else ""):
            key = hash(one.get("id") or PurePath(one["tar"]).stem)
            if key in known and "tar" in one:
                raise InputError(f"there are two tars of the name of {one['tar']}; rename one")
            if key in known:
                one["again"] = True
            known.add(key)
            if "tar" in one:
                contents += [photos] if photos else []
                contents.append(one)
                photos = []
                continue
            photos.append(one)
            if len(photos) == block_photos:
                contents.append(photos)
                photos = []
    contents += [photos] if photos else []
    digest = hashlib.sha256()
    blocks = []
    for number, content in enumerate(contents):
        text = json.dumps(content, sort_keys=True).encode()
        digest.update(text + b"\n")
        blocks.append(Block(number, text))
    return Plan(blocks, digest.hexdigest())


def block_items(content: bytes, *, with_metadata: bool = True) -> Generator[Item | BuildError]:
    """The photos of a block, as files of this machine.

    Args:
        content: Of a `Block`.
        with_metadata: Whether positions, owners and so on are asked for; they may be impossible.

    Yields:
        A photo, or why there is none; the name of a photo of a folder or manifest is its `id`. A photo that
        had to be fetched is there until `KEPT` more were, or the generator is closed.

    Raises:
        InputError: A tar is damaged.
    """
    described = json.loads(content)
    with ExitStack() as stack:
        if isinstance(described, dict):
            try:
                tar = stack.enter_context(Place(described["tar"]).fetched())
            except OSError as error:
                raise InputError(f"{described['tar']} cannot be read ({error.strerror})") from error
            yield from tar_items(tar, with_metadata=with_metadata)
            return
        fetched: deque[ExitStack] = deque()
        for one in described:
            fetched.append(ExitStack())
            stack.push(fetched[-1])
            if len(fetched) > KEPT:
                fetched.popleft().close()
            try:
                if with_metadata and one.get("again"):
                    raise InputError("its id came before; ids must be unique")
                known = one if with_metadata else {"image": one["image"], "id": one["id"]}
                yield _item(known, fetched[-1])
            except (ImageError, InputError) as error:
                yield BuildError(one["id"], str(error))


def _item(one: Mapping[str, Any], stack: ExitStack) -> Item:
    """A photo of a folder or manifest.

    Raises:
        InputError: Its position is impossible.
        ImageError: It cannot be fetched.
    """
    lat, lng = one.get("lat"), one.get("lng")
    position = None
    if lat is not None or lng is not None:
        if not isinstance(lat, float) or not isinstance(lng, float):
            raise InputError(f"its position is {lat}, {lng}; give degrees as numbers")
        checked = check_lat_lng(lat, lng)
        position = float(checked[0]), float(checked[1])
    place = Place(one["image"])
    try:
        photo = place.path if place.is_local else stack.enter_context(place.fetched())
    except OSError as error:
        raise ImageError(f"cannot read {place.uri}: {error.strerror or reason_of(error)}") from error
    return Item(
        id=one["id"],
        photo=photo,
        position=position,
        owner=one.get("owner"),
        split=one.get("split"),
        credit={name: one[name] for name in CREDIT_COLUMNS if one.get(name)},
    )


def _entries(source: Place, given: str) -> Iterator[dict[str, Any]]:
    """Photos, and tars, of one source; `given` is what photos are called by, or nothing.

    Raises:
        InputError: It does not exist, cannot be read, lacks what is needed, or is empty.
    """
    kind, suffix = source.kind(), PurePath(source.name).suffix.lower()
    if kind == "nothing":
        raise InputError(f"{source.uri} does not exist; give a folder, a photo, a .tar, a .csv or a .parquet")
    if kind == "file" and suffix in MANIFESTS:
        yield from _manifest(source, suffix)
    elif kind == "file" and suffix == ".tar":
        yield {"tar": source.uri, "bytes": _size(source)}
    elif kind == "file" and suffix in SUFFIXES:
        yield {"image": source.uri, "id": given or source.name}
    elif kind == "file":
        raise InputError(
            f"{source.uri} is neither a photo nor a .tar, a .csv or a .parquet; give one of those"
        )
    else:
        names = source.files(recursive=True)
        tars = [one for one in names if one[0].lower().endswith(".tar") and "/" not in one[0]]
        photos = [one for one in names if PurePath(one[0]).suffix.lower() in SUFFIXES]
        photos = [one for one in photos if not any(part.startswith(".") for part in one[0].split("/"))]
        if not tars and not photos:
            raise InputError(f"{source.uri} holds neither photos nor .tar files")
        for name, size in tars:
            yield {"tar": (source / name).uri, "bytes": size}
        for name, _ in photos if not tars else ():
            yield {"image": (source / name).uri, "id": _below(given, name)}


def _below(given: str, name: str) -> str:
    """What a photo of a folder is called."""
    if not given:
        return name
    return f"{given.rstrip('/')}/{name}" if "://" in given else str(Path(given) / name)


def _size(place: Place) -> int:
    system, path = place.open()
    return int(system.get_file_info(path).size)


def _manifest(source: Place, suffix: str) -> Iterator[dict[str, Any]]:
    """Rows of a manifest.

    Raises:
        InputError: It cannot be read, lacks the column `image`, or has no rows.
    """
    try:
        content = source.read()
        if suffix == ".parquet":
            table = parquet.read_table(io.BytesIO(content))
        else:
            names = arrow_csv.open_csv(io.BytesIO(content)).schema.names
            kinds = {name: pyarrow.string() for name in names}  # "007" is a name, not a number
            options = arrow_csv.ConvertOptions(column_types=kinds, strings_can_be_null=True, null_values=[""])
            table = arrow_csv.read_csv(io.BytesIO(content), convert_options=options)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{source.uri} cannot be read ({reason_of(error)})") from error
    names = [name.strip() for name in table.column_names]
    if "image" not in names:
        raise InputError(
            f"{source.uri} lacks the column image; found: {', '.join(names)[:200]}. A manifest has image, "
            f"and perhaps {', '.join(COLUMNS[1:])}"
        )
    if not table.num_rows:
        raise InputError(f"{source.uri} has no rows; give one photo a line")
    table = table.rename_columns(names).select([name for name in COLUMNS if name in names])
    folder = (
        Place(source.uri.rpartition("/")[0] or "/") if not source.is_local else Place(str(source.path.parent))
    )
    for number, row in enumerate(_rows(table), start=1):
        image = row.get("image")
        if image is None:
            raise InputError(f"{source.uri} row {number} names no image; give the path of a photo")
        known = {name: value for name, value in row.items() if value is not None}
        place = Place(image) if "://" in image else folder / image
        yield {**known, "image": place.uri, "id": row.get("id") or image}


def _rows(table: pyarrow.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            for name, value in row.items():
                is_number = name in ("lat", "lng")
                row[name] = (
                    value if value is None else _number(value) if is_number else str(value).strip() or None
                )
            yield row


def _number(value: Any) -> Any:
    """Degrees as a number; text that is none stays, and fails with its photo."""
    try:
        return float(value)
    except ValueError:
        return None if not str(value).strip() else str(value)
