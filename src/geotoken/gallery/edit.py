"""Galleries made of galleries: without some photos, joined, or under another index.

Owns which rows go where; must not know photos or encoders.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
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

HASH_DIGITS = 12
"""Digits of a hash that tell the photos of a gallery apart."""

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
    folder: str | os.PathLike[str],
    *,
    ids: Collection[str] = (),
    owners: Collection[str] = (),
    hashes: Collection[str] = (),
) -> EditReport:
    """Take photos out of a gallery; it is as before until the new one is whole.

    Ids are names within a source, so that a gallery that grew may have one twice. Such an id is refused and
    its photos are told apart by their hashes.

    Args:
        folder: The gallery folder.
        ids: Names of photos to take out, each of one photo only.
        owners: Owners whose photos to take out, all of them.
        hashes: sha256 of photos to take out, or at least the first `HASH_DIGITS` digits of each.

    Returns:
        What the gallery became.

    Raises:
        InputError: Nothing is named, a name is not in the gallery, an id is that of several photos, a hash
            is too short, no photo would be left, or another run is changing the gallery.
        ArtifactError: The gallery is damaged or cannot be written.
    """
    if not ids and not owners and not hashes:
        raise InputError("nothing to remove; give an id, an owner, a hash or a list of ids")
    short = [text for text in hashes if len(text) < HASH_DIGITS]
    if short:
        raise InputError(f"the hash {short[0]!r} is too short; give its first {HASH_DIGITS} digits or more")
    with changing(Path(folder)):
        gallery = Gallery.load(folder)
        table = gallery.table
        of_id = _rows_of(folder, "id", table.id, ids)
        _check_one_each(folder, gallery, of_id)
        of_owner = _rows_of(folder, "owner", table.owner, owners)
        starts = {text[:HASH_DIGITS].lower(): text for text in hashes}
        given = (_given_hash(digest or "", starts) for digest in table.sha256)
        of_hash = _rows_of(folder, "sha256", given, starts.values())
        kept = np.ones(gallery.size, dtype=np.bool_)
        for rows in (*of_id.values(), *of_owner.values(), *of_hash.values()):
            kept[rows] = False
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


def _rows_of(
    folder: str | os.PathLike[str], what: str, values: Iterable[str | None], wanted: Collection[str]
) -> dict[str, list[int]]:
    """The rows that have each of the values wanted.

    Raises:
        InputError: One of them is in no row.
    """
    rows: dict[str, list[int]] = {name: [] for name in wanted}
    if not rows:
        return rows
    for row, value in enumerate(values):
        if value is not None and value in rows:
            rows[value].append(row)
    missing = sorted(name for name, found in rows.items() if not found)
    if missing:
        more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
        raise InputError(
            f"no photo of {folder} has the {what} {', '.join(missing[:_MAX_NAMED])}{more}; "
            "nothing was removed"
        )
    return rows


def _check_one_each(folder: str | os.PathLike[str], gallery: Gallery, rows: Mapping[str, list[int]]) -> None:
    """Refuse an id that names several photos: one that is meant would take the others with it.

    Raises:
        InputError: There is one.
    """
    for name, found in rows.items():
        if len(found) > 1:
            shown = gallery.table.take(np.array(found[:_MAX_NAMED]))
            photos = ", ".join(
                f"{(digest or 'no hash')[:HASH_DIGITS]} at {lat:.4f}, {lng:.4f}"
                for digest, lat, lng in zip(shown.sha256, shown.lat, shown.lng, strict=True)
            )
            more = f" and {len(found) - _MAX_NAMED} more" if len(found) > _MAX_NAMED else ""
            raise InputError(
                f"{len(found)} photos of {folder} have the id {name}: {photos}{more}; nothing was removed; "
                "name one by these digits of its hash (--sha256, in Python hashes), or by its owner"
            )


def _given_hash(digest: str, starts: Mapping[str, str]) -> str | None:
    """Which of the hashes given, by their first digits, is that of a photo."""
    text = starts.get(digest[:HASH_DIGITS].lower())
    return text if text is not None and digest.lower().startswith(text.lower()) else None


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
