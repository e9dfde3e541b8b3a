"""Makes a feature store of a source, shard by shard, with as many encoders as there are modalities.

Owns reading, embedding and reporting; must not know which encoders embed, or the store's files.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ImageError, InputError
from geotoken.features.sources import Item, ItemSource
from geotoken.features.store import is_modality
from geotoken.features.write import Modality, StoreWriter
from geotoken.gallery.build import is_unicode
from geotoken.gallery.sidecars import find_position
from geotoken.gallery.sources import BuildError
from geotoken.images.embed import ImageEncoder
from geotoken.images.read import Photo, read

SHARD_ITEMS: Final = 8192
"""Items of a source in one shard: what a killed process loses at most."""

BATCH_ITEMS: Final = 32
"""Photos read and embedded at once; bounds memory whatever the size of the source."""


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """What became of the photos of a source."""

    num_rows: int
    """Rows of the store."""
    failures: list[BuildError]
    """Photos that could not be used, in order."""
    dims: dict[str, int]
    """Length D of the vectors of each modality."""


def embed_source(
    source: ItemSource,
    encoders: Mapping[str, ImageEncoder],
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    split: str | None = None,
    shard_items: int = SHARD_ITEMS,
    progress: Callable[[int, int], None] | None = None,
) -> EmbedReport:
    """Make a feature store.

    Every photo is embedded as the query of a search is, never with the further views that an encoder may have
    for galleries: a row serves as both, and what is trained on it meets the same vectors when it is used.

    A photo that cannot be read, has no position or comes again under the same id is left out, reported, and
    listed in the store. A process that was killed goes on with `resume`, and the store is the same.

    Args:
        source: The photos.
        encoders: What turns them into vectors, by name of the modality.
        out: The folder to make.
        resume: Whether to go on with an unfinished store; a finished one of the same making is left as it is.
        split: Split of the rows for which the source says none.
        shard_items: Items of the source in one shard.
        progress: Called with (items done, items in all) after each batch where the number of items is known.

    Returns:
        How many rows there are, and what was left out and why.

    Raises:
        InputError: A modality has an impossible name, `shard_items` is less than 1, no photo could be used,
            or `out` may not be written.
        ArtifactError: The store cannot be written.
    """
    check_modalities(encoders, shard_items)
    modalities = {name: Modality(one.dim, one.name) for name, one in encoders.items()}
    made_by = (f"{name} {modalities[name]} {one.dtype}" for name, one in encoders.items())
    parts = [source.fingerprint, str(shard_items), split or "", "as queries", *made_by]
    writer = StoreWriter.open(Path(out), modalities, "\0".join(parts), resume=resume)
    if not writer.is_finished:
        remaining = islice(source.items(), writer.num_items, None)
        while items := list(islice(remaining, shard_items)):
            shard = EmbeddedShard(encoders, split, writer.is_new)
            for start in range(0, len(items), BATCH_ITEMS):
                shard.add(items[start : start + BATCH_ITEMS])
                if progress is not None and source.num_items is not None:
                    progress(min(writer.num_items + start + BATCH_ITEMS, source.num_items), source.num_items)
            failures = [{"image": one.image, "reason": one.reason} for one in shard.failures]
            writer.append(shard.rows, shard.vectors(), num_items=len(items), failures=failures)
    num_rows = sum(int(record["num_rows"]) for record in writer.records)
    failed = [BuildError(**one) for record in writer.records for one in record["failures"]]
    if not num_rows:
        writer.discard()
        raise InputError(none_usable(failed))
    if not writer.is_finished:
        writer.finish()
    return EmbedReport(num_rows, failed, {name: one.dim for name, one in encoders.items()})


class EmbeddedShard:
    """Rows and vectors of a shard as they come."""

    def __init__(
        self, encoders: Mapping[str, ImageEncoder], split: str | None, is_new: Callable[[str], bool]
    ) -> None:
        """Begin a shard.

        Args:
            encoders: What turns photos into vectors, by name of the modality.
            split: Split of the rows for which an item says none.
            is_new: Takes note of an id and tells whether it was not there before.
        """
        self.rows: list[dict[str, Any]] = []
        """What is known of each row so far, as `geotoken.features.shard.write_table` takes it."""
        self.failures: list[BuildError] = []
        """Photos that could not be used so far."""
        self._encoders = encoders
        self._split = split
        self._is_new = is_new
        self._min_side = max(one.min_side for one in encoders.values())
        self._blocks: dict[str, list[NDArray[np.float16]]] = {
            name: [np.empty((0, one.dim), dtype=np.float16)] for name, one in encoders.items()
        }

    def add(self, items: Sequence[Item | BuildError]) -> None:
        """Read and embed a batch.

        Args:
            items: Some `BATCH_ITEMS` of them.

        Raises:
            InputError: An encoder gives numbers that are not finite.
        """
        photos = list(self._usable(items))
        if not photos:
            return
        for name, encoder in self._encoders.items():
            vectors = encoder.embed(photos)
            if not np.isfinite(vectors).all():
                raise InputError(
                    f"{encoder.name} gives numbers that are not finite; compute in float32 (--dtype float32)"
                )
            self._blocks[name].append(vectors.astype(np.float16))

    def vectors(self) -> dict[str, NDArray[np.float16]]:
        """Vectors of all rows so far, by modality, shape (N, D)."""
        return {name: np.concatenate(blocks) for name, blocks in self._blocks.items()}

    def _usable(self, items: Sequence[Item | BuildError]) -> Iterator[NDArray[np.uint8]]:
        """Pixels of the items that can be used, each recorded as a row; the others as failures."""
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            for item, photo in zip(items, pool.map(self._read, items), strict=True):
                if isinstance(item, BuildError) or isinstance(photo, BuildError):
                    self.failures.append(item if isinstance(item, BuildError) else photo)  # type: ignore[arg-type]
                    continue
                if not is_unicode(item.id):
                    self.failures.append(
                        BuildError(ascii(item.id), "its name is not valid Unicode; rename it")
                    )
                    continue
                if not self._is_new(item.id):
                    self.failures.append(BuildError(item.id, "its id came before; ids must be unique"))
                    continue
                position, found = photo
                row = {
                    "id": item.id,
                    "owner": item.owner,
                    "sha256": found.sha256,
                    "split": item.split or self._split,
                    **item.credit,
                }
                self.rows.append(row | {"lat": position[0], "lng": position[1]})
                yield found.pixels

    def _read(self, item: Item | BuildError) -> tuple[tuple[float, float], Photo] | BuildError:
        if isinstance(item, BuildError):
            return item
        try:
            if isinstance(item.photo, Path):
                photo = read(item.photo, min_side=self._min_side)
                position = item.position or find_position(item.photo, photo.gps)[0]
            else:
                photo = read(item.photo.read(), min_side=self._min_side)
                position = item.position or photo.gps
        except ImageError as error:
            return BuildError(item.id, str(error))
        if position is None:
            return BuildError(item.id, "no GPS position in its EXIF or beside it; give it in a CSV")
        return position, photo


def none_usable(failed: Sequence[BuildError]) -> str:
    """What to say where no photo of a source gives a row.

    Args:
        failed: The photos, with the reason of each.

    Returns:
        A message.
    """
    reason = f"; the first, {failed[0].image}: {failed[0].reason}" if failed else ""
    return f"none of the {len(failed)} photos of the source can be used{reason}"


def check_modalities(encoders: Mapping[str, ImageEncoder], shard_items: int) -> None:
    """Refuse what cannot be a store.

    Args:
        encoders: By name of the modality.
        shard_items: Items in one shard.

    Raises:
        InputError: A name or number is impossible.
    """
    if shard_items < 1:
        raise InputError(f"shard_items (--shard-size) is {shard_items}; give a whole number of at least 1")
    bad = [name for name in encoders if not is_modality(name)]
    if bad or not encoders:
        raise InputError(
            f"modality {bad[0] if bad else ''!r} is no name; give lower-case letters, digits and _"
        )
