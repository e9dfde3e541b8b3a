"""A gallery in memory and in its folder: unit vectors under an exact index, and a table of what they show.

Owns the folder's format and the `Gallery`; must not know how photos become vectors.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError
from geotoken.files import read_json
from geotoken.gallery.search import Exclusion, Neighbors, search_index
from geotoken.gallery.table import GalleryTable
from geotoken.manifest import MANIFEST_NAME, verify_manifest, write_manifest
from geotoken.version import __version__

KIND = "geotoken-gallery"
"""What the manifest of a gallery folder calls it."""

FORMAT_VERSION = 1
"""Newest layout of a gallery folder that this geotoken reads, and the one it writes."""

INDEX_KIND = "exact inner product, float32"
"""How the vectors are searched."""

_INDEX_NAME, _TABLE_NAME, _CONFIG_NAME = "index.faiss", "gallery.parquet", "gallery.json"


class Gallery:
    """Geotagged reference photos as unit vectors, searched exactly by cosine similarity.

    A gallery folder holds `index.faiss`, `gallery.parquet` (see `GalleryTable`), `gallery.json` (`encoder`,
    `dim`, `num_photos`, `index`, `geotoken_version`) and `manifest.json`. It may lie inside another artifact.
    Made by `Gallery.load`, `Gallery.from_vectors` or `build_gallery`. Searching is safe from several threads.
    """

    def __init__(self, index: Any, table: GalleryTable, encoder_name: str, folder: Path | None) -> None:
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
        import faiss

        units = _to_units(vectors, "gallery")
        if len(units) != len(table) or not len(units):
            raise InputError(
                f"{len(units)} vectors and {len(table)} table rows given; a gallery has one of each a photo, "
                "and at least one photo"
            )
        index = faiss.IndexFlatIP(units.shape[1])
        index.add(units)
        return cls(index, table, encoder_name, None)

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
        import faiss

        root = Path(folder)
        listed = verify_manifest(root, KIND, FORMAT_VERSION)["files"]
        for name in (_INDEX_NAME, _TABLE_NAME, _CONFIG_NAME):
            if name not in listed:
                raise ArtifactError(f"{root} has no {name}; fetch or build the gallery again")
        try:
            config = read_json(root / _CONFIG_NAME)
            encoder_name, dim = config["encoder"], config["dim"]
            index = faiss.read_index(str(root / _INDEX_NAME))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ArtifactError(f"{root} is not a gallery ({reason}); fetch or build it again") from error
        table = GalleryTable.read(root / _TABLE_NAME)
        if index.d != dim or index.ntotal != len(table) or not len(table):
            raise ArtifactError(
                f"{root} does not fit together: {index.ntotal} vectors of {index.d} numbers, "
                f"{len(table)} rows, dim {dim}; fetch or build the gallery again"
            )
        return cls(index, table, str(encoder_name), root)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the gallery folder; it is there whole or not at all.

        The files are written to a temporary folder beside it, which is then renamed.

        Args:
            folder: The folder to make; its parent is made if needed.
            overwrite: Whether a gallery that is already there may be replaced. Nothing else ever is.

        Raises:
            InputError: Something is at `folder` that may not be replaced, see `check_destination`.
            ArtifactError: The folder cannot be written.
        """
        import faiss

        root = Path(folder).resolve()
        check_destination(root, overwrite=overwrite)
        config = {
            "encoder": self.encoder_name,
            "dim": self.dim,
            "num_photos": self.size,
            "index": INDEX_KIND,
            "geotoken_version": __version__,
        }
        temporary: Path | None = None
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
            temporary.chmod(0o755)  # mkdtemp makes a folder for one user only
            faiss.write_index(self._index, str(temporary / _INDEX_NAME))
            self.table.write(temporary / _TABLE_NAME)
            text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
            (temporary / _CONFIG_NAME).write_text(text, encoding="utf-8")
            write_manifest(temporary, kind=KIND, format_version=FORMAT_VERSION)
            _put_in_place(temporary, root)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ArtifactError(
                f"gallery {root} cannot be written ({reason}); check space and permissions"
            ) from error
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
        self._folder = root

    @property
    def size(self) -> int:
        """Number of photos N."""
        return len(self.table)

    @property
    def dim(self) -> int:
        """Length D of the vectors."""
        return int(self._index.d)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """A copy of the unit vectors, shape (N, D), float32."""
        return np.asarray(self._index.reconstruct_n(0, self.size), dtype=np.float32)

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
        """Find the k photos nearest to each query, exactly.

        Args:
            vectors: Query vectors of this gallery's encoder, shape (B, D); scaled to length 1 here.
            k: Neighbors wanted for each query, at least 1.
            exclude: Rows that must not count: one exclusion for all queries, or one (or None) a query.

        Returns:
            One `Neighbors` a query, in order, best first; it has fewer than k where fewer rows remain.

        Raises:
            InputError: A shape, k or the length of `exclude` does not fit, or a vector is zero or not finite.
        """
        queries = _to_units(vectors, "query")
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
        return search_index(self._index, self.table, queries, k, each)

    def info(self) -> dict[str, Any]:
        """Describe the gallery.

        Returns:
            JSON-serialisable: `num_photos`, `dim`, `index`, `encoder`, `bbox` [west, south, east, north] in
            degrees, `coord_precision` {kind: number of photos}, `size_bytes` on disk (None if not saved).
        """
        kinds, counts = np.unique(
            [kind or "unknown" for kind in self.table.coord_precision], return_counts=True
        )
        lat, lng = self.table.lat, self.table.lng
        size_bytes = None
        if self._folder is not None:
            size_bytes = sum(path.stat().st_size for path in self._folder.iterdir() if path.is_file())
        return {
            "num_photos": self.size,
            "dim": self.dim,
            "index": INDEX_KIND,
            "encoder": self.encoder_name,
            "bbox": [float(edge) for edge in (lng.min(), lat.min(), lng.max(), lat.max())],
            "coord_precision": dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
            "size_bytes": size_bytes,
        }


def check_destination(folder: Path, *, overwrite: bool) -> None:
    """Refuse to write a gallery over anything that is not one; ask this before long work.

    Args:
        folder: Where a gallery shall be saved.
        overwrite: Whether a gallery that is already there may be replaced.

    Raises:
        InputError: A file or a folder with other things is there, or a gallery and `overwrite` is False.
    """
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        manifest = read_json(folder / MANIFEST_NAME)
        is_gallery = manifest["format"] == KIND
    except (OSError, ValueError, KeyError, TypeError):
        is_gallery = False
    if not is_gallery:
        raise InputError(f"{folder} exists and is not a gallery; choose another folder")
    if not overwrite:
        raise InputError(
            f"{folder} already is a gallery; choose another folder, or overwrite it "
            "(--overwrite, in Python overwrite=True)"
        )


def _put_in_place(temporary: Path, folder: Path) -> None:
    # A folder cannot be renamed onto another, so an old one is moved aside first, and back if that fails.
    if not folder.exists():
        temporary.rename(folder)
        return
    old = temporary.with_name(temporary.name + "-old")
    folder.rename(old)
    try:
        temporary.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _to_units(vectors: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    # Vectors scaled to length 1, shape (B, D), contiguous as FAISS wants them.
    values = np.asarray(vectors, dtype=np.float32)
    if values.ndim != 2 or not values.shape[1]:
        raise InputError(f"{name} vectors have shape {values.shape}; give (number of photos, dim)")
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    bad = ~(np.isfinite(norm[:, 0]) & (norm[:, 0] > 0))
    if bad.any():
        raise InputError(f"{name} vector {int(np.argmax(bad))} is zero or not finite; it has no direction")
    return np.ascontiguousarray(values / norm)
