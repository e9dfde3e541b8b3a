"""Galleries made of galleries: without some photos, joined, or under another index.

Owns which rows go where; must not know photos or encoders.
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import InputError
from geotoken.gallery.build import Duplicate, kept_kind
from geotoken.gallery.index import Gallery
from geotoken.gallery.kinds import choose_kind
from geotoken.gallery.lock import changing
from geotoken.gallery.table import hash_bytes
from geotoken.gallery.write import Pieces, check_destination, write_gallery

_MAX_NAMED = 5  # names in an error message


@dataclass(frozen=True, slots=True)
class EditReport:
    """What a gallery became."""

    num_photos: int
    """Photos in the gallery now."""
    num_removed: int
    """Photos taken out."""
    duplicates: list[Duplicate]
    """Photos that were in more than one of the galleries joined, in order."""


def remove_photos(
    folder: str | os.PathLike[str], *, ids: Collection[str] = (), owners: Collection[str] = ()
) -> EditReport:
    """Take photos out of a gallery; it is as before until the new one is whole.

    Args:
        folder: The gallery folder.
        ids: Names of photos to take out.
        owners: Owners whose photos to take out, all of them.

    Returns:
        What the gallery became.

    Raises:
        InputError: Nothing is named, a name is not in the gallery, no photo would be left, or another run is
            changing the gallery.
        ArtifactError: The gallery is damaged or cannot be written.
    """
    if not ids and not owners:
        raise InputError("nothing to remove; give an id, an owner or a list of ids")
    with changing(Path(folder)):
        gallery = Gallery.load(folder)
        kept = np.ones(gallery.size, dtype=np.bool_)
        for what, wanted, column in (
            ("id", set(ids), gallery.table.id),
            ("owner", set(owners), gallery.table.owner),
        ):
            if not wanted:
                continue
            found = set()
            for row, value in enumerate(column):
                if value in wanted:
                    kept[row] = False
                    found.add(value)
            missing = sorted(wanted - found)
            if missing:
                more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
                raise InputError(
                    f"no photo of {folder} has the {what} {', '.join(missing[:_MAX_NAMED])}{more}; "
                    "nothing was removed"
                )
        if not kept.any():
            raise InputError(f"that would leave {folder} without a photo; delete the folder instead")
        num_photos = write_gallery(
            Path(folder),
            _select(gallery, kept),
            encoder_name=gallery.encoder_name,
            dim=gallery.dim,
            kind=kept_kind(gallery),
            overwrite=True,
        )
        return EditReport(num_photos, gallery.size - num_photos, [])


def merge_galleries(
    out: str | os.PathLike[str],
    folders: Sequence[str | os.PathLike[str]],
    *,
    index: str = "auto",
    overwrite: bool = False,
) -> EditReport:
    """Join galleries of one encoder; of photos with the same file hash the first stays.

    Args:
        out: The gallery folder to make; may be one of `folders` if `overwrite`.
        folders: The galleries, in order; at least two.
        index: How the new gallery is searched: "auto" to choose by size, "exact", "hnsw" or "ivfpq".
        overwrite: Whether a gallery that is already there may be replaced.

    Returns:
        What the gallery became.

    Raises:
        InputError: Fewer than two galleries are given, `out` may not be replaced, the index is unknown, or
            another run is changing `out`.
        ArtifactError: A gallery is damaged or of another encoder than the first, or `out` cannot be written.
    """
    if len(folders) < 2:
        raise InputError(f"{len(folders)} gallery given; give two or more to merge")
    choose_kind(index, 1)
    check_destination(Path(out), overwrite=overwrite)
    with changing(Path(out)):
        galleries = [Gallery.load(folder) for folder in folders]
        first = galleries[0]
        for gallery in galleries[1:]:
            gallery.check_encoder(first.encoder_name, first.dim)
        duplicates: list[Duplicate] = []
        num_photos = write_gallery(
            Path(out),
            _join(galleries, [str(folder) for folder in folders], duplicates),
            encoder_name=first.encoder_name,
            dim=first.dim,
            kind=index,
            overwrite=overwrite,
        )
    return EditReport(num_photos, 0, duplicates)


def reindex_gallery(folder: str | os.PathLike[str], *, index: str = "auto") -> EditReport:
    """Give a gallery another index.

    From an approximate index to the exact one, the vectors stay rounded to 16 bits.

    Args:
        folder: The gallery folder.
        index: "auto" to choose by size, "exact", "hnsw" or "ivfpq".

    Returns:
        What the gallery became.

    Raises:
        InputError: The index is unknown, or another run is changing the gallery.
        ArtifactError: The gallery is damaged or cannot be written.
    """
    choose_kind(index, 1)
    with changing(Path(folder)):
        gallery = Gallery.load(folder)
        num_photos = write_gallery(
            Path(folder),
            _select(gallery, np.ones(gallery.size, dtype=np.bool_)),
            encoder_name=gallery.encoder_name,
            dim=gallery.dim,
            kind=index,
            overwrite=True,
        )
    return EditReport(num_photos, 0, [])


def _select(gallery: Gallery, kept: NDArray[np.bool_]) -> Pieces:
    """The rows that are kept; the gallery is closed after the last, so that its folder can be replaced."""
    first = 0
    for vectors, table in gallery.pieces():
        rows = np.flatnonzero(kept[first : first + len(table)])
        yield vectors[rows], table.take(rows)
        first += len(table)
    gallery.close()


def _join(galleries: Sequence[Gallery], names: Sequence[str], duplicates: list[Duplicate]) -> Pieces:
    """The rows of all galleries without those whose hash came before, which are appended to `duplicates`."""
    seen: dict[bytes, str] = {}
    for gallery, name in zip(galleries, names, strict=True):
        for vectors, table in gallery.pieces():
            rows = []
            for row, (digest, photo) in enumerate(zip(table.sha256, table.id, strict=True)):
                key = hash_bytes(digest) if digest else None
                if key is not None and key in seen:
                    duplicates.append(Duplicate(f"{photo} of {name}", seen[key]))
                    continue
                if key is not None:
                    seen[key] = f"{photo} of {name}"
                rows.append(row)
            chosen = np.array(rows, dtype=np.int64)
            yield vectors[chosen], table.take(chosen)
        gallery.close()
