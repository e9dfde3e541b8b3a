"""Bad input of every kind: a row says what is given, and how the files of it are made."""

import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from geotoken.manifest import write_manifest

GOOD = "good.jpg"


class Row(NamedTuple):
    """One bad input."""

    id: str
    code: int
    fragment: str
    """Part of stderr; empty where the input is strange but can be used."""
    arguments: tuple[str, ...]
    """`{w}` is the work folder, `{m}` the tiny model."""
    make: Callable[[Path, Path], None] | None = None
    """Fills the work folder, given the tiny model; `good.jpg` is there already."""
    leaves: tuple[str, ...] = ()
    """Names that may appear in the work folder."""


@cache
def photo(kind: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (64, 48), **options) -> bytes:
    """A small photo of noise in some format."""
    noise = np.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def heic() -> Callable[[], bytes]:
    """Half of a HEIC photo, made when it is needed, for its library is an extra."""

    def make() -> bytes:
        pillow_heif = pytest.importorskip("pillow_heif")
        buffer = io.BytesIO()
        pillow_heif.from_pillow(Image.open(io.BytesIO(photo("PNG")))).save(buffer)
        return half(buffer.getvalue())

    return make


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def patched(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def png_of_size(width: int, height: int) -> bytes:
    import zlib

    content = patched(photo("PNG"), 16, struct.pack(">II", width, height))
    return patched(content, 29, struct.pack(">I", zlib.crc32(content[12:29])))


def jpeg_of_size(width: int, height: int) -> bytes:
    content = photo()
    return patched(content, content.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def with_exif(tags: dict[int, object]) -> bytes:
    exif = Image.Exif()
    exif[0x8825] = tags
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo())).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def zip_of(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(118 - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


class Bomb:
    """Unpickled, it makes a file in the current folder."""

    def __reduce__(self):
        return (open, ("unpickled", "w"))


def pickled_array() -> bytes:
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    return npy(header, pickle.dumps(Bomb()))


def file(name: str, content: bytes | str | Callable[[], bytes]) -> Callable[[Path, Path], None]:
    def make(work: Path, model: Path) -> None:
        made = content() if callable(content) else content
        (work / name).write_bytes(made.encode() if isinstance(made, str) else made)

    return make


def geojson(*ring: object, kind: str = "Polygon") -> str:
    return json.dumps({"type": kind, "coordinates": [list(ring)]})


def changed(name: str, change: Callable[[bytes], bytes], *, sealed: bool) -> Callable[[Path, Path], None]:
    """A copy `model` of the tiny model with one file changed; sealed: the manifests agree with it."""

    def make(work: Path, model: Path) -> None:
        copy = copied(model, work / "model")
        content = change((copy / name).read_bytes())
        (copy / name).unlink()  # it is a link to the original
        (copy / name).write_bytes(content)
        if sealed:
            seal(copy)

    return make


def copied(folder: Path, to: Path) -> Path:
    return shutil.copytree(folder, to, copy_function=os.link)


def seal(model: Path) -> None:
    """Write the manifests anew."""
    folder = model / "gallery"
    (folder / "manifest.json").unlink()
    write_manifest(folder, kind="geotoken-gallery", format_version=1)
    (model / "manifest.json").unlink()
    write_manifest(model, kind="geotoken-model", format_version=1)


def network(content: bytes) -> Callable[[Path, Path], None]:
    """A copy `model` of the tiny model with another network, which its encoder's description agrees with."""

    def make(work: Path, model: Path) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        changed("encoder/encoder.json", edited(onnx_sha256=sha256), sealed=False)(work, model)
        path = work / "model" / "encoder" / "encoder.onnx"
        path.unlink()
        path.write_bytes(content)
        seal(work / "model")

    return make


def computed(operator: str, shape: list[int] | None) -> Callable[[Path, Path], None]:
    """Like `network`, of one that adds up the channels and then goes wrong."""

    def make(work: Path, model: Path) -> None:
        onnx = pytest.importorskip("onnx")
        node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
        constants = {
            "axes": np.array([1, 2, 3]),
            "weights": np.full((1, 384), -1.0, np.float32),
            "shape": np.array(shape or [0], dtype=np.int64),
        }
        nodes = [
            node("Abs", ["pixels"], ["positive"]),
            node("ReduceMean", ["positive", "axes"], ["mean"], keepdims=0),
            node("Unsqueeze", ["mean", "axis"], ["column"]),
            node("Mul", ["column", "weights"], ["wide"]),
            node(operator, ["wide", *(["shape"] if shape else [])], ["vector"]),
        ]
        constants["axis"] = np.array([1])
        graph = onnx.helper.make_graph(
            nodes,
            "wrong",
            [info("pixels", onnx.TensorProto.FLOAT, ["b", 3, "h", "w"])],
            [info("vector", onnx.TensorProto.FLOAT, [None] * (len(shape or [0, 0]) - 1) + [384])],
            [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        opset = [onnx.helper.make_opsetid("", 18)]
        made = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
        network(made.SerializeToString())(work, model)

    return make


def edited(**values: object) -> Callable[[bytes], bytes]:
    """Change entries of a JSON object; None removes one."""

    def change(content: bytes) -> bytes:
        merged = json.loads(content) | values
        return json.dumps({name: value for name, value in merged.items() if value is not None}).encode()

    return change


def listing(*names: str) -> Callable[[bytes], bytes]:
    """Add files to a manifest."""
    entry = {"sha256": "0" * 64, "bytes": 1}

    def change(content: bytes) -> bytes:
        manifest = json.loads(content)
        manifest["files"] |= dict.fromkeys(names, entry)
        return json.dumps(manifest).encode()

    return change


def prior(**arrays: bytes) -> Callable[[bytes], bytes]:
    """A table of the prior with some arrays replaced."""

    def change(content: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {Path(name).stem: archive.read(name) for name in archive.namelist()}
        return zip_of(**{f"{name}.npy": data for name, data in (members | arrays).items()})

    return change


def array(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


def table(sql: str) -> Callable[[Path, Path], None]:
    """A copy `model` of the tiny model with a gallery table made by a query over the true one, sealed."""

    def make(work: Path, model: Path) -> None:
        import duckdb

        copy = copied(model, work / "model")
        (copy / "gallery" / "gallery.parquet").unlink()
        source = f"read_parquet('{model}/gallery/gallery.parquet')"
        with duckdb.connect() as connection:
            connection.sql(sql.format(source)).write_parquet(str(copy / "gallery" / "gallery.parquet"))
        seal(copy)

    return make


def index(vectors: Callable[[np.ndarray], np.ndarray], kind: str = "IndexFlatIP") -> Callable:
    """A copy `model` of the tiny model with other vectors in its gallery, sealed."""

    def make(work: Path, model: Path) -> None:
        import faiss

        copy = copied(model, work / "model")
        path = copy / "gallery" / "index.faiss"
        old = faiss.read_index(str(path))
        new = vectors(old.reconstruct_n(0, old.ntotal)).astype(np.float32)
        path.unlink()
        made = getattr(faiss, kind)(new.shape[1])
        made.add(np.ascontiguousarray(new))
        faiss.write_index(made, str(path))
        seal(copy)

    return make


def link(name: str, to: str) -> Callable[[Path, Path], None]:
    return lambda work, model: (work / name).symlink_to(work / to)


def fifo(name: str) -> Callable[[Path, Path], None]:
    return lambda work, model: os.mkfifo(work / name)


def folder(name: str) -> Callable[[Path, Path], None]:
    return lambda work, model: (work / name).mkdir(parents=True)


def fifo_as_manifest(work: Path, model: Path) -> None:
    copied(model, work / "model")
    (work / "model" / "manifest.json").unlink()
    os.mkfifo(work / "model" / "manifest.json")


def link_out(work: Path, model: Path) -> None:
    copied(model, work / "model")
    (work / "model" / "MODEL_CARD.md").unlink()
    (work / "model" / "MODEL_CARD.md").symlink_to("/etc/hostname")


def photos(work: Path, model: Path) -> None:
    """A folder of one photo."""
    (work / "photos").mkdir()
    os.link(work / GOOD, work / "photos" / GOOD)


def unfinished(work: Path, model: Path) -> None:
    photos(work, model)
    (work / "out.partial").mkdir()


def two_names(work: Path, model: Path) -> None:
    """Two files whose names look the same once they are escaped."""
    named("a\n.jpg")(work, model)
    named("a\\n.jpg")(work, model)


def named(name: str) -> Callable[[Path, Path], None]:
    """A file that is no photo, with a name that the file system may refuse."""

    def make(work: Path, model: Path) -> None:
        try:
            (work / name).write_text("no photo", encoding="utf-8")
        except (OSError, UnicodeError):
            pytest.skip("this file system has no such names")

    return make
