"""Bad input of every kind at the command line: one line of error, the right exit code, nothing left behind.

One table; a row says how the input is made, the arguments, the exit code and a fragment of the message.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from typer.testing import CliRunner

from geotoken.cli import app, errors
from geotoken.images import embed
from geotoken.manifest import write_manifest

MAX_SECONDS = 20
"""No row may hang."""
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


# --- makers ---------------------------------------------------------------------------------------------


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


# --- arguments ------------------------------------------------------------------------------------------

LOCATE = ("locate", "--model", "{m}")
SAMPLE = (*LOCATE, "{w}/good.jpg", "--decoder", "sample", "--json")
BUILD = ("gallery", "build", "--model", "{m}", "--out", "{w}/out")
BUILD_FOLDER = ("gallery", "build", "--model", "{m}", "--out", "{w}-out")


def bad_photo(id: str, content: bytes | str | Callable[[], bytes], fragment: str, code: int = 2) -> Row:
    return Row(f"photo-{id}", code, fragment, (*LOCATE, "--json", "{w}/bad.jpg"), file("bad.jpg", content))


def bad_path(id: str, name: str, fragment: str, make: Callable[[Path, Path], None] | None = None) -> Row:
    return Row(f"path-{id}", 2, fragment, (*LOCATE, "{w}/" + name), make)


def bad_flag(flag: str, value: str, fragment: str, id: str | None = None) -> Row:
    name = f"{flag.lstrip('-')}={value[:20] if id is None else id}"
    return Row(f"flag-{name}", 2, fragment, (*LOCATE, "{w}/good.jpg", f"{flag}={value}"))


def bad_region(id: str, content: bytes | str, fragment: str) -> Row:
    arguments = (*LOCATE, "{w}/good.jpg", "--within", "{w}/area.geojson")
    return Row(f"geojson-{id}", 2, fragment, arguments, file("area.geojson", content))


def bad_model(id: str, fragment: str, make: Callable[[Path, Path], None]) -> Row:
    return Row(f"model-{id}", 3, fragment, ("locate", "{w}/good.jpg", "--model", "{w}/model"), make)


def bad_gallery(id: str, fragment: str, make: Callable[[Path, Path], None]) -> Row:
    arguments = (*LOCATE, "{w}/good.jpg", "--gallery", "{w}/model/gallery")
    return Row(f"gallery-{id}", 3, fragment, arguments, make)


def bad_csv(id: str, content: bytes | str, fragment: str) -> Row:
    return Row(f"csv-{id}", 2, fragment, (*BUILD, "{w}/photos.csv"), file("photos.csv", content))


def points(coordinates: object, **properties: object) -> str:
    """GeoJSON of one photo."""
    properties = {"image": "good.jpg"} | properties
    geometry = {"type": "Point", "coordinates": coordinates}
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    return json.dumps({"type": "FeatureCollection", "features": [feature]})


def bad_points(id: str, content: str, fragment: str) -> Row:
    return Row(f"points-{id}", 2, fragment, (*BUILD, "{w}/photos.geojson"), file("photos.geojson", content))


def bad_sidecar(id: str, name: str, content: str, fragment: str) -> Row:
    return Row(f"sidecar-{id}", 2, fragment, (*BUILD_FOLDER, "{w}"), file(name, content))


def bad_output(id: str, name: str, fragment: str, make: Callable[[Path, Path], None] | None = None) -> Row:
    return Row(f"out-{id}", 2, fragment, (*LOCATE, "{w}/good.jpg", "--out", "{w}/" + name), make)


def bad_resume(id: str, name: str, content: bytes | str, fragment: str) -> Row:
    arguments = (*LOCATE, "{w}/good.jpg", "--resume", "--out", "{w}/" + name.removesuffix(".partial.jsonl"))
    return Row(f"resume-{id}", 2, fragment, arguments, file(name, content))


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


# --- the table ------------------------------------------------------------------------------------------

OVER_ZERO = (IFDRational(0, 0), IFDRational(1, 0), IFDRational(1, 0))
SQUARE = ([0, 0], [1, 0], [1, 1], [0, 0])
HUGE = "9" * 30
GEOJSON_ROW = '{"type": "FeatureCollection", "features": [\n{"geometry": {"coordinates": 5}}\n]}\n'
XML_BOMB = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>'
KML_BOMB = (
    '<!DOCTYPE kml [<!ENTITY a0 "aaaaaaaaaaaaaaaa">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 16}">' for i in range(1, 9))
    + ']><kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>&a8;</name></Document></kml>'
)
NO_ARRAY = "{'descr': '<u8', 'fortran_order': False, 'shape': (1000000000000,), }"

ROWS = [
    bad_photo("empty", b"", "the file is empty"),
    bad_photo("text", "this is no photo", "it is text, not a photo"),
    bad_photo("html", "<html><script>alert(1)</script>", "it is text, not a photo"),
    bad_photo("svg-bomb", "<svg>" * 1000, "it is text, not a photo"),
    bad_photo("zeros", bytes(5000), "not a photo in a known format"),
    bad_photo("pdf", b"%PDF-1.7\n\x00", "PDF"),
    bad_photo("bmp", photo("BMP"), "BMP is not supported"),
    bad_photo("zip", zip_of(a=b"a"), "not a photo in a known format"),
    bad_photo("polyglot", b"\xff\xd8\xff\xe0" + zip_of(a=b"a"), "damaged or cut short"),
    bad_photo("video", b"\0\0\0\x18ftypisom\0\0\0\0", "it is a video"),
    bad_photo("magic-only", b"\xff\xd8\xff", "damaged or cut short"),
    bad_photo("half-jpeg", half(photo()), "damaged or cut short"),
    bad_photo("half-png", half(photo("PNG")), "damaged or cut short"),
    bad_photo("half-webp", half(photo("WEBP")), "damaged or cut short"),
    bad_photo("half-tiff", half(photo("TIFF")), "damaged or cut short"),
    bad_photo("half-gif", photo("GIF")[:20], "damaged or cut short"),
    bad_photo("half-avif", half(photo("AVIF")), "damaged or cut short"),
    bad_photo("half-heic", heic(), "damaged or cut short"),
    bad_photo("bomb-png", png_of_size(100_000, 100_000), "more than the limit of 200,000,000"),
    bad_photo("bomb-jpeg", jpeg_of_size(65_500, 65_500), "more than the limit of 200,000,000"),
    bad_photo("bomb-gif", patched(photo("GIF"), 6, b"\xff\xff\xff\xff"), "shrink it"),
    bad_photo("lying-size-png", png_of_size(9_000, 9_000), "damaged or cut short"),
    bad_photo("zero-by-zero", png_of_size(0, 0), "damaged or cut short"),
    bad_photo("zero-wide-jpeg", jpeg_of_size(0, 10), "damaged or cut short"),
    bad_photo("broken-exif", patched(with_exif({1: "N"}), 26, b"\xff" * 40), "", code=0),
    bad_photo("gps-over-zero", with_exif({1: "N", 2: OVER_ZERO, 3: "E", 4: OVER_ZERO}), "", code=0),
    bad_photo("gps-out-of-range", with_exif({1: "N", 2: (99.0, 0.0), 3: "E", 4: (1.0,)}), "", code=0),
    bad_photo("gps-text", with_exif({1: "\x1b", 2: (1.0,), 3: "E" * 999, 4: (1.0,)}), "", code=0),
    bad_photo("cmyk-without-profile", photo("JPEG", "CMYK"), "", code=0),
    bad_photo("one-pixel", photo("PNG", size=(1, 1)), "", code=0),
    bad_photo("one-line", photo("PNG", size=(20_000, 1)), "", code=0),
    bad_path("missing", "no.jpg", "does not exist"),
    bad_path("empty-folder", "dir.jpg", "holds no photo", folder("dir.jpg")),
    bad_path("dangling", "link.jpg", "there is no such file", link("link.jpg", "nowhere")),
    bad_path("link-to-itself", "link.jpg", "check the path", link("link.jpg", "link.jpg")),
    bad_path("fifo", "pipe.jpg", "not a regular file", fifo("pipe.jpg")),
    bad_path("newline", "a\nerror: b.jpg", "a\\nerror: b.jpg", named("a\nerror: b.jpg")),
    bad_path("ansi", "a\x1b[2J\x07.jpg", "\\x1b[2J\\x07", named("a\x1b[2J\x07.jpg")),
    bad_path("not-unicode", "a\udcff.jpg", "\\udcff", named("a\udcff.jpg")),
    bad_path("too-long", "a" * 5000, "does not exist"),
    Row("path-empty", 2, "an empty path", (*LOCATE, "")),
    Row("path-none", 2, "Missing argument", ("locate",)),
    Row("path-some-bad", 4, "does not exist", (*LOCATE, "--json", "{w}/no.jpg", "{w}/good.jpg")),
    bad_flag("--top-k", "0", "(--top-k) is 0; give an integer of at least 1"),
    bad_flag("--top-k", "abc", "--top-k"),
    bad_flag("--top-k", HUGE, "--top-k", "huge"),
    bad_flag("--beam-width", "-1", "--beam-width"),
    bad_flag("--beam-width", HUGE, "--beam-width", "huge"),
    bad_flag("--beam-width", "1000000000", "--beam-width"),
    bad_flag("--samples", "0", "--samples"),
    bad_flag("--samples", "1000000000000", "--samples"),
    bad_flag("--temperature", "nan", "--temperature"),
    bad_flag("--temperature", "inf", "--temperature"),
    bad_flag("--temperature", "-0.0", "--temperature"),
    Row("flag-temperature-tiny", 0, "", (*SAMPLE, "--temperature", "1e-320")),
    Row("flag-temperature-huge", 0, "", (*SAMPLE, "--temperature", "1e308")),
    bad_flag("--sample-top-k", "0", "--sample-top-k"),
    bad_flag("--sample-top-p", "nan", "--sample-top-p"),
    bad_flag("--sample-top-p", "1.5", "--sample-top-p"),
    bad_flag("--seed", "-1", "--seed"),
    bad_flag("--max-expansions", "0", "--max-expansions"),
    bad_flag("--decoder", "magic", "choose one of greedy"),
    bad_flag("--decoder", "a\x1b[2J" + "b" * 10_000, "choose one of greedy", "long"),
    bad_flag("--select", "best", "choose one of"),
    bad_flag("--select", "reward", "needs a reward model"),
    bad_flag("--head", "transformer", "--head"),
    bad_flag("--guess", "", "--guess"),
    bad_flag("--guess", "here", "--guess"),
    bad_flag("--guess", "1", "--guess"),
    bad_flag("--guess", "1,2,3,4", "--guess"),
    bad_flag("--guess", "nan,2", "--guess"),
    bad_flag("--guess", "91,2", "latitude 91"),
    bad_flag("--guess", "1,2,0", "weight"),
    bad_flag("--guess", "1,2,1e400", "--guess"),
    bad_flag("--nonsense", "1", "--nonsense"),
    bad_flag("--map", "{w}/map.txt", "ends in .html"),
    bad_flag("--map", "{w}", "ends in .html", "folder"),
    bad_flag("--map", "{w}/no/map.html", "does not exist"),
    bad_flag("--map", "{w}/" + "a" * 5000 + ".html", "File name too long", "long"),
    bad_flag("--report", "", "--report is empty"),
    bad_flag("--report", "{w}", "something else in it"),
    bad_flag("--report", "{w}/good.jpg", "is no folder"),
    bad_flag("--report", "{w}/no/report", "does not exist"),
    bad_flag("--report", "{w}/" + "a" * 5000, "File name too long", "long"),
    Row(
        "flag-map-is-the-photo",
        2,
        "is one of the files to be read",
        (*LOCATE, "{w}/photo.html", "--map", "{w}/photo.html"),
        file("photo.html", photo()),
    ),
    bad_flag("--within", "", "is not a region"),
    bad_flag("--within", "Peru", "is not a region"),
    bad_flag("--within", "country=", "is no country"),
    bad_flag("--within", "country=XX", "is no country"),
    bad_flag("--within", "country=" + "x\x1b" * 5000, "is no country", "long"),
    bad_flag("--within", "bbox=1,2,3", "4 numbers"),
    bad_flag("--within", "bbox=a,b,c,d", "4 numbers"),
    bad_flag("--within", "bbox=0,nan,1,1", "out of range"),
    bad_flag("--within", "bbox=0,5,1,5", "south must be less than north"),
    bad_flag("--within", "bbox=5,0,5,1", "no area"),
    bad_flag("--within", "bbox=0,0,181,1", "out of range"),
    bad_flag("--within", "near=0,0", "3 numbers"),
    bad_flag("--within", "near=0,0,0", "more than 0"),
    bad_flag("--within", "near=0,0,inf", "out of range"),
    bad_flag("--within", "near=91,0,1", "out of range"),
    bad_flag("--within", "near=0,0,1e-300", "is too small"),
    bad_flag("--within", "bbox=0,0,1e-300,1e-300", "give a larger region"),
    bad_flag("--guess", "1,2,1e-400", "weight"),
    bad_flag("--within", "{w}/no.geojson", "there is no file"),
    bad_flag("--within", "{w}/" + "a" * 5000 + ".geojson", "cannot be read", "long-name"),
    bad_region("empty", "", "is empty"),
    bad_region("not-json", "hello", "is not JSON"),
    bad_region("not-text", b"\xff\xfe\x00\xd8", "is not JSON"),
    bad_region("number", "5", "is not GeoJSON"),
    bad_region("null", "null", "is not GeoJSON"),
    bad_region("long-type", json.dumps({"type": "\x1b[2J" + "x" * 10_000}), "is not GeoJSON"),
    bad_region("brackets", "[" * 1_000_000, "is not JSON"),
    bad_region("nested", '{"type":"GeometryCollection","geometries":[' * 5000, "is not JSON"),
    bad_region("swapped", geojson([48, 100], [49, 100], [49, 101], [48, 100]), "were they swapped?"),
    bad_region("meters", geojson([5e5, 4e6], [6e5, 4e6], [6e5, 5e6], [5e5, 4e6]), "projected"),
    bad_region("open-ring", geojson([0, 0], [1, 0], [1, 1]), "not closed"),
    bad_region("flat", geojson([0, 0], [1, 0], [2, 0], [0, 0]), "no polygon with an area"),
    bad_region("strings", geojson(["0", "0"], ["1", "0"], ["1", "1"], ["0", "0"]), "must be a list of"),
    bad_region("nan", geojson([0, 0], [float("nan"), 0], [1, 1], [0, 0]), "NaN" if False else "area.geojson"),
    bad_region("huge-number", '{"type":"Polygon","coordinates":[[[1e999,0],[1,0],[1,1],[1e999,0]]]}', "area"),
    bad_region("huge-integer", geojson([10**400, 0], [1, 0], [1, 1], [10**400, 0]), "area.geojson"),
    bad_region("point", '{"type":"Point","coordinates":[0,0]}', "which has no area"),
    bad_region("no-features", '{"type":"FeatureCollection","features":[]}', "no polygon with an area"),
    Row(
        "geojson-fifo",
        2,
        "not a regular file",
        (*LOCATE, "{w}/good.jpg", "--within", "{w}/area.json"),
        fifo("area.json"),
    ),
    Row(
        "geojson-folder",
        2,
        "cannot be read",
        (*LOCATE, "{w}/good.jpg", "--within", "{w}/area.json"),
        folder("area.json"),
    ),
    bad_output("ending", "a.xlsx", "ends in one of"),
    bad_output("folder", "a.csv", "is a folder", folder("a.csv")),
    bad_output("no-parent", "no/a.csv", "there is no folder"),
    bad_output("fifo", "a.csv", "is no regular file", fifo("a.csv")),
    bad_output("long", "a" * 5000 + ".csv", "File name too long"),
    bad_output("journal", "a.csv", "add --resume to go on", file("a.csv.partial.jsonl", "")),
    Row(
        "out-two-names",
        2,
        "two photos would both be written as",
        (*LOCATE, "{w}", "--out", "{w}/a.csv"),
        two_names,
    ),
    Row("out-twice", 2, "names one file twice", (*LOCATE, "{w}/good.jpg", *("--out", "{w}/a.csv") * 2)),
    Row(
        "out-is-the-region",
        2,
        "is one of the files to be read",
        (*LOCATE, "{w}/good.jpg", "--within", "{w}/area.geojson", "--out", "{w}/area.geojson"),
        file("area.geojson", geojson(*SQUARE)),
    ),
    Row(
        "out-is-the-photo",
        2,
        "is one of the files to be read",
        (*LOCATE, "{w}", "{w}/photo.csv", "--out", "{w}/photo.csv"),
        file("photo.csv", photo()),
    ),
    Row("resume-without-out", 2, "--resume goes on", (*LOCATE, "{w}/good.jpg", "--resume")),
    Row("workers", 2, "--workers", (*LOCATE, "{w}/good.jpg", "--workers", "0")),
    bad_resume("journal-text", "a.csv.partial.jsonl", "hello\n", "is not a journal"),
    bad_resume("journal-nested", "a.csv.partial.jsonl", "[" * 10**6 + "\n", "is not a journal"),
    bad_resume(
        "journal-list", "a.csv.partial.jsonl", '{"journal": 1, "settings": [1]}\n', "is not a journal"
    ),
    bad_resume("journal-newer", "a.csv.partial.jsonl", '{"journal": 9, "settings": {}}\n', "another version"),
    bad_resume(
        "journal-other",
        "a.csv.partial.jsonl",
        '{"journal": 1, "settings": {"\\u001b": 1}}\n',
        "was begun with \\x1b 1, now",
    ),
    bad_resume("csv", "a.csv", "a,b\n1,2\n", "it has other columns"),
    bad_resume("csv-huge", "a.csv", "x" * 200_000, "cannot be added to"),
    bad_resume("json", "a.json", "hello", "cannot be added to"),
    bad_resume("jsonl-nested", "a.jsonl", "[" * 10**6, "cannot be added to"),
    bad_resume("jsonl-number", "a.jsonl", "5\n", "cannot be added to"),
    bad_resume(
        "geojson", "a.geojson", '{"type": "FeatureCollection", "features": [\n5\n]}\n', "cannot be added"
    ),
    bad_resume("geojson-point", "a.geojson", GEOJSON_ROW, "cannot be added to"),
    bad_resume("kml", "a.kml", "<kml", "cannot be added to"),
    bad_resume("kml-entities", "a.kml", KML_BOMB, "cannot be added to"),
    bad_resume("parquet", "a.parquet", "PAR1", "cannot be added to"),
    Row("model-missing", 3, "there is no model", ("locate", "{w}/good.jpg", "--model", "{w}/no")),
    Row("model-empty-name", 3, "there is no model ''", ("locate", "{w}/good.jpg", "--model", "")),
    Row("model-ansi", 3, "there is no model", ("locate", "{w}/good.jpg", "--model", "a\x1b[2J\n")),
    Row("model-too-long", 2, "File name too long", ("locate", "{w}/good.jpg", "--model", "a" * 5000)),
    Row("model-is-a-file", 3, "there is no model", ("locate", "{w}/good.jpg", "--model", "{w}/good.jpg")),
    bad_model("no-manifest", "has no manifest.json", folder("model")),
    bad_model("fifo", "manifest.json", fifo_as_manifest),
    bad_model("manifest-cut", "is not readable JSON", changed("manifest.json", half, sealed=False)),
    bad_model(
        "manifest-nested",
        "is not readable JSON",
        changed("manifest.json", lambda _: b"[" * 10**6, sealed=False),
    ),
    bad_model("manifest-list", "not a JSON object", changed("manifest.json", lambda _: b"[]", sealed=False)),
    bad_model(
        "manifest-of-a-gallery",
        'is "geotoken-gallery", not "geotoken-model"',
        changed("manifest.json", edited(format="geotoken-gallery"), sealed=False),
    ),
    bad_model("newer", "upgrade geotoken", changed("manifest.json", edited(format_version=99), sealed=False)),
    bad_model(
        "version-text",
        "no valid format_version",
        changed("manifest.json", edited(format_version="1"), sealed=False),
    ),
    bad_model("dots", "outside the folder", changed("manifest.json", listing("../../etc/x"), sealed=False)),
    bad_model("absolute", "outside the folder", changed("manifest.json", listing("/etc/x"), sealed=False)),
    bad_model("drive", "outside the folder", changed("manifest.json", listing("C:\\x"), sealed=False)),
    bad_model(
        "ansi-in-manifest",
        "outside",
        changed("manifest.json", listing("../\x1b[2J\n" + "a" * 999), sealed=False),
    ),
    bad_model("listed-missing", "is missing", changed("manifest.json", listing("a.bin"), sealed=False)),
    bad_model(
        "duplicate-name",
        "twice",
        changed(
            "manifest.json",
            lambda c: c.replace(b'"files": {', b'"files": {"config.json": {"sha256": "0", "bytes": 1},'),
            sealed=False,
        ),
    ),
    bad_model(
        "one-byte", "was changed", changed("mixture/prior.npz", lambda c: patched(c, 500, b"!"), sealed=False)
    ),
    bad_model("cut", "truncated or changed", changed("mixture/prior.npz", half, sealed=False)),
    bad_model("link-out", "instead of", link_out),
    bad_model("config-nested", "config.json", changed("config.json", lambda _: b"[" * 10**6, sealed=True)),
    bad_model(
        "config-group-size",
        "config.json",
        changed("config.json", edited(scheme={"level": 20, "group_size": 2.0}), sealed=True),
    ),
    bad_model(
        "config-huge-vocabulary",
        "config.json",
        changed("config.json", edited(scheme={"level": 30, "group_size": 30}), sealed=True),
    ),
    bad_model(
        "config-weights",
        "threshold_weights",
        changed("config.json", edited(threshold_weights=[1, 1, 1, 1, float("nan")]), sealed=True),
    ),
    bad_model(
        "config-weights-huge",
        "config.json",
        changed("config.json", edited(threshold_weights=[10**400, 1, 1, 1, 1]), sealed=True),
    ),
    bad_model("config-name", "config.json", changed("config.json", edited(name=[1]), sealed=True)),
    bad_model("config-head", "wants the head", changed("config.json", edited(head="oracle"), sealed=True)),
    bad_model("config-none", "config.json", changed("config.json", edited(head=None), sealed=True)),
    bad_model(
        "mixture-nan",
        "mixture.json",
        changed("mixture/mixture.json", edited(sharp_scales_km=[float("nan")]), sealed=True),
    ),
    bad_model(
        "mixture-neighbors",
        "mixture.json",
        changed(
            "mixture/mixture.json",
            lambda c: c.replace(b'"num_neighbors": 5', b'"num_neighbors": 5.5'),
            sealed=True,
        ),
    ),
    bad_model(
        "mixture-nested", "mixture.json", changed("mixture/mixture.json", lambda _: b"[" * 10**6, sealed=True)
    ),
    bad_model("npz-cut", "prior.npz", changed("mixture/prior.npz", half, sealed=True)),
    bad_model("npz-garbage", "prior.npz", changed("mixture/prior.npz", lambda _: b"hello", sealed=True)),
    bad_model("npz-is-npy", "prior.npz", changed("mixture/prior.npz", lambda _: array([1]), sealed=True)),
    bad_model(
        "npz-pickle", "prior.npz", changed("mixture/prior.npz", lambda _: pickle.dumps(Bomb()), sealed=True)
    ),
    bad_model(
        "npz-pickle-inside",
        "prior.npz",
        changed("mixture/prior.npz", prior(mass=pickled_array()), sealed=True),
    ),
    bad_model(
        "npz-huge-shape", "prior.npz", changed("mixture/prior.npz", prior(mass=npy(NO_ARRAY)), sealed=True)
    ),
    bad_model(
        "npz-other-length", "prior.npz", changed("mixture/prior.npz", prior(mass=array([0.5])), sealed=True)
    ),
    bad_model(
        "npz-no-cells",
        "prior.npz",
        changed(
            "mixture/prior.npz",
            prior(mass=array([0.5, 0.5]), cell_id_steps=array(np.array([2, 4], dtype=np.uint64))),
            sealed=True,
        ),
    ),
    bad_model(
        "onnx-garbage", "encoder.onnx", changed("encoder/encoder.onnx", lambda _: b"hello", sealed=True)
    ),
    bad_model("onnx-garbage-sealed", "cannot be loaded", network(b"hello")),
    bad_model("onnx-of-bad-text", "cannot be loaded", network(b"\x3a\x05\x12\x03\xff\xfe\xfd")),
    bad_model("onnx-fails", "fails (", computed("Reshape", [7, 384])),
    bad_model("onnx-other-shape", "gives no vectors", computed("Reshape", [1, 1, 384])),
    bad_model("onnx-not-finite", "gives no vectors", computed("Log", None)),
    bad_model("onnx-empty", "cannot be loaded", network(b"")),
    bad_model(
        "encoder-nested", "encoder.json", changed("encoder/encoder.json", lambda _: b"[" * 10**6, sealed=True)
    ),
    bad_model(
        "encoder-mean",
        "encoder.json",
        changed("encoder/encoder.json", edited(mean=[float("nan"), 0, 0]), sealed=True),
    ),
    bad_model(
        "encoder-dim", "must have one input", changed("encoder/encoder.json", edited(dim=7), sealed=True)
    ),
    bad_gallery("not-a-folder", "is not a folder", lambda work, model: None),
    bad_gallery(
        "other-encoder",
        "build the gallery with this model",
        changed("gallery/gallery.json", edited(encoder="another"), sealed=True),
    ),
    bad_gallery(
        "config-nested",
        "is not a gallery",
        changed("gallery/gallery.json", lambda _: b"[" * 10**6, sealed=True),
    ),
    bad_gallery(
        "config-number", "is not a gallery", changed("gallery/gallery.json", lambda _: b"5", sealed=True)
    ),
    bad_gallery(
        "parquet-cut",
        "is not the table of a gallery",
        changed("gallery/gallery.parquet", half, sealed=True),
    ),
    bad_gallery(
        "parquet-garbage",
        "is not the table of a gallery",
        changed("gallery/gallery.parquet", lambda _: b"PAR1hello\x1b[2J", sealed=True),
    ),
    bad_gallery(
        "nan-coordinates",
        "is not the table of a gallery",
        table("select * replace ('nan'::double as lat) from {}"),
    ),
    bad_gallery("too-few-rows", "does not fit together", table("select * from {} limit 3")),
    bad_gallery("no-id", "is not the table of a gallery", table("select * replace (null as id) from {}")),
    bad_gallery("no-column", "is not the table of a gallery", table("select * exclude (owner) from {}")),
    bad_gallery("text-for-numbers", "is not the table", table("select * replace ('x' as lat) from {}")),
    bad_gallery("index-cut", "is not a gallery", changed("gallery/index.faiss", half, sealed=True)),
    bad_gallery(
        "index-garbage", "is not a gallery", changed("gallery/index.faiss", lambda _: b"IxFI", sealed=True)
    ),
    bad_gallery(
        "index-huge",
        "is not a gallery",
        changed("gallery/index.faiss", lambda c: patched(c, 37, struct.pack("<Q", 1 << 38)), sealed=True),
    ),
    bad_gallery("nan-vectors", "not of length 1", index(lambda v: v * np.nan)),
    bad_gallery("long-vectors", "not of length 1", index(lambda v: v * 3)),
    bad_gallery("other-metric", "is not a gallery", index(lambda v: v, "IndexFlatL2")),
    bad_gallery("too-many-vectors", "does not fit together", index(lambda v: np.concatenate([v, v]))),
    bad_gallery(
        "wrong-dim",
        "does not fit together",
        index(lambda v: np.eye(8, 7, dtype=np.float32) + np.eye(8, 7, -7, dtype=np.float32)),
    ),
    Row("gallery-info-missing", 3, "is not a folder", ("gallery", "info", "{w}/no")),
    Row("gallery-info-of-a-model", 3, 'not "geotoken-gallery"', ("gallery", "info", "{m}")),
    Row("gallery-search-k", 2, "k is 0", ("gallery", "search", "{w}/good.jpg", "--model", "{m}", "-k", "0")),
    bad_csv("empty", "", "lacks the column"),
    bad_csv("header-only", "image,lat,lng\n", "has no rows"),
    bad_csv("wrong-header", "photo,latitude,longitude\na.jpg,1,2\n", "lacks the column"),
    bad_csv("semicolons", "image;lat;lng\na.jpg;1;2\n", "lacks the column"),
    bad_csv("long-header", "\x1b[2J" + "x" * 100_000 + "\n", "lacks the column"),
    bad_csv("utf-16", "image,lat,lng\n".encode("utf-16"), "it is not text in UTF-8"),
    bad_csv("latin-1", "image,lat,lng\n\xe9.jpg,1,2\n".encode("latin-1"), "it is not text in UTF-8"),
    bad_csv("quotes", 'image,lat,lng\n"good.jpg,1,2\n', "cannot be read"),
    bad_csv("huge-field", "image,lat,lng\n" + "x" * 200_000 + ",1,2\n", "cannot be read"),
    Row(
        "csv-rows",
        2,
        "latitude 91",
        (*BUILD, "{w}/photos.csv"),
        file("photos.csv", "image,lat,lng\ngood.jpg,91,2\n"),
    ),
    Row(
        "csv-some-bad",
        4,
        "its lat is empty",
        (*BUILD, "{w}/photos.csv"),
        file("photos.csv", "\ufeffimage,lat,lng\ngood.jpg,1,2\ngood.jpg,,2\n"),
        ("out",),
    ),
    Row(
        "csv-nul",
        4,
        "\\x00",
        (*BUILD, "{w}/photos.csv"),
        file("photos.csv", 'image,lat,lng\ngood.jpg,1,2\n"a\0\x1b[2J\nb",1,2\n'),
        ("out",),
    ),
    Row(
        "csv-long-name",
        2,
        "none of the 1 photos",
        (*BUILD, "{w}/photos.csv"),
        file("photos.csv", f"image,lat,lng\n{'a' * 9000},1,2\n"),
    ),
    bad_points("empty", "", "it is not JSON"),
    bad_points("list", "[]", "is not a GeoJSON FeatureCollection"),
    bad_points("nested", "[" * 10**6, "it is not JSON"),
    bad_points("no-features", '{"features": []}', "FeatureCollection"),
    bad_points("no-image", points([0, 0], image=None), "it names no photo"),
    bad_points("huge-integer", points([10**400, 0]), "longitude must be a number"),
    bad_points("swapped", points([0, 151]), "latitude 151"),
    bad_points("nan", points([float("nan"), 0]), "longitude nan"),
    bad_points("half-letter", points([0, 0], label="\ud800"), "not valid Unicode"),
    bad_points("half-letter-in-name", points([0, 0], image="\ud800.jpg"), "\\ud800"),
    bad_sidecar("xmp-entities", "good.xmp", XML_BOMB, "document type declaration"),
    bad_sidecar("xmp-nested", "good.xmp", "<a>" * 100_000, "it is not XML"),
    bad_sidecar("xmp-text", "good.jpg.xmp", "\x1b[2J", "it is not XML"),
    bad_sidecar("xmp-encoding", "good.jpg.xmp", '<?xml version="1.0" encoding="\x7f"?><a/>', "it is not XML"),
    bad_sidecar("takeout-nested", "good.jpg.json", "[" * 10**6, "it is not JSON"),
    bad_sidecar("takeout-nan", "good.jpg.json", '{"geoData": {"latitude": NaN, "longitude": 1}}', "is none"),
    bad_sidecar("takeout-huge", "good.jpg.json", f'{{"geoData": {{"latitude": 1{"0" * 400}}}}}', "is none"),
    Row("sidecar-fifo", 2, "not a regular file", (*BUILD_FOLDER, "{w}"), fifo("good.xmp")),
    Row("points-fifo", 2, "not a regular file", (*BUILD, "{w}/photos.json"), fifo("photos.json")),
    Row("add-to-nothing", 3, "is not a folder", ("gallery", "add", "{w}/no", "{w}", "--model", "{m}")),
    Row("remove-nothing", 2, "nothing to remove", ("gallery", "remove", "{m}/gallery")),
    Row(
        "remove-unknown",
        2,
        "nothing was removed",
        ("gallery", "remove", "{m}/gallery", "--id", "a\x1b" * 999),
    ),
    Row("remove-no-list", 2, "cannot be read", ("gallery", "remove", "{m}/gallery", "--list", "{w}/no")),
    Row("remove-list-of-bytes", 2, "UTF-8", ("gallery", "remove", "{m}/gallery", "--list", "{w}/good.jpg")),
    Row("merge-one", 2, "give two or more", ("gallery", "merge", "{w}/out", "{m}/gallery")),
    Row(
        "merge-bad-hash",
        3,
        "which is none",
        ("gallery", "merge", "{w}/out", "{m}/gallery", "{w}/model/gallery"),
        table("select * replace ('xyz' as sha256) from {}"),
    ),
    Row(
        "merge-other-encoder",
        3,
        "holds vectors of encoder",
        ("gallery", "merge", "{w}/out", "{m}/gallery", "{w}/model/gallery"),
        changed("gallery/gallery.json", edited(encoder="another"), sealed=True),
    ),
    Row(
        "reindex-unknown", 2, "is unknown; choose auto", ("gallery", "reindex", "{m}/gallery", "--index", "x")
    ),
    Row(
        "build-unfinished",
        2,
        "is not an unfinished build",
        (*BUILD, "{w}/photos"),
        unfinished,
    ),
    Row("csv-missing", 2, "cannot be read", (*BUILD, "{w}/no.csv")),
    Row("csv-fifo", 2, "not a regular file", (*BUILD, "{w}/photos.csv"), fifo("photos.csv")),
    Row("csv-too-long", 2, "File name too long", (*BUILD, "{w}/" + "a" * 5000)),
    Row("build-over-a-file", 2, "is not a gallery", ("gallery", "build", "{w}", "--out", "{w}/good.jpg")),
    Row(
        "build-under-a-file",
        2,
        "which is no folder",
        ("gallery", "build", "{w}", "--out", "{w}/good.jpg/out"),
    ),
    Row("build-over-others", 2, "is not a gallery", ("gallery", "build", "{w}", "--out", "{w}")),
    Row(
        "build-over-nested",
        2,
        "is not a gallery",
        ("gallery", "build", "{w}", "--out", "{w}/out"),
        lambda w, m: (
            file("out/x", "")(w, m) if (w / "out").mkdir() else file("out/manifest.json", "[" * 10**6)(w, m)
        ),
    ),
    Row("build-no-gps", 2, "no GPS position", (*BUILD, "{w}/photos"), photos),
    Row("build-in-source", 2, "would lie in", (*BUILD, "{w}")),
    Row("encode-nothing", 2, "Missing argument", ("tokens", "encode")),
    Row("encode-text", 2, "give LAT LNG", ("tokens", "encode", "here")),
    Row("encode-nan", 2, "latitude nan", ("tokens", "encode", "nan", "0")),
    Row("encode-range", 2, "latitude 91", ("tokens", "encode", "91", "0")),
    Row("encode-swapped", 2, "latitude 151", ("tokens", "encode", "151.2,-33.8")),
    Row("encode-level", 2, "token level 31", ("tokens", "encode", "1", "2", "--level", "31")),
    Row("encode-level-huge", 2, "token level", ("tokens", "encode", "1", "2", "--level", HUGE)),
    Row("encode-group", 2, "does not divide", ("tokens", "encode", "1", "2", "--group-size", "3")),
    Row("encode-group-0", 2, "does not divide", ("tokens", "encode", "1", "2", "--group-size", "0")),
    Row("encode-long", 2, "give LAT LNG", ("tokens", "encode", "\x1b[2J" * 20_000)),
    Row("decode-text", 2, "is no token", ("tokens", "decode", "a")),
    Row(
        "decode-negative",
        2,
        "No such option: -1; see geotoken tokens decode --help",
        ("tokens", "decode", "-1"),
    ),
    Row("decode-nothing", 2, "there are no tokens", ("tokens", "decode", "[]")),
    Row("decode-face-6", 2, "not in 0..5", ("tokens", "decode", "6")),
    Row("decode-token-16", 2, "not in 0..15", ("tokens", "decode", "1", "16")),
    Row("decode-too-many", 2, "give 1 to 11", ("tokens", "decode", *["1"] * 12)),
    Row("decode-huge", 2, "is no token", ("tokens", "decode", "9" * 10_000)),
    Row("decode-unicode-digits", 2, "is no token", ("tokens", "decode", "\u0662")),
    Row("pull-malformed", 2, "give owner/name", ("models", "pull", "../../etc")),
    Row("pull-url", 2, "give owner/name", ("models", "pull", "https://example.org/a/b")),
    Row("pull-ansi", 2, "give owner/name", ("models", "pull", "a/\x1b[2J")),
    Row("pull-long", 2, "give owner/name", ("models", "pull", "a/" + "b" * 5000)),
    Row("push-malformed", 2, "give owner/name", ("models", "push", "{m}", "no id")),
    Row("push-nothing", 3, "has no manifest.json", ("models", "push", "{w}", "owner/name")),
    Row("push-no-message", 2, "--message", ("models", "push", "{m}", "owner/name", "--message", " ")),
    Row("info-malformed", 3, "there is no model", ("models", "info", "a//b")),
    Row("info-offline", 3, "offline", ("models", "info", "--offline", "nobody/nothing")),
    Row("command-unknown", 2, "No such command", ("teleport",)),
]
IN_A_PROCESS = ("path-not-unicode", "flag-top-k=abc", "command-unknown", "model-ansi")


def test_every_row_has_its_own_name_and_there_are_enough():
    names = [row.id for row in ROWS]
    assert len(set(names)) == len(names) >= 50
    assert set(IN_A_PROCESS) <= set(names)


# --- the test -------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_hang():
    """Let a row that waits for something fail."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def fail(number, frame):
        raise TimeoutError(f"still running after {MAX_SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(MAX_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module", autouse=True)
def one_network():
    """Open the network of the encoder once for all rows."""
    patch = pytest.MonkeyPatch()
    patch.setattr(embed, "_session", cache(embed._session))
    yield
    patch.undo()


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Name, node, size and time of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_bad_input_is_one_line_and_leaves_nothing(row, tiny_model, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / GOOD).write_bytes(photo())
    if row.make is not None:
        row.make(work, tiny_model)
    before = snapshot(work)
    arguments = [part.replace("{w}", str(work)).replace("{m}", str(tiny_model)) for part in row.arguments]
    result = CliRunner().invoke(app, arguments)
    after = snapshot(work)
    check(row, result.exit_code, result.stdout, result.stderr, work)
    assert after.keys() - before.keys() <= {name for name in after if name.split("/")[0] in row.leaves}, (
        "something was left behind"
    )
    assert {name: after[name] for name in before if not (work / name).is_dir()} == {
        name: state for name, state in before.items() if not (work / name).is_dir()
    }


@pytest.mark.parametrize("id", IN_A_PROCESS)
def test_bad_input_in_a_process(id, tiny_model, tmp_path):
    row = next(row for row in ROWS if row.id == id)
    (tmp_path / GOOD).write_bytes(photo())
    if row.make is not None:
        row.make(tmp_path, tiny_model)
    arguments = [part.replace("{w}", str(tmp_path)).replace("{m}", str(tiny_model)) for part in row.arguments]
    done = subprocess.run(
        [sys.executable, "-m", "geotoken", *arguments], capture_output=True, timeout=MAX_SECONDS, check=False
    )
    check(row, done.returncode, done.stdout.decode(), done.stderr.decode(), tmp_path)


def check(row: Row, code: int, stdout: str, stderr: str, work: Path) -> None:
    assert "Traceback" not in stdout + stderr
    assert code == row.code, stderr
    assert row.fragment in stderr
    lines = stderr.splitlines()
    assert len(lines) == (row.code != 0), stderr
    for line in lines:
        assert line.startswith("error: ")
        assert line.isprintable()
        assert len(line) <= errors.MAX_LINE + len("error: ")
    assert all(line.isprintable() for line in stdout.splitlines())
    if "--json" in row.arguments and stdout:
        json.loads(stdout)
