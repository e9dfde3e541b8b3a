import builtins
import sys

import pytest

from geotoken.errors import ImageError
from geotoken.images import formats
from geotoken.images.formats import ACCEPTED, SUFFIXES, decoder

VIDEO = "it is a video, and only photos are located; export a frame of it as JPEG"


def file_type(*brands):
    """The first box of an ISO base media file: major brand, minor version, compatible brands."""
    body = b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])
    return (len(body) + 4).to_bytes(4) + body + b"\0\0\0\x08free"


@pytest.mark.parametrize(
    ("content", "plugin"),
    [
        (b"\xff\xd8\xff\xe0", "JpegImageFile"),
        (b"\x89PNG\r\n\x1a\n", "PngImageFile"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebPImageFile"),
        (b"II*\0", "TiffImageFile"),
        (b"MM\0+", "TiffImageFile"),
        (b"GIF89a", "GifImageFile"),
        (file_type(b"avif", b"mif1", b"miaf"), "AvifImageFile"),
        (file_type(b"avis", b"avif"), "AvifImageFile"),
        (file_type(b"mif1", b"avif", b"miaf"), "AvifImageFile"),
    ],
)
def test_the_first_bytes_choose_the_decoder(content, plugin):
    assert decoder(content, "x").__name__ == plugin


@pytest.mark.parametrize(
    "brands",
    [
        (b"heic", b"mif1"),
        (b"heix", b"mif1", b"avif"),
        (b"mif1", b"heic"),
        (b"mif1", b"heic", b"avif"),
        (b"msf1", b"hevc"),
        (b"mif2",),
    ],
)
def test_heic_needs_the_extra(brands, monkeypatch):
    content = file_type(*brands)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    with pytest.raises(
        ImageError, match=r"^cannot read x: it is HEIC, .*pip install 'geotoken\[heif\]'"
    ) as caught:
        decoder(content, "x")
    assert str(caught.value).isprintable()
    monkeypatch.undo()
    pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    assert decoder(content, "x").__name__ == "HeifImageFile"


def test_no_other_format_asks_for_the_extra(monkeypatch):
    true_import = builtins.__import__

    def watch(name, *arguments):
        assert not name.startswith("pillow_heif")
        return true_import(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", watch)
    decoder(file_type(b"avif"), "x")
    decoder(b"\xff\xd8\xff", "x")


def test_a_build_of_pillow_without_avif_says_so(monkeypatch):
    monkeypatch.setattr(formats, "HAS_AVIF", False)
    with pytest.raises(ImageError, match=r"^cannot read x: it is AVIF, which this build of Pillow lacks; "):
        decoder(file_type(b"avif"), "x")


@pytest.mark.parametrize(
    "content",
    [
        file_type(b"isom", b"iso2", b"mp41"),
        file_type(b"qt  "),
        file_type(b"mp42", b"heic", b"mif1"),
        b"\0\0\0\x08wide\0\0\0\0mdat",
        b"\0\0\x10\0moov",
        b"RIFF\0\0\0\0AVI LIST",
        b"\x1a\x45\xdf\xa3\x01\0\0\0webm",
        b"FLV\1\5",
        b"\0\0\1\xba\x44",
        bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    ],
)
def test_videos_are_out_of_scope(content):
    with pytest.raises(ImageError) as caught:
        decoder(content, "x.mov")
    assert str(caught.value) == f"cannot read x.mov: {VIDEO}; accepted: {ACCEPTED}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (file_type(b"crx ", b"isom"), r"it is a raw photo \(CR3\), convert it to JPEG"),
        (b"BM\x46\0\0\0", "BMP is not supported, convert it to PNG"),
        (b"%PDF-1.7\n", "it is a PDF document"),
        (b"<svg>", "it is text, not a photo"),
        (b"\0\0\0\x06ftyp", "it is a video"),
        (bytes(range(256)), "it is not a photo in a known format"),
    ],
)
def test_other_files_are_named(content, reason):
    with pytest.raises(ImageError, match=f"^cannot read x: {reason}"):
        decoder(content, "x")


def test_no_ending_of_a_video_makes_a_photo():
    assert not SUFFIXES & {".mov", ".mp4", ".m4v", ".avi", ".mkv", ".webm", ".3gp", ".heics", ".avifs"}
