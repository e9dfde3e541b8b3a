"""Bad input of `geotoken locate`: photos, paths, flags, regions, outputs and models."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL.TiffImagePlugin import IFDRational

from hostile.inputs import (
    Bomb,
    Row,
    array,
    changed,
    computed,
    edited,
    fifo,
    fifo_as_manifest,
    file,
    folder,
    geojson,
    half,
    heic,
    jpeg_of_size,
    link,
    link_out,
    listing,
    named,
    network,
    npy,
    patched,
    photo,
    pickled_array,
    png_of_size,
    prior,
    two_names,
    with_exif,
    zip_of,
)

OVER_ZERO = (IFDRational(0, 0), IFDRational(1, 0), IFDRational(1, 0))
SQUARE = ([0, 0], [1, 0], [1, 1], [0, 0])
HUGE = "9" * 30
GEOJSON_ROW = '{"type": "FeatureCollection", "features": [\n{"geometry": {"coordinates": 5}}\n]}\n'
KML_BOMB = (
    '<!DOCTYPE kml [<!ENTITY a0 "aaaaaaaaaaaaaaaa">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 16}">' for i in range(1, 9))
    + ']><kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>&a8;</name></Document></kml>'
)
NO_ARRAY = "{'descr': '<u8', 'fortran_order': False, 'shape': (1000000000000,), }"
LOCATE = ("locate", "--model", "{m}")
SAMPLE = (*LOCATE, "{w}/good.jpg", "--decoder", "sample", "--json")


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


def bad_output(id: str, name: str, fragment: str, make: Callable[[Path, Path], None] | None = None) -> Row:
    return Row(f"out-{id}", 2, fragment, (*LOCATE, "{w}/good.jpg", "--out", "{w}/" + name), make)


def bad_resume(id: str, name: str, content: bytes | str, fragment: str) -> Row:
    arguments = (*LOCATE, "{w}/good.jpg", "--resume", "--out", "{w}/" + name.removesuffix(".partial.jsonl"))
    return Row(f"resume-{id}", 2, fragment, arguments, file(name, content))


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
]
