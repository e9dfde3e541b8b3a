"""Bad input of all other commands: galleries, their sources, models on the hub."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hostile.inputs import Row, changed, edited, fifo, file, half, index, patched, photos, table, unfinished
from hostile.locating import HUGE, LOCATE

XML_BOMB = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>'
BUILD = ("gallery", "build", "--model", "{m}", "--out", "{w}/out")
BUILD_FOLDER = ("gallery", "build", "--model", "{m}", "--out", "{w}-out")


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


ROWS = [
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
