"""A gallery in memory or opened from its folder: unit vectors under an index, and what they show.

Owns the `Gallery` and reading its folder; must not know how photos become vectors.
"""

import os
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError, reason_of
from geotoken.files import read_json
from geotoken.gallery.kinds import KINDS, ApproximateIndex, Effort, ExactIndex, make_exact, read_index
from geotoken.gallery.search import Exclusion, Kept, KnownRows, Neighbors, find_rows, search_index
from geotoken.gallery.storage import BLOCK_ROWS, StoredStrings, VectorFile
from geotoken.gallery.table import ROWS_NAME, TABLE_NAME, TEXT_NAME, GalleryTable, open_stored
from geotoken.gallery.write import (
    CONFIG_NAME,
    EXACT_INDEX,
    FORMAT_VERSION,
    INDEX_NAME,
    KIND,
    VECTORS_NAME,
    write_gallery,
)
from geotoken.manifest import verify_manifest

_MAX_EFFORT = 1 << 20  # more than any index needs


class Gallery:
    """Geotagged reference photos as unit vectors, searched by cosine similarity.

    A gallery folder holds `index.faiss`, `gallery.parquet` (see `GalleryTable`), `gallery.json` (`encoder`,
    `dim`, `num_photos`, `index`, `geotoken_version`) and `manifest.json`. If its index is not exact, the
    vectors are in `vectors.npy`, and coordinates and texts again in `rows.npy` and `text.jsonl`, from which
    single rows are read. It may lie inside another artifact. Made by `Gallery.load`, `Gallery.from_vectors`
    or `build_gallery`. Searching is safe from several threads.
    """

    def __init__(
        self,
        index: ExactIndex | ApproximateIndex,
        table: GalleryTable,
        encoder_name: str,
        folder: Path | None,
    ) -> None:
        self._index = index
        self._folder = folder
        self.table = table
        """What is known about each photo."""
        self.encoder_name = encoder_name
        """Name of the encoder that made the vectors; those of another encoder do not compare."""

    @classmethod
    def from_vectors(cls, vectors: NDArray[np.float32], table: GalleryTable, encoder_name: str) -> "Gallery":
        """Make a gallery in memory.

        Args:
            vectors: One vector a photo, shape (N, D), N and D at least 1; scaled to length 1 here.
            table: What is known about each photo, N rows.
            encoder_name: Name of the encoder that made the vectors.

        Returns:
            The gallery; call `save` to keep it.

        Raises:
            InputError: The shapes do not fit, the gallery is empty, or a vector is zero or not finite.
        """
        units = to_units(vectors, "gallery")
        if len(units) != len(table) or not len(units):
            raise InputError(
                f"{len(units)} vectors and {len(table)} table rows given; a gallery has one of each a photo, "
                "and at least one photo"
            )
        return cls(ExactIndex(make_exact([units], units.shape[1])), table, encoder_name, None)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Gallery":
        """Load a gallery folder, its manifest verified.

        Args:
            folder: A folder written by `save`.

        Returns:
            The gallery.

        Raises:
            ArtifactError: A file is missing or damaged, the parts do not fit each other, or a newer geotoken
                made the folder.
        """
        root = Path(folder)
        listed = verify_manifest(root, KIND, FORMAT_VERSION)["files"]
        _check_listed(root, listed, (INDEX_NAME, TABLE_NAME, CONFIG_NAME))
        try:
            config = read_json(root / CONFIG_NAME)
            encoder_name, dim, described = config["encoder"], config["dim"], config["index"]
            effort = None if isinstance(described, str) else _read_effort(described)
            faiss_index = read_index(root / INDEX_NAME, "exact" if effort is None else described["kind"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError, MemoryError) as error:
            raise ArtifactError(
                f"{root} is not a gallery ({reason_of(error)}); fetch or build it again"
            ) from error
        index: ExactIndex | ApproximateIndex
        if effort is None:
            index, table = ExactIndex(faiss_index), GalleryTable.read(root / TABLE_NAME)
        else:
            _check_listed(root, listed, (VECTORS_NAME, ROWS_NAME, TEXT_NAME))
            index = ApproximateIndex(described["kind"], faiss_index, VectorFile(root / VECTORS_NAME), effort)
            table = open_stored(root)
        shape = (faiss_index.ntotal, faiss_index.d)
        stored = shape if isinstance(index, ExactIndex) else index.vectors.shape
        if shape != stored or shape != (len(table), dim) or not len(table):
            raise ArtifactError(
                f"{root} does not fit together: {shape[0]} vectors of {shape[1]} numbers, "
                f"{len(table)} rows, dim {dim}; fetch or build the gallery again"
            )
        return cls(index, table, str(encoder_name), root)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False, index: str = "auto") -> None:
        """Write the gallery folder; it is there whole or not at all.

        Args:
            folder: The folder to make; its parent is made if needed.
            overwrite: Whether a gallery that is already there may be replaced. Nothing else ever is.
            index: How the folder's gallery is searched: "auto" to choose by size, "exact", "hnsw", "ivfpq".

        Raises:
            InputError: Something is at `folder` that may not be replaced, or the kind of index is unknown.
            ArtifactError: The folder cannot be written.
        """
        root = Path(folder)
        write_gallery(
            root,
            self.pieces(),
            encoder_name=self.encoder_name,
            dim=self.dim,
            kind=index,
            overwrite=overwrite,
        )
        self._folder = root.resolve()

    def close(self) -> None:
        """Close the files of a gallery whose rows stay on disk; it cannot be searched afterwards."""
        if isinstance(self._index, ApproximateIndex):
            self._index.vectors.close()
        if isinstance(self.table.id, StoredStrings):
            self.table.id.close()

    def pieces(self) -> Iterator[tuple[NDArray[np.float32], GalleryTable]]:
        """Read the whole gallery, some thousand rows at a time.

        Yields:
            Unit vectors, shape (M, D), and the table of the same M rows, in order.
        """
        for first in range(0, self.size, BLOCK_ROWS):
            rows = np.arange(first, min(first + BLOCK_ROWS, self.size))
            yield self._block(first, int(rows[-1]) + 1), self.table.take(rows)

    @property
    def size(self) -> int:
        """Number of photos N."""
        return len(self.table)

    @property
    def dim(self) -> int:
        """Length D of the vectors."""
        return int(self._index.faiss_index.d)

    @property
    def index_kind(self) -> str:
        """How it is searched: "exact", "hnsw" or "ivfpq"."""
        return "exact" if isinstance(self._index, ExactIndex) else self._index.kind

    @property
    def vectors(self) -> NDArray[np.float32]:
        """A copy of the unit vectors, shape (N, D), float32; those of a big gallery rounded to 16 bits."""
        return self._block(0, self.size)

    def vectors_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the vectors of some rows; whatever the index, they are the stored ones, not its codes.

        Args:
            rows: Positions in any order, also repeated, shape (M,), from 0 to N - 1.

        Returns:
            Unit vectors in the order asked for, shape (M, D); those of a big gallery rounded to 16 bits.

        Raises:
            InputError: A position does not exist.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.ndim != 1 or (len(rows) and not 0 <= rows.min() <= rows.max() < self.size):
            raise InputError(f"rows must be positions from 0 to {self.size - 1}, in one dimension")
        if isinstance(self._index, ExactIndex):
            return np.asarray(self._index.faiss_index.reconstruct_batch(rows), dtype=np.float32)
        return self._index.vectors.take(rows)

    def _block(self, first: int, stop: int) -> NDArray[np.float32]:
        """Unit vectors of rows that follow each other, shape (M, D)."""
        if isinstance(self._index, ExactIndex):
            flat = self._index.faiss_index.reconstruct_n(first, stop - first)
            return np.asarray(flat, dtype=np.float32)
        return self._index.vectors.block(first, stop)

    def check_encoder(self, name: str, dim: int) -> None:
        """Refuse vectors that do not compare with those of this gallery.

        Args:
            name: Name of the encoder that will make the queries.
            dim: Length D of its vectors.

        Raises:
            ArtifactError: The gallery was made by another encoder.
        """
        if (name, dim) != (self.encoder_name, self.dim):
            where = f"gallery {self._folder}" if self._folder else "the gallery"
            raise ArtifactError(
                f'{where} holds vectors of encoder "{self.encoder_name}" ({self.dim} numbers), but the model '
                f'has "{name}" ({dim}); build the gallery with this model, or take the one it was made with'
            )

    def search(
        self,
        vectors: NDArray[np.float32],
        k: int,
        exclude: Exclusion | Sequence[Exclusion | None] | None = None,
    ) -> list[Neighbors]:
        """Find the k photos nearest to each query; similarities are exact, whatever the index.

        Args:
            vectors: Query vectors of this gallery's encoder, shape (B, D); scaled to length 1 here.
            k: Neighbors wanted for each query, at least 1.
            exclude: Rows that must not count: one exclusion for all queries, or one (or None) a query.

        Returns:
            One `Neighbors` a query, in order, best first; it has fewer than k where fewer rows remain.

        Raises:
            InputError: A shape, k or the length of `exclude` does not fit, or a vector is zero or not finite.
        """
        queries, each = self._checked(vectors, k, exclude)
        return search_index(self._index, self.table, queries, k, each)

    def search_rows(
        self,
        vectors: NDArray[np.float32],
        k: int,
        exclude: Exclusion | Sequence[Exclusion | None] | None = None,
        *,
        known: KnownRows | None = None,
        max_fetched: int | None = None,
    ) -> list[Kept]:
        """Find what `search` finds, as bare rows: for millions of queries.

        Args:
            vectors: Query vectors of this gallery's encoder, shape (B, D); scaled to length 1 here.
            k: Neighbors wanted for each query, at least 1.
            exclude: Rows that must not count: one exclusion for all queries, or one (or None) a query.
            known: What exclusions ask about the rows; `table` when None. That of a big gallery reads texts
                from disk, which takes longer than the search.
            max_fetched: Rows looked at for a query at most; all when None, as `search` does.

        Returns:
            Similarities and rows of each query, in order, best first.

        Raises:
            InputError: A shape, k or the length of `exclude` does not fit, or a vector is zero or not finite.
        """
        queries, each = self._checked(vectors, k, exclude)
        return find_rows(self._index, self.table if known is None else known, queries, k, each, max_fetched)

    def _checked(
        self,
        vectors: NDArray[np.float32],
        k: int,
        exclude: Exclusion | Sequence[Exclusion | None] | None,
    ) -> tuple[NDArray[np.float32], Sequence[Exclusion | None]]:
        """Unit vectors, and one exclusion for each.

        Raises:
            InputError: Something does not fit.
        """
        queries = to_units(vectors, "query")
        if queries.shape[1] != self.dim:
            raise InputError(f"query vectors have {queries.shape[1]} numbers; this gallery has {self.dim}")
        if k < 1:
            raise InputError(f"k is {k}; ask for at least 1 neighbor")
        each: Sequence[Exclusion | None]
        if exclude is None or isinstance(exclude, Exclusion):
            each = [exclude] * len(queries)
        else:
            each = exclude
        if len(each) != len(queries):
            raise InputError(
                f"{len(each)} exclusions for {len(queries)} queries; give one for each, or one for all"
            )
        return queries, each

    def info(self) -> dict[str, Any]:
        """Describe the gallery.

        Returns:
            JSON-serialisable: `num_photos`, `dim`, `index`, `encoder`, `bbox` [west, south, east, north] in
            degrees, `coord_precision` {kind: number of photos}, `size_bytes` on disk (None if not saved).
        """
        lat, lng = self.table.lat, self.table.lng
        size_bytes = None
        if self._folder is not None:
            size_bytes = sum(path.stat().st_size for path in self._folder.iterdir() if path.is_file())
        return {
            "num_photos": self.size,
            "dim": self.dim,
            "index": self._describe_index(),
            "encoder": self.encoder_name,
            "bbox": [float(edge) for edge in (lng.min(), lat.min(), lng.max(), lat.max())],
            "coord_precision": self.table.count("coord_precision"),
            "size_bytes": size_bytes,
        }

    def _describe_index(self) -> str:
        if isinstance(self._index, ExactIndex):
            return EXACT_INDEX
        breadth, depth = self._index.effort.breadth, self._index.effort.depth
        if self._index.kind == "hnsw":
            return f"HNSW, queue of {breadth}, {depth} candidates compared exactly"
        num_lists = self._index.faiss_index.nlist
        return f"IVF-PQ, {breadth} of {num_lists} lists, {depth} candidates compared exactly"


def _read_effort(described: dict[str, Any]) -> Effort:
    effort = Effort(int(described["breadth"]), int(described["depth"]))
    possible = all(1 <= value <= _MAX_EFFORT for value in (effort.breadth, effort.depth))
    if described["kind"] not in KINDS[1:] or not possible:
        raise ValueError(f"its index is {described}")
    return effort


def _check_listed(root: Path, listed: Container[str], names: Sequence[str]) -> None:
    for name in names:
        if name not in listed:
            raise ArtifactError(f"{root} has no {name}; fetch or build the gallery again")


def to_units(vectors: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Scale vectors to length 1.

    Args:
        vectors: Vectors of shape (B, D), D at least 1.
        name: What they are, for error messages.

    Returns:
        Unit vectors, shape (B, D), contiguous as FAISS wants them.

    Raises:
        InputError: The shape is another, or a vector is zero or not finite.
    """
    values = np.asarray(vectors, dtype=np.float32)
    if values.ndim != 2 or not values.shape[1]:
        raise InputError(f"{name} vectors have shape {values.shape}; give (number of photos, dim)")
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    bad = ~(np.isfinite(norm[:, 0]) & (norm[:, 0] > 0))
    if bad.any():
        raise InputError(f"{name} vector {int(np.argmax(bad))} is zero or not finite; it has no direction")
    return np.ascontiguousarray(values / norm)
