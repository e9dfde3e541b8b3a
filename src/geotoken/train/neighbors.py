"""Stage 2: the gallery of a feature store, and the nearest photos of its rows, found by one rule.

Owns the rule and the search of millions of rows in bounded memory; must not know what is trained on them.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError
from geotoken.features import FeatureStore
from geotoken.gallery import Exclusion, Gallery, GalleryTable
from geotoken.gallery.index import to_units
from geotoken.gallery.storage import BLOCK_ROWS
from geotoken.gallery.table import TEXT_COLUMNS
from geotoken.gallery.write import write_gallery
from geotoken.graphs import num_cpus
from geotoken.train.neighbor_lists import ListWriter, NeighborLists, Rows, pad_lists
from geotoken.train.splits import known_rows, training_rows

SHARD_ROWS: Final = 65_536
"""Lists in one shard: what a killed process loses at most."""

_PARTS = ("gallery", "lists")
_QUERY_ROWS = 512  # queries of one search; bounds memory, and is what one thread does at once


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborRule:
    """Which gallery photos may be neighbors of a photo: the same in training and when a model is measured.

    A photo is never its own neighbor.

    Raises:
        InputError: A field is out of range; the message names it.
    """

    num_neighbors: int = 20
    """Neighbors K of a photo, at least 1."""
    same_owner: bool = True
    """Whether photos of the same owner are left out."""
    same_file: bool = True
    """Whether photos with the same file hash are left out."""
    min_duplicate_similarity: float | None = None
    """Leave out near-duplicates: photos of at least this similarity, in [-1, 1]; none when None."""
    within_km: float | None = None
    """Leave out photos up to this great-circle distance in km, >= 0; none when None."""
    max_fetched: int = 8192
    """Gallery photos looked at for one list, at least `num_neighbors`; where nearly all of them are left out,
    the list is shorter."""

    def __post_init__(self) -> None:
        if self.num_neighbors < 1:
            raise InputError(f"num_neighbors is {self.num_neighbors}; give a whole number of at least 1")
        if self.max_fetched < self.num_neighbors:
            raise InputError(
                f"max_fetched is {self.max_fetched}; give at least num_neighbors, {self.num_neighbors}"
            )
        self.exclusion(lat=0.0, lng=0.0)

    def exclusion(
        self,
        *,
        lat: float,
        lng: float,
        owner: str | None = None,
        sha256: str | None = None,
        row: int | None = None,
    ) -> Exclusion:
        """What the rule leaves out for one photo.

        Args:
            lat: Latitude of the photo in degrees.
            lng: Longitude of the photo in degrees.
            owner: Its owner, where known.
            sha256: Hash of its file, 64 hexadecimal digits, where known.
            row: Its own row of the gallery, where it has one.

        Returns:
            The exclusion, as `Gallery.search` takes it.

        Raises:
            InputError: A field of the rule or a coordinate is out of range.
        """
        around = self.within_km is not None
        return Exclusion(
            row=row,
            owner=owner if self.same_owner else None,
            sha256=sha256 if self.same_file else None,
            min_duplicate_similarity=self.min_duplicate_similarity,
            within_km=self.within_km,
            lat=float(lat) if around else None,
            lng=float(lng) if around else None,
        )


@dataclass(frozen=True, slots=True)
class NeighborReport:
    """What became of the rows of a store."""

    gallery: Path
    """The gallery folder, as models have it."""
    lists: Path
    """The folder of `NeighborLists`."""
    num_gallery: int
    """Rows of the gallery."""
    num_lists: int
    """Rows that have a list."""


def prepare_neighbors(
    store: FeatureStore,
    out: str | Path,
    rule: NeighborRule,
    *,
    index: str = "auto",
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> NeighborReport:
    """Make the gallery of a store and the neighbor lists of its rows.

    The gallery holds the rows of the split "train"; of a store without that split, all but those of "val" and
    "test". These rows have lists, and so have those of "val".

    Args:
        store: The store; its modality "image" is what is searched.
        out: Folder for `gallery` and `lists`; made if absent.
        rule: Which photos may be neighbors.
        index: Kind of the gallery's index, as `Gallery.save` takes it.
        resume: Whether to keep what an earlier call with the same arguments left.
        progress: Called with (lists done, lists in all) after each shard.

    Returns:
        Where things are, and how many.

    Raises:
        InputError: The store has no modality "image" or no photo to learn from, a vector is zero, or
            something else is at `out`.
        ArtifactError: A folder cannot be written.
    """
    out = Path(out)
    gallery_rows, query_rows = training_rows(store), known_rows(store)
    if not len(gallery_rows):
        raise InputError(
            f"{store.folder} has no photo to learn from, only those of the splits {', '.join(store.splits)}; "
            "embed photos of the split train, or of none"
        )
    if out.is_dir() and any(one.name.partition(".")[0] not in ("", *_PARTS) for one in out.iterdir()):
        raise InputError(f"{out} holds something else than a gallery and neighbor lists; choose another")
    gallery = make_gallery(store, gallery_rows, out / "gallery", index=index, resume=resume)
    try:
        lists = find_neighbors(
            store, (query_rows, gallery_rows), gallery, rule, out / "lists", resume=resume, progress=progress
        )
    finally:
        gallery.close()
    return NeighborReport(out / "gallery", lists.folder, gallery.size, len(lists))


def make_gallery(
    store: FeatureStore, rows: Rows, folder: Path, *, index: str = "auto", resume: bool = False
) -> Gallery:
    """Make a gallery of rows of a store; gallery row i is the i-th of them.

    Args:
        store: The store.
        rows: Rows of the store, rising, shape (G,).
        folder: The gallery folder to make.
        index: Kind of its index, as `Gallery.save` takes it.
        resume: Whether a gallery of the same rows that is already there is taken.

    Returns:
        The gallery, opened.

    Raises:
        InputError: The store has no modality "image", a vector is zero, or something else is at `folder`.
        ArtifactError: It cannot be written.
    """
    if "image" not in store.dims:
        raise InputError(f"{store.folder} has no modality image; embed the photos with one of that name")
    if not (resume and folder.exists()):
        pieces = (
            _piece(store, rows[start : start + BLOCK_ROWS]) for start in range(0, len(rows), BLOCK_ROWS)
        )
        write_gallery(
            folder, pieces, encoder_name=store.encoders["image"], dim=store.dims["image"], kind=index
        )
    gallery = Gallery.load(folder)
    table = gallery.table
    same = gallery.encoder_name == store.encoders["image"] and gallery.size == len(rows)
    if not same or not np.array_equal([table.lat, table.lng], [store.lat[rows], store.lng[rows]]):
        raise ArtifactError(f"{folder} is not the gallery of {store.folder}; remove it, or choose another")
    return gallery


def find_neighbors(
    store: FeatureStore,
    rows: tuple[Rows, Rows],
    gallery: Gallery,
    rule: NeighborRule,
    folder: Path,
    *,
    resume: bool = False,
    shard_rows: int = SHARD_ROWS,
    progress: Callable[[int, int], None] | None = None,
) -> NeighborLists:
    """Find the neighbors of rows of a store and write their lists.

    Memory holds one shard of lists and what exclusions ask about the gallery's rows (owner, hash and place:
    about 65 bytes a row), whatever the number of rows. Searching takes all CPUs.

    Args:
        store: The store.
        rows: Rows that get a list, rising, shape (Q,); and rows that are the gallery, rising, shape (G,).
        gallery: Made by `make_gallery` of those.
        rule: Which rows may be neighbors.
        folder: The folder to make.
        resume: Whether to go on with lists that an earlier call left.
        shard_rows: Lists in one shard, at least 1.
        progress: Called with (lists done, lists in all) after each shard.

    Returns:
        The lists, opened.

    Raises:
        InputError: A vector of the store is zero, or something else is at `folder`.
        ArtifactError: The lists cannot be written.
    """
    query_rows, gallery_rows = rows
    writer = ListWriter.open(folder, store, asdict(rule), rows, resume=resume)
    if not writer.is_finished:
        known = KnownStoreRows(store, gallery_rows)
        search = partial(_search, store, gallery, known, rule)
        with ThreadPoolExecutor(max_workers=num_cpus()) as pool:
            while writer.num_lists < len(query_rows):
                shard = query_rows[writer.num_lists : writer.num_lists + shard_rows]
                table = store.table(shard, ("owner", "sha256"))
                blocks = [slice(start, start + _QUERY_ROWS) for start in range(0, len(shard), _QUERY_ROWS)]
                parts = list(
                    pool.map(
                        search,
                        [shard[block] for block in blocks],
                        [{name: column[block] for name, column in table.items()} for block in blocks],
                    )
                )
                writer.append(
                    np.concatenate([row for row, _ in parts]), np.concatenate([one for _, one in parts])
                )
                if progress is not None:
                    progress(writer.num_lists, len(query_rows))
        writer.finish()
    return NeighborLists.open(folder, store, verify=False)


class KnownStoreRows:
    """What exclusions ask about rows of a store, in memory: about 65 bytes a row and each owner once."""

    def __init__(self, store: FeatureStore, rows: Rows) -> None:
        self.rows = rows
        """Rows of the store, rising, shape (G,)."""
        self.lat = store.lat[rows]
        """Latitude in degrees, shape (G,)."""
        self.lng = store.lng[rows]
        """Longitude in degrees, shape (G,)."""
        self.owner: NDArray[np.object_] = np.empty(len(rows), dtype=object)
        """Owner of each, shape (G,)."""
        self.sha256 = _Hashes(len(rows))
        """Hash of each, indexed like an array of strings."""
        shared: dict[str | None, str | None] = {}
        for start in range(0, len(rows), BLOCK_ROWS):
            table = store.table(rows[start : start + BLOCK_ROWS], ("owner", "sha256"))
            self.owner[start : start + BLOCK_ROWS] = [shared.setdefault(one, one) for one in table["owner"]]
            self.sha256.fill(start, table["sha256"])

    def __len__(self) -> int:
        return len(self.rows)

    def position(self, rows: Rows) -> Rows:
        """Where rows of the store are among these.

        Args:
            rows: Rows of the store, shape (B,).

        Returns:
            Positions, shape (B,), -1 for a row that is not among them.
        """
        if not len(self.rows):
            return np.full(len(rows), -1, dtype=np.int64)
        found = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        return np.where(self.rows[found] == rows, found, -1)


class _Hashes:
    """File hashes in 33 bytes each, read as strings of hexadecimal digits or None."""

    def __init__(self, size: int) -> None:
        self._bytes = np.zeros((size, 32), dtype=np.uint8)
        self._known = np.zeros(size, dtype=np.bool_)

    def fill(self, start: int, texts: NDArray[np.object_]) -> None:
        for row, text in enumerate(texts, start=start):
            if text is not None:
                self._bytes[row] = np.frombuffer(bytes.fromhex(text), dtype=np.uint8)
                self._known[row] = True

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.object_]:
        digits = self._bytes[rows].tobytes().hex()
        out = np.empty(len(rows), dtype=object)
        out[:] = [digits[start : start + 64] for start in range(0, len(digits), 64)]
        out[~self._known[rows]] = None
        return out


def _piece(store: FeatureStore, rows: Rows) -> tuple[NDArray[np.float32], GalleryTable]:
    """Unit vectors and table of some rows."""
    table: dict[str, Any] = store.table(rows)
    unknown = np.full(len(rows), None, dtype=object)
    columns = {name: table.get(name, unknown) for name in (*TEXT_COLUMNS, "lat", "lng")}
    return _units(store, rows), GalleryTable(**columns)


def _units(store: FeatureStore, rows: Rows) -> NDArray[np.float32]:
    vectors = store.batch(rows, ["image"])["image"].astype(np.float32)
    return to_units(vectors, f"of the {len(rows)} rows of {store.folder} from {rows[0]} on, image")


def _search(
    store: FeatureStore,
    gallery: Gallery,
    known: KnownStoreRows,
    rule: NeighborRule,
    rows: Rows,
    table: dict[str, NDArray[Any]],
) -> tuple[Rows, NDArray[np.float64]]:
    """Neighbors of some rows, of which this is the table: gallery rows and similarities, shape (N, K)."""
    own = known.position(rows).tolist()
    exclude = [
        rule.exclusion(lat=lat, lng=lng, owner=owner, sha256=sha256, row=None if row < 0 else row)
        for lat, lng, owner, sha256, row in zip(
            table["lat"].tolist(), table["lng"].tolist(), table["owner"], table["sha256"], own, strict=True
        )
    ]
    found = gallery.search_rows(
        _units(store, rows), rule.num_neighbors, exclude, known=known, max_fetched=rule.max_fetched
    )
    return pad_lists(found, rule.num_neighbors)
