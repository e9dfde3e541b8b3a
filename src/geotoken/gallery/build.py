"""Makes a gallery of photos whose position is known, and adds more to one.

Owns reading, embedding and reporting what could not be used; must not know which encoder embeds.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ImageError, InputError
from geotoken.gallery.index import Gallery, to_units
from geotoken.gallery.kinds import choose_kind
from geotoken.gallery.lock import changing
from geotoken.gallery.shards import Shards
from geotoken.gallery.sidecars import find_position
from geotoken.gallery.sources import BuildError, Entry, Source, list_source, open_source, stamp
from geotoken.gallery.table import GalleryTable, hash_bytes
from geotoken.gallery.write import Pieces, check_destination, write_gallery
from geotoken.images.embed import ImageEncoder
from geotoken.images.read import quoted, read
from geotoken.manifest import MANIFEST_NAME

BATCH_SIZE = 16
"""Photos read and embedded at once; bounds memory whatever the size of the source."""

SHARD_SIZE = 8 * BATCH_SIZE
"""Photos of one part of an unfinished build: what a killed build loses at most."""

Progress = Callable[[int, int], None]
"""Called with (photos done, photos in all) after each batch."""


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
    """Photos added to the gallery."""
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
    resume: bool = False,
    index: str = "auto",
    progress: Progress | None = None,
) -> BuildReport:
    """Make a gallery folder of photos whose position is known.

    What has been embedded is kept in `OUT.partial` until the gallery is there. A build that goes on with it
    gives the same gallery as one that was never stopped; photos and sidecars that were changed since, by size
    or time, are read again, and so are those that follow them.

    Args:
        source: A folder of photos, a CSV file, or GeoJSON; see `geotoken.gallery.sources.open_source`. Photos
            of a folder have a position in an XMP sidecar, in their EXIF or in the JSON of Google Takeout; the
            first of these counts.
        encoder: What turns photos into vectors.
        out: The gallery folder to make, outside the source if that is a folder.
        overwrite: Whether a gallery that is already there may be replaced, and an unfinished build dropped.
        resume: Whether to go on with an unfinished build of the same source; if there is none, a new one
            begins.
        index: How the gallery is searched: "auto" to choose by size, "exact", "hnsw" or "ivfpq".
        progress: Called with (photos done, photos in all) after each batch, and before the first of a build
            that goes on.

    Returns:
        How many photos were added, and which were not and why.

    Raises:
        InputError: The source cannot be read or none of its photos can be used, `out` may not be replaced,
            there is an unfinished build, or another run is changing the gallery.
        ArtifactError: The gallery cannot be written.
    """
    out = Path(out)
    opened = open_source(source)
    choose_kind(index, 1)
    check_destination(out, overwrite=overwrite)
    _check_apart(Path(source), out)
    with suppress(OSError):  # what is wrong with it is told below
        out.resolve().parent.mkdir(parents=True, exist_ok=True)
    with changing(out):
        fingerprint = f"{opened.fingerprint} {encoder.name} {encoder.dim} {SHARD_SIZE}"
        shards = Shards.open(_partial(out), fingerprint, resume=resume, discard=overwrite)
        report = _embed(opened, encoder, shards, {}, progress)
        if not report.num_added:
            shards.remove()
            first = report.errors[0]
            raise InputError(
                f"none of the {len(report.errors)} photos of {source} can be used; "
                f"the first, {first.image}: {first.reason}"
            )
        write_gallery(
            out, _pieces(shards), encoder_name=encoder.name, dim=encoder.dim, kind=index, overwrite=overwrite
        )
        shards.remove()
    return report


def add_photos(
    folder: str | os.PathLike[str],
    source: str | os.PathLike[str],
    encoder: ImageEncoder,
    *,
    resume: bool = False,
    index: str | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Add photos to a gallery; it is as before until all are in.

    Args:
        folder: The gallery folder.
        source: As for `build_gallery`.
        encoder: The encoder that made the gallery.
        resume: Whether to go on with an unfinished addition of the same source to the same gallery.
        index: How the gallery is searched then; None keeps to the choice made before.
        progress: Called with (photos done, photos in all) after each batch.

    Returns:
        How many photos were added, and which were not and why; a photo that the gallery has is a duplicate.

    Raises:
        InputError: The source cannot be read, there is an unfinished addition, or another run is changing the
            gallery.
        ArtifactError: The gallery is damaged, was made by another encoder, or cannot be written.
    """
    opened = open_source(source)
    with changing(Path(folder)):
        return _add(Path(folder), opened, encoder, resume, index, progress)


def _add(
    out: Path,
    source: Source,
    encoder: ImageEncoder,
    resume: bool,
    index: str | None,
    progress: Progress | None,
) -> BuildReport:
    """Add the photos of a source to a gallery that nobody else is changing."""
    gallery = Gallery.load(out)
    gallery.check_encoder(encoder.name, encoder.dim)
    kind = kept_kind(gallery) if index is None else index
    choose_kind(kind, 1)
    version = hashlib.sha256((out / MANIFEST_NAME).read_bytes()).hexdigest()
    fingerprint = f"{source.fingerprint} {encoder.name} {encoder.dim} {SHARD_SIZE} {version}"
    shards = Shards.open(_partial(out), fingerprint, resume=resume, discard=False)
    known = {
        hash_bytes(digest): name
        for digest, name in zip(gallery.table.sha256, gallery.table.id, strict=True)
        if digest
    }
    report = _embed(source, encoder, shards, known, progress)
    if report.num_added:
        write_gallery(
            out,
            _grown(gallery, shards),
            encoder_name=encoder.name,
            dim=encoder.dim,
            kind=kind,
            overwrite=True,
        )
    shards.remove()
    return report


def embed_entries(
    entries: Sequence[Entry], encoder: ImageEncoder, *, progress: Progress | None = None
) -> tuple[Gallery | None, BuildReport]:
    """Read and embed photos in memory, batch by batch.

    Args:
        entries: The photos.
        encoder: What turns photos into vectors.
        progress: Called with (photos done, photos in all) after each batch.

    Returns:
        The gallery in memory, None if no photo could be used; and what became of each.
    """
    reader = _Reader(encoder.min_side, {})
    source = list_source(entries)
    parts = list(_embed_parts(source, 0, encoder, reader, progress))
    errors = [BuildError(**one) for _, record in parts for one in record["errors"]]
    duplicates = [Duplicate(**one) for _, record in parts for one in record["duplicates"]]
    rows = [row for _, record in parts for row in record["rows"]]
    report = BuildReport(len(rows), errors, duplicates)
    if not rows:
        return None, report
    vectors = np.concatenate([vectors for vectors, _ in parts])
    return Gallery.from_vectors(vectors, GalleryTable.from_rows(rows), encoder.name), report


def kept_kind(gallery: Gallery) -> str:
    """The kind of index that a gallery keeps when it changes.

    Args:
        gallery: The gallery as it is.

    Returns:
        "auto" if its index is what its size asks for, else the kind that was chosen for it.
    """
    return "auto" if gallery.index_kind == choose_kind("auto", gallery.size) else gallery.index_kind


def _embed(
    source: Source, encoder: ImageEncoder, shards: Shards, known: dict[bytes, str], progress: Progress | None
) -> BuildReport:
    """Embed what is not in the shards yet, and report on all of them."""
    shards.keep(_num_unchanged(source, shards))
    reader = _Reader(encoder.min_side, known)
    for record in shards.records():
        reader.remember(record["rows"])
    done = min(shards.num_shards * SHARD_SIZE, source.num_entries)
    if done and progress is not None:
        progress(done, source.num_entries)
    for vectors, record in _embed_parts(source, done, encoder, reader, progress):
        shards.append(vectors, record)
    num_added = 0
    errors: list[BuildError] = []
    duplicates: list[Duplicate] = []
    for record in shards.records():
        num_added += len(record["rows"])
        errors += [BuildError(**one) for one in record["errors"]]
        duplicates += [Duplicate(**one) for one in record["duplicates"]]
    return BuildReport(num_added, errors, duplicates, source.unused_columns)


def _check_apart(source: Path, out: Path) -> None:
    """Refuse a gallery among the photos it is made of.

    Raises:
        InputError: It would lie in the source.
    """
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"the gallery {out} would lie in {source}, the folder of photos; put it elsewhere")


def _num_unchanged(source: Source, shards: Shards) -> int:
    """Parts from the first whose photos and sidecars are as they were when they were embedded.

    A part after a changed one is none of them: what is a duplicate depends on what came before.
    """
    parts = zip(shards.records(), _parts(source.entries()), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0].get("stamp") == stamp(pair[1]), parts))


def _parts(entries: Iterator[Entry | BuildError]) -> Iterator[list[Entry | BuildError]]:
    while part := list(islice(entries, SHARD_SIZE)):
        yield part


def _embed_parts(
    source: Source, num_done: int, encoder: ImageEncoder, reader: "_Reader", progress: Progress | None
) -> Iterator[tuple[NDArray[np.float32], dict[str, Any]]]:
    """Vectors and record of each `SHARD_SIZE` entries of a source, after the first `num_done`."""
    for part in _parts(islice(source.entries(), num_done, None)):
        before = stamp(part)
        blocks = [np.empty((0, encoder.dim), dtype=np.float32)]
        for entries in _batches(part):
            pixels = list(reader.read_all(entries))
            if pixels:
                blocks.append(to_units(encoder.embed(pixels, for_gallery=True), "gallery"))
            num_done += len(entries)
            if progress is not None:
                progress(num_done, source.num_entries)
        yield np.concatenate(blocks), reader.take_record() | {"stamp": before}


def _batches(entries: Sequence[Entry | BuildError]) -> Iterator[Sequence[Entry | BuildError]]:
    for start in range(0, len(entries), BATCH_SIZE):
        yield entries[start : start + BATCH_SIZE]


class _Reader:
    """Reads entries one after the other and keeps account of them."""

    def __init__(self, min_side: int, known: dict[bytes, str]) -> None:
        self._min_side = min_side
        self._first = known  # sha256 -> name of the photo that has it
        self._rows: list[dict[str, Any]] = []
        self._errors: list[BuildError] = []
        self._duplicates: list[Duplicate] = []

    def remember(self, rows: Iterable[dict[str, Any]]) -> None:
        """Take note of photos that were added before."""
        for row in rows:
            self._first[hash_bytes(row["sha256"])] = row["id"]

    def read_all(self, entries: Iterable[Entry | BuildError]) -> Iterator[NDArray[np.uint8]]:
        """Yield the pixels of the entries that can be used, shape (H, W, 3), and record each."""
        for entry in entries:
            if isinstance(entry, BuildError):
                self._errors.append(entry)
                continue
            try:
                pixels = self._read(entry)
            except ImageError as error:
                reason = str(error).removeprefix(f"cannot read {quoted(entry.path)}: ")
                self._errors.append(BuildError(entry.name, reason))
                continue
            if pixels is not None:
                yield pixels

    def take_record(self) -> dict[str, Any]:
        """What became of the entries since the last call, JSON-serialisable."""
        record = {
            "rows": self._rows,
            "errors": [asdict(one) for one in self._errors],
            "duplicates": [asdict(one) for one in self._duplicates],
        }
        self._rows, self._errors, self._duplicates = [], [], []
        return record

    def _read(self, entry: Entry) -> NDArray[np.uint8] | None:
        if not is_unicode(entry.name):
            self._errors.append(BuildError(ascii(entry.name), "its name is not valid Unicode; rename it"))
            return None
        photo = read(entry.path, min_side=self._min_side)
        digest = bytes.fromhex(photo.sha256)
        if digest in self._first:
            self._duplicates.append(Duplicate(entry.name, self._first[digest]))
            return None
        position, precision = entry.position, None
        if position is None:
            position, precision = find_position(entry.path, photo.gps)
        if position is None:
            reason = (
                "no GPS position in its EXIF or in a sidecar; give it in a CSV with the columns "
                "image, lat, lng"
            )
            self._errors.append(BuildError(entry.name, reason))
            return None
        self._first[digest] = entry.name
        row = {"id": entry.name, "coord_precision": precision}
        row |= {name: value for name, value in entry.columns.items() if value is not None}
        lat, lng = position
        self._rows.append(row | {"lat": lat, "lng": lng, "sha256": photo.sha256})
        return photo.pixels


def is_unicode(name: str) -> bool:
    """Whether a name can be written as text; on Linux a file name may be any bytes.

    Args:
        name: The name.

    Returns:
        Whether it can.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pieces(shards: Shards) -> Pieces:
    for vectors, record in zip(shards.vectors(), shards.records(), strict=True):
        yield vectors, GalleryTable.from_rows(record["rows"])


def _grown(gallery: Gallery, shards: Shards) -> Pieces:
    yield from gallery.pieces()
    gallery.close()  # so that its folder can be replaced
    yield from _pieces(shards)


def _partial(out: Path) -> Path:
    out = out.resolve()
    return out.with_name(out.name + ".partial")
