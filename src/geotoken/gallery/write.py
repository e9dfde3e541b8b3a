"""Writes a gallery folder piece by piece, whole or not at all.

Owns the folder's layout; must not know where the rows come from.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geotoken.errors import ArtifactError, InputError, reason_of
from geotoken.files import read_json, replacing_folder
from geotoken.gallery.kinds import choose_kind, make_approximate, make_exact, tune
from geotoken.gallery.storage import BLOCK_ROWS, VectorFile, write_vectors
from geotoken.gallery.table import GalleryTable, TableWriter
from geotoken.manifest import MANIFEST_NAME, write_manifest
from geotoken.version import __version__

KIND = "geotoken-gallery"
"""What the manifest of a gallery folder calls it."""

FORMAT_VERSION = 2
"""Newest layout of a gallery folder that this geotoken reads. Exact galleries are written in layout 1, which
earlier versions read too."""

INDEX_NAME, VECTORS_NAME, CONFIG_NAME = "index.faiss", "vectors.npy", "gallery.json"
"""The FAISS index; the vectors of an approximate index, 16-bit floats; what the gallery is."""

EXACT_INDEX = "exact inner product, float32"
"""What the entry `index` of an exact gallery says."""

Pieces = Iterable[tuple[NDArray[np.float32], GalleryTable]]
"""Rows of a gallery in order: unit vectors of shape (M, D), and what is known about each."""

_RAW_NAME = "vectors.raw"


def write_gallery(
    folder: Path, pieces: Pieces, *, encoder_name: str, dim: int, kind: str = "auto", overwrite: bool = False
) -> int:
    """Write a gallery folder; memory does not grow with the rows, but for an exact index.

    Until the new gallery is whole and on the disk, an old one is as it was.

    Args:
        folder: The folder to make; its parent is made if needed.
        pieces: The rows.
        encoder_name: Name of the encoder that made the vectors.
        dim: Length D of the vectors.
        kind: "auto" to choose by size, or one of `geotoken.gallery.kinds.KINDS`.
        overwrite: Whether a gallery that is already there may be replaced. Nothing else ever is.

    Returns:
        Number of rows.

    Raises:
        InputError: There are no rows, the kind is unknown, or something is at `folder` that may not be
            replaced, see `check_destination`.
        ArtifactError: The folder cannot be written.
    """
    choose_kind(kind, 1)
    root = folder.resolve()
    check_destination(root, overwrite=overwrite)
    try:
        with replacing_folder(root) as new:
            with TableWriter(new) as table_writer:
                num_rows = _write_pieces(new / _RAW_NAME, table_writer, pieces)
                if not num_rows:
                    raise InputError("a gallery needs at least one photo")
                chosen = choose_kind(kind, num_rows)
                table_writer.finish(row_files=chosen != "exact")
            config: dict[str, Any] = {"encoder": encoder_name, "dim": dim, "num_photos": num_rows}
            config["index"] = _write_index(new, chosen, (num_rows, dim))
            config["geotoken_version"] = __version__
            text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
            (new / CONFIG_NAME).write_text(text, encoding="utf-8")
            (new / _RAW_NAME).unlink()
            write_manifest(new, kind=KIND, format_version=1 if chosen == "exact" else FORMAT_VERSION)
    except (OSError, RuntimeError) as error:
        raise ArtifactError(
            f"gallery {root} cannot be written ({reason_of(error)}); check space and permissions"
        ) from error
    return num_rows


def check_destination(folder: Path, *, overwrite: bool) -> None:
    """Refuse to write a gallery over anything that is not one; ask this before long work.

    Args:
        folder: Where a gallery shall be saved.
        overwrite: Whether a gallery that is already there may be replaced.

    Raises:
        InputError: A file or a folder with other things is there, or a gallery and `overwrite` is False; or
            something above it is no folder.
    """
    for parent in folder.parents:
        if os.path.lexists(parent):
            if not parent.is_dir():
                raise InputError(f"{folder} would lie in {parent}, which is no folder; choose another")
            break
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


def _write_pieces(path: Path, table_writer: TableWriter, pieces: Pieces) -> int:
    num_rows = 0
    with path.open("wb") as file:
        for vectors, table in pieces:
            if not len(table):
                continue
            file.write(np.ascontiguousarray(vectors, dtype=np.float32).data)
            table_writer.add(table)
            num_rows += len(table)
    return num_rows


def _write_index(folder: Path, kind: str, shape: tuple[int, int]) -> str | dict[str, Any]:
    """Make the index of the raw vectors in a folder; returns what the configuration says about it."""
    import faiss

    def blocks() -> Iterator[NDArray[np.float32]]:
        with (folder / _RAW_NAME).open("rb") as file:
            while content := file.read(BLOCK_ROWS * shape[1] * 4):
                yield np.frombuffer(content, dtype=np.float32).reshape(-1, shape[1])

    if kind == "exact":
        faiss.write_index(make_exact(blocks(), shape[1]), str(folder / INDEX_NAME))
        return EXACT_INDEX
    write_vectors(folder / VECTORS_NAME, blocks(), shape)
    with closing(VectorFile(folder / VECTORS_NAME)) as vectors:
        index = make_approximate(kind, vectors.blocks, shape)
        effort, recall = tune(kind, index, vectors)
    faiss.write_index(index, str(folder / INDEX_NAME))
    return {
        "kind": kind,
        "breadth": effort.breadth,
        "depth": effort.depth,
        "tuned_recall": round(recall, 4),
    }
