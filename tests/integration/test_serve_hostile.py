"""Hostile requests to a true server: each gets a 4xx in the one shape, in time, and the server lives.

One table; a row is what is sent, byte by byte, and the code of the error.
"""

import base64
import gzip
import io
import json
import pickle
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from geotoken.serve.errors import STATUSES
from serve_cases import BOUNDARY, ask, form, post, post_json, post_photo, request, serving

UPLOAD_TIMEOUT_S = 2.0
MAX_SECONDS = 15
"""No row may hang: the server gives a request 10 s."""


def photo(kind: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> bytes:
    noise = np.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, kind)
    return buffer.getvalue()


GOOD = photo()


def rows():
    yield from photos()
    yield from truncated()
    yield from forms()
    yield from bodies()
    yield from options()
    yield from regions()
    yield from heads()
    yield from addresses()


# --- files that are no photos ----------------------------------------------------------------------------


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of a header and whatever chunks."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (header, *chunks, (b"IEND", b""))
    )


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.jpg", content)
    return buffer.getvalue()


def photos():
    zeros = zlib.compress(bytes(20_000_000), 9)
    jpeg_size = GOOD.index(b"\xff\xc0") + 5
    huge_jpeg = GOOD[:jpeg_size] + b"\xff\xff\xff\xff" + GOOD[jpeg_size + 4 :]
    gif = photo("GIF", "P")
    tiff = struct.pack("<2sHIH", b"II", 42, 8, 2)
    tiff += struct.pack("<HHII", 256, 4, 1, 200_000) + struct.pack("<HHII", 257, 4, 1, 200_000) + bytes(4)
    contents = {
        "0 bytes": b"",
        "1 byte": b"\xff",
        "a bomb of pixels, PNG": png(100_000, 100_000, (b"IDAT", zeros)),
        "a bomb of pixels, JPEG": huge_jpeg,
        "a bomb of pixels, GIF": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "a bomb of pixels, TIFF": tiff,
        "a bomb of 1 x 2^31 pixels": png(1, 2**31 - 1, (b"IDAT", zeros)),
        "a bomb of 2^31 x 1 pixels": png(2**31 - 1, 1, (b"IDAT", zeros)),
        "0 x 0 pixels": png(0, 0, (b"IDAT", zlib.compress(b""))),
        "a bomb of text": png(9, 9, (b"zTXt", b"a\0\0" + zeros), (b"IDAT", b"")),
        "a bomb of a profile": png(9, 9, (b"iCCP", b"a\0\0" + zeros), (b"IDAT", b"")),
        "a PNG without pixels": png(9, 9),
        "a PNG of wrong pixels": png(9, 9, (b"IDAT", zlib.compress(b"\7" * 900))),
        "a PNG of a chunk too long": png(9, 9)[:40] + b"\xff" * 40,
        "a photo in gzip": gzip.compress(GOOD),
        "a photo in a zip": zipped(GOOD),
        "a photo in base64": base64.b64encode(GOOD),
        "a photo after a byte": b"\0" + GOOD,
        "the start of a JPEG, then a page": b"\xff\xd8\xff\xe0<html><script>alert(1)</script></html>",
        "the start of a GIF, then a script": b"GIF89a=1;alert(1)//",
        "the start of a PNG, then PHP": b"\x89PNG\r\n\x1a\n<?php system($_GET[0]); ?>",
        "the start of a TIFF, then noise": b"II*\0" + b"\x07" * 400,
        "a TIFF whose list leads to itself": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
        "a TIFF whose list lies outside": b"II*\0" + struct.pack("<I", 2**31),
        "the start of a WebP": b"RIFF\x10\0\0\0WEBPVP8 ",
        "a WebP of 2^24 pixels a side": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6,
        "the start of an AVIF": b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf",
        "the start of a HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "a HEIC of boxes in themselves": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x08meta" * 50,
        "MP4": b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + bytes(99),
        "WebM": b"\x1a\x45\xdf\xa3" + bytes(99),
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "SVG that reads a file": b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        "a bomb of XML": b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>',
        "HTML": b"<!doctype html><title>x</title>",
        "PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        "BMP": photo("BMP"),
        "PPM": photo("PPM"),
        "ICO": photo("ICO"),
        "TGA": photo("TGA"),
        "PSD": b"8BPS\0\1" + bytes(99),
        "an ImageMagick script": b"push graphic-context\nfill 'url(https://example.org/\"|id\")'\n",
        "ELF": b"\x7fELF\2\1\1" + bytes(99),
        "a DOS program": b"MZ" + bytes(99),
        "a pickle": pickle.dumps({"a": 1}),
        "an array": b"\x93NUMPY\1\0v\0{'descr': '|O'}",
        "text": b"hello",
        "text of null bytes": bytes(1000),
        "text in UTF-16": "hello".encode("utf-16"),
        "a path": b"/etc/passwd",
        "a URL": b"file:///etc/passwd",
        "noise": np.random.default_rng(1).bytes(5000),
    }
    for name, content in contents.items():
        yield f"photo: {name}", post_photo(content), "photo_unreadable"
    yield (
        "photo: one that is too large",
        post_photo(GOOD + bytes(2_100_000)),
        "too_large",
    )


def truncated():
    noise = np.random.default_rng(7).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF"):
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, kind)
        content = buffer.getvalue()
        for share in range(1, 8):
            cut = content[: len(content) * share // 9]
            yield f"truncated: {kind} after {share} ninths", post_photo(cut), "photo_unreadable"


# --- bodies ----------------------------------------------------------------------------------------------


def forms():
    whole = form(("photos", GOOD, "a.jpg"))
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photos"; filename="a"\r\n'.encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    yield "form: 10,000 photos", post(form(*[("photos", b"x", "a.jpg")] * 10_000)), "too_large"
    yield "form: 10,000 fields", post(form(*[("guess", b"1,2", None)] * 10_000)), "too_large"
    yield "form: 33 photos", post(form(*[("photos", GOOD, "a.jpg")] * 33)), "too_large"
    yield "form: a long field", post(form(("within", b"x" * 1_100_000, None))), "too_large"
    yield "form: a body too large", post(form(*[("photos", bytes(1_900_000), "a")] * 3)), "too_large"
    bad = {
        "nothing": b"",
        "no photo": form(("top_k", b"3", None)),
        "no parts": tail[2:],
        "no last boundary": whole[: -len(tail)] + b"\r\n",
        "cut in the photo": whole[:300],
        "cut in a header": whole[:60],
        "another boundary": whole.replace(BOUNDARY.encode(), b"another-boundary-altogether"),
        "no boundary at all": GOOD,
        "lines of LF only": whole.replace(b"\r\n", b"\n"),
        "a part without a name": whole.replace(b' name="photos";', b""),
        "a part without headers": f"--{BOUNDARY}\r\n\r\nx".encode() + tail,
        "a header without a colon": head + b"nonsense\r\n\r\n" + GOOD + tail,
        "a header of a strange name": head + b"a b: c\r\n\r\n" + GOOD + tail,
        "a header of 1 MB": head + b"x: " + b"y" * 1_000_000 + b"\r\n\r\n" + GOOD + tail,
        "10,000 headers in a part": head + b"x: y\r\n" * 10_000 + b"\r\n" + GOOD + tail,
        "a file of another name": form(("file", GOOD, "a.jpg")),
        "a file in a field": form(("photos", GOOD, "a.jpg"), ("top_k", b"3", "b.txt")),
        "a form in a form": form(("files", whole, "form")),
    }
    for name, body in bad.items():
        yield f"form: {name}", post(body), "bad_request"
    for name in (
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\\\a.jpg",
        "a\0b",
        "a" * 3000,
        "%00",
        "\u202egpj.exe",
    ):
        yield f"form: a photo called {name[:20]!a}", post(form(("photos", b"text", name))), "photo_unreadable"
    kinds = {
        "": "unsupported_media_type",
        "text/plain": "unsupported_media_type",
        "image/jpeg": "unsupported_media_type",
        "application/octet-stream": "unsupported_media_type",
        "application/x-www-form-urlencoded": "unsupported_media_type",
        "application/xml": "unsupported_media_type",
        "multipart/mixed; boundary=x": "unsupported_media_type",
        "multipart": "unsupported_media_type",
        "application/json; charset=utf-16": "invalid_option",
        "multipart/form-data": "bad_request",
        "multipart/form-data; boundary=": "bad_request",
        f"multipart/form-data; boundary={'x' * 5000}": "bad_request",
        f"multipart/form-data; boundary=--{BOUNDARY}": "bad_request",
    }
    for kind, code in kinds.items():
        yield f"form: sent as {kind[:40]!r}", request("POST", "/v1/locate", whole, content_type=kind), code
    for encoding in ("gzip", "br", "x" * 99):
        encoded = post(gzip.compress(whole), **{"Content-Encoding": encoding})
        yield f"form: encoded as {encoding[:9]}", encoded, "unsupported_media_type"


def bodies():
    data = base64.b64encode(GOOD).decode()
    good = {"photos": [{"name": "a", "data": data}]}
    bad = {
        "nothing": b"",
        "no JSON": b"{",
        "two values": b"{}{}",
        "a number": b"7",
        "a list": b"[]",
        "null": b"null",
        "no photos": {},
        "photos null": {"photos": None},
        "no photo": {"photos": []},
        "a photo that is text": {"photos": [data]},
        "a photo without data": {"photos": [{"name": "a"}]},
        "a photo of a number": {"photos": [{"name": "a", "data": 7}]},
        "a photo at a path": {"photos": [{"name": "a", "path": "/etc/passwd"}]},
        "a photo at a URL": {"photos": [{"name": "a", "url": "http://localhost/"}]},
        "another key": {**good, "model": "../../mini"},
        "options that are text": {**good, "options": "{}"},
        "options that are a list": {**good, "options": []},
        "a width in quotes": {**good, "options": {"beam_width": "5"}},
        "a width of 1.5": {**good, "options": {"beam_width": 1.5}},
        "a width of 10^400": json.dumps(good).encode()[:-1]
        + b', "options": {"beam_width": 1'
        + b"0" * 400
        + b"}}",
        "a temperature of NaN": {**good, "options": {"temperature": float("nan")}},
        "a guess of numbers": {**good, "options": {"guess": [1, 2]}},
        "a region of a number": {**good, "options": {"within": [7]}},
        "bytes that are no UTF-8": b'{"photos": "\xff\xfe"}',
        "depth": b'{"photos": ' + b"[" * 200_000,
        "depth in options": json.dumps(good).encode()[:-1] + b', "options": ' + b'{"a":' * 100_000,
    }
    for name, value in bad.items():
        yield f"JSON: {name}", post_json(value), "invalid_option"
    yield "JSON: no base64", post_json({"photos": [{"data": "*" * 99}]}), "bad_request"
    yield "JSON: base64 cut short", post_json({"photos": [{"data": data[:-3]}]}), "bad_request"
    yield "JSON: options in the query too", post_json(good, "/v1/locate?top_k=3"), "bad_request"
    yield "JSON: base64 of text", post_json({"photos": [{"data": "aGVsbG8="}]}), "photo_unreadable"
    yield "JSON: an empty photo", post_json({"photos": [{"data": ""}]}), "photo_unreadable"
    yield "JSON: too many photos", post_json({"photos": [{"data": ""}] * 10_000}), "too_large"
    yield (
        "JSON: a long region",
        post_json(
            {**good, "options": {"within": [{"type": "Polygon", "coordinates": [[[0, 0]] * 150_000]}]}}
        ),
        "too_large",
    )


# --- options ---------------------------------------------------------------------------------------------


def options():
    bad = {
        "decoder": ("", "magic", "BEAM", "../beam"),
        "beam_width": ("", "0", "-1", "101", "1e9", "abc", "9" * 5000),
        "samples": ("0", "1001", "1.5"),
        "temperature": ("0", "-1", "nan", "inf", "1e-300"),
        "sample_top_k": ("0", "-5"),
        "sample_top_p": ("0", "1.1", "nan"),
        "seed": ("-1", "1e99", str(2**63)),
        "max_expansions": ("0", "200001", "99999999999"),
        "select": ("", "best", "similarity", "reward"),
        "top_k": ("0", "101"),
        "guess": ("", "1", "1,2,3,4", "a,b", "95,0", "nan,1", "1,2,0", "1,2,-1", "1;2"),
        "together": ("", "maybe"),
        "posterior": ("7",),
        "model": ("other",),
        "options": ("", "[]", "{", '{"a": 1}', '{"top_k": 0}', "7", "[" * 100_000),
    }
    for name, values in bad.items():
        for value in values:
            body = form(("photos", GOOD, "a.jpg"), (name, value.encode(), None))
            yield f"option: {name}={value[:20]} of {len(value)}", post(body), "invalid_option"
    twice = form(("photos", GOOD, "a.jpg"), ("top_k", b"1", None), ("top_k", b"2", None))
    yield "option: one given twice", post(twice), "invalid_option"
    both = form(("photos", GOOD, "a.jpg"), ("top_k", b"1", None))
    yield "option: one in query and form", post(both, "/v1/locate?top_k=2"), "invalid_option"
    yield "option: an unknown one in the query", post_photo(GOOD, "/v1/locate?admin=1"), "invalid_option"
    many = form(("photos", GOOD, "a.jpg"), *[("guess", b"1,2", None)] * 101)
    yield "option: 101 guesses", post(many), "invalid_option"


def regions():
    square = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]
    bad = [
        "", "x", "/etc/passwd", "/etc/passwd.json", "../../etc/x.geojson", "file:///etc/x.json",
        "http://localhost/x.geojson", "C:\\x.json", "a\0.json", "country=XX", "country=", "country=a.json",
        "bbox=1,2,3", "bbox=0,10,10,0", "bbox=nan,0,1,1", "bbox=a,b,c,d.json", "near=0,0,0", "near=0,0,-1",
        "near=99,0,1", "near=0,0,inf", "{", "{}", '{"type": "Point", "coordinates": [0, 0]}',
        json.dumps({"type": "Polygon", "coordinates": []}),
        json.dumps({"type": "Polygon", "coordinates": [square[:3]]}),
        json.dumps({"type": "Polygon", "coordinates": [[[0, 99], *square]]}),
        json.dumps({"type": "Polygon", "coordinates": "x" * 999}),
        json.dumps({"type": "Polygon", "coordinates": [[["a", "b"]] * 4]}),
        json.dumps({"type": "Polygon", "coordinates": [[[0, 0]] * 5]}),
        json.dumps({"type": "Feature", "geometry": None}),
        json.dumps({"type": "FeatureCollection", "features": 7}),
        '{"type": "Polygon", "coordinates": ' + "[" * 100_000,
        '{"type": "Polygon", "coordinates": [[[NaN, 0], [9, 0], [9, 9], [NaN, 0]]]}',
    ]  # fmt: skip
    for text in bad:
        body = form(("photos", GOOD, "a.jpg"), ("within", text.encode(), None))
        yield f"region: {text[:40]!a} of {len(text)}", post(body), "invalid_option"
    for depth in (60, 250, 400):  # more than pickle bears
        deep = '{"type":"GeometryCollection","geometries":[' * depth + "]}" * depth
        body = form(("photos", GOOD, "a.jpg"), ("within", deep.encode(), None))
        yield f"region: {depth} deep", post(body), "invalid_option"
    several = form(("photos", GOOD, "a.jpg"), *[("within", b"country=PE", None)] * 21)
    yield "region: 21 of them", post(several), "invalid_option"


# --- HTTP ------------------------------------------------------------------------------------------------


def heads():
    good = post_photo(GOOD)
    line, _, rest = good.partition(b"\r\n")
    slow = request("POST", "/v1/locate", content_type="application/json")

    def promise(length: object) -> bytes:
        return slow.replace(b"Content-Length: 0", f"Content-Length: {length}".encode())

    def with_header(header: bytes) -> bytes:
        return line + b"\r\n" + header + b"\r\n" + rest

    chunked = slow.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    yield "head: 20 kB", with_header(b"x: " + b"y" * 20_000), "headers_too_large"
    yield "head: 1 MB", with_header(b"x: " + b"y" * 1_000_000), "headers_too_large"
    yield "head: 10,000 headers", with_header(b"x: y\r\n" * 9_999 + b"x: y"), "headers_too_large"
    yield "head: an address of 20 kB", request("GET", "/" + "a" * 20_000), "headers_too_large"
    yield "head: a query of 20 kB", request("GET", "/healthz?" + "a" * 20_000), "headers_too_large"
    yield "head: an address of 1 MB", request("GET", "/" + "a" * 1_000_000), "headers_too_large"
    bad = {
        "a header without a colon": with_header(b"nonsense"),
        "a header of a space": with_header(b"a b: c"),
        "a header of a null byte": with_header(b"a: \0"),
        "a negative length": promise(-1),
        "a length of letters": promise("abc"),
        "a length with a sign": promise("+5"),
        "a length beyond all": promise("9" * 30),
        "two lengths": slow.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"),
        "a chunk of no size": chunked + b"zz\r\nabc\r\n0\r\n\r\n",
        "a chunk longer than its size": chunked + b"1\r\nabc\r\n0\r\n\r\n",
        "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
        "two hosts": b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "no version": b"GET /healthz\r\nHost: a\r\n\r\n",
        "version 9": b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n",
        "noise": np.random.default_rng(2).bytes(500) + b"\r\n\r\n",
        "a space before a header": with_header(b" x: y"),
        "a method of signs": b"<> / HTTP/1.1\r\nHost: a\r\n\r\n",
    }
    for name, raw in bad.items():
        yield f"head: {name}", raw, "bad_request"
    yield "slow: one letter of a head", b"G", "request_timeout"
    yield "slow: half a head", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ", "request_timeout"
    yield "slow: no body", promise(1000), "request_timeout"
    yield "slow: half a form", good[:-200], "request_timeout"
    yield "slow: a body of 10^15 bytes", promise(10**15) + b"{", "request_timeout"
    yield "slow: a chunk that does not come", chunked + b"5\r\nab", "request_timeout"
    yield "slow: a body for a page", request("GET", "/healthz", b"x", headers={"Content-Length": "9"}), None


def addresses():
    for path in (
        "/nothing", "/v1", "/v1/", "/v1/locate/", "/v2/locate", "/docs", "/redoc", "/static/",
        "/static/nothing.js",
        "/static/../index.html", "/static/%2e%2e/app.py", "/static/..%2f..%2fapp.py", "/static//etc/passwd",
        "/../../etc/passwd", "/static/%00", "/.git/config", "//v1/models", "/static/index.html%00.js",
    ):  # fmt: skip
        yield f"address: {path}", request("GET", path), "not_found"
    for method in ("GET", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD", "BREW"):
        yield f"method: {method}", request(method, "/v1/locate"), "method_not_allowed"
    for path in ("/", "/healthz", "/readyz", "/v1/models", "/openapi.json", "/static/a.js"):
        yield f"method: POST {path}", request("POST", path), "method_not_allowed"


ROWS = list(rows())


@pytest.fixture(scope="module")
def server(tiny_model):
    flags = ["--workers", "1", "--max-waiting", "50", "--max-photo-mb", "2", "--max-request-mb", "4"]
    timeouts = ["--upload-timeout", str(UPLOAD_TIMEOUT_S), "--request-timeout", "10", "--photo-timeout", "8"]
    with serving(tiny_model, *flags, *timeouts) as (port, process):
        yield port, process


def test_there_are_enough_rows():
    assert len(ROWS) >= 200
    assert len({name for name, *_ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("raw", "code"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_it_is_refused_in_one_shape_and_in_time(server, raw, code):
    port, process = server
    start = time.monotonic()
    reply = ask(port, raw, timeout_s=MAX_SECONDS)
    assert time.monotonic() - start < MAX_SECONDS
    assert process.poll() is None
    if code is None:
        assert reply.status == 200
        return
    assert reply.headers["content-type"] == "application/json"
    if raw.startswith(b"HEAD "):
        assert reply.status == STATUSES[code]
        return
    error = reply.json()["error"]
    assert error["code"] == code, error
    assert reply.status == STATUSES[code]
    assert reply.json().keys() == {"error"}
    assert {"code", "message"} <= error.keys() <= {"code", "message", "request_id"}
    assert error["message"].isprintable()
    assert len(error["message"]) <= 400
    assert "Traceback" not in error["message"]


def test_the_server_lives_and_has_said_nothing_of_it_all(server, examples):
    port, process = server
    content = (examples / "himeji-castle.jpg").read_bytes()
    reply = ask(port, post_photo(content))
    assert reply.json()["results"][0]["place"]["country_code"] == "JP"
    process.terminate()
    said, complained = process.communicate(timeout=30)
    assert (process.returncode, said, complained) == (0, "", "")
