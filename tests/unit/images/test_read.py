import hashlib
import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from geotoken.errors import ImageError, InputError
from geotoken.images import read as module
from geotoken.images.formats import ACCEPTED, SUFFIXES
from geotoken.images.read import find_images, quoted, read

try:
    import pillow_heif
except ImportError:
    pillow_heif = None
else:
    pillow_heif.register_heif_opener()  # to write; geotoken itself registers nothing

NEEDS_HEIF = pytest.mark.skipif(pillow_heif is None, reason="the extra heif is not installed")
HEIF = pytest.param("HEIF", marks=NEEDS_HEIF)

# Six blocks of 16 x 16 pixels, no two alike: no mirroring or turning leaves it as it was.
COLORS = [[(255, 0, 0), (0, 255, 0), (0, 0, 255)], [(255, 255, 0), (0, 0, 0), (255, 255, 255)]]
UPRIGHT = np.repeat(np.repeat(np.array(COLORS, dtype=np.uint8), 16, axis=0), 16, axis=1)  # (32, 48, 3)

UPRIGHT_IMAGE = Image.fromarray(UPRIGHT)

FORMATS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "GIF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "HEIF": {"quality": -1, "chroma": 444},
}
ALL_FORMATS = [HEIF if name == "HEIF" else name for name in FORMATS]
TOLERANCE = {"JPEG": 4, "AVIF": 2, "HEIF": 2}
WITH_EXIF = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", HEIF]

# What the file holds for each orientation: which side of the photo its first row and first column are
# (Exif 2.32, section 4.6.4, tag 274).
STORED = {
    1: UPRIGHT,  # top, left
    2: UPRIGHT[:, ::-1],  # top, right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.transpose(1, 0, 2),  # left, top
    6: UPRIGHT[:, ::-1].transpose(1, 0, 2),  # right, top
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: UPRIGHT[::-1].transpose(1, 0, 2),  # left, bottom
}


def encode(image, format, **options):
    """An image or an array as the content of a file."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(np.ascontiguousarray(image))
    buffer = io.BytesIO()
    if format == "HEIF" and isinstance(options.get("exif"), Image.Exif):
        options["exif"] = options["exif"].tobytes()
    image.save(buffer, format, **{**FORMATS[format], **options})
    return buffer.getvalue()


def exif_of(orientation=None, gps=None):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    if gps is not None:
        exif.get_ifd(0x8825).update(gps)
        exif[0x8825] = gps
    return exif


def gps_of(**changes):
    """Tags of the GPS directory for 13 deg 9' 46.8" S, 72 deg 32' 42" W, with some changed or left out."""
    tags = {"lat_ref": "S", "lat": (13.0, 9.0, 46.8), "lng_ref": "W", "lng": (72.0, 32.0, 42.0), **changes}
    numbers = {"lat_ref": 1, "lat": 2, "lng_ref": 3, "lng": 4}
    return {numbers[name]: value for name, value in tags.items() if value is not None}


def with_gps(**changes):
    return read(encode(UPRIGHT, "JPEG", exif=exif_of(gps=gps_of(**changes)))).gps


def error_of(source, **options):
    """The message of the ImageError that reading raises: one line that names the source."""
    with pytest.raises(ImageError) as caught:
        read(source, **options)
    message = str(caught.value)
    assert message.isprintable(), "a message is one line"
    name = f"the {len(source)} bytes given" if isinstance(source, bytes) else quoted(source)
    assert message.startswith(f"cannot read {name}: ")
    return message


def pixels_or_none(content, **options):
    """What is read, or None after a proper ImageError; anything else that is raised fails the test."""
    try:
        photo = read(content, **options)
    except ImageError:
        error_of(content, **options)
        return None
    assert photo.pixels.shape == (photo.height, photo.width, 3)
    return photo.pixels


def write(path, content):
    path.write_bytes(content)
    return path


def assert_same(pixels, expected, tolerance=0):
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected.astype(int)).max() <= tolerance


# --- formats and modes ---


@pytest.mark.parametrize("format", ALL_FORMATS)
def test_every_format(format, tmp_path):
    content = encode(UPRIGHT, format)
    photo = read(write(tmp_path / "photo", content))  # the name plays no part
    assert_same(photo.pixels, UPRIGHT, TOLERANCE.get(format, 0))
    assert (photo.width, photo.height, photo.gps) == (48, 32, None)
    assert photo.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("PNG", {"compress_level": 0}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"big_tiff": True}),
        ("GIF", {"interlace": False}),
    ],
)
def test_kinds_of_a_format(format, options):
    assert_same(read(encode(UPRIGHT, format, **options)).pixels, UPRIGHT, TOLERANCE.get(format, 0))


def test_path_text_and_bytes_give_the_same(tmp_path):
    path = write(tmp_path / "a.png", encode(UPRIGHT, "PNG"))
    photos = [read(path), read(str(path)), read(path.read_bytes())]
    assert len({photo.sha256 for photo in photos}) == 1
    for photo in photos:
        assert_same(photo.pixels, UPRIGHT)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG", "AVIF", HEIF])
def test_first_of_several_frames(format):
    others = [Image.fromarray(np.ascontiguousarray(UPRIGHT[:, ::-1])), Image.new("RGB", (48, 32), "gray")]
    assert_same(
        read(encode(UPRIGHT, format, save_all=True, append_images=others)).pixels,
        UPRIGHT,
        TOLERANCE.get(format, 0),
    )


@pytest.mark.parametrize("format", WITH_EXIF)
@pytest.mark.parametrize("orientation", STORED)
def test_orientation(orientation, format):
    content = encode(STORED[orientation], format, exif=exif_of(orientation))
    photo = read(content)
    assert_same(photo.pixels, UPRIGHT, TOLERANCE.get(format, 0))
    assert (photo.width, photo.height) == (48, 32)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_none(orientation):
    assert_same(read(encode(UPRIGHT, "PNG", exif=exif_of(orientation))).pixels, UPRIGHT)


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format):
    ink = np.zeros((16, 64, 4), dtype=np.uint8)
    ink[:, :16] = (0, 255, 255, 0)
    ink[:, 16:32] = (255, 0, 255, 0)
    ink[:, 32:48] = (0, 0, 0, 255)
    pixels = read(encode(Image.fromarray(ink, "CMYK"), format)).pixels
    expected = np.repeat(np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 0), (255, 255, 255)]], np.uint8), 16, 1)
    assert_same(pixels, np.repeat(expected, 16, 0), TOLERANCE.get(format, 0))


def test_gray_and_black_and_white():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert_same(read(encode(ramp, "PNG")).pixels, np.stack([ramp] * 3, axis=2))
    bits = Image.fromarray(ramp > 99)
    assert bits.mode == "1"
    for format in ("PNG", "TIFF"):
        assert_same(read(encode(bits, format)).pixels, np.stack([(ramp > 99) * 255] * 3, axis=2))


def test_palette():
    image = Image.fromarray(UPRIGHT).convert("P", palette=Image.Palette.ADAPTIVE, colors=6)
    for format in ("PNG", "GIF", "TIFF"):
        assert_same(read(encode(image, format)).pixels, UPRIGHT)


def test_palette_with_transparency_lies_over_white():
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "P")
    image.putpalette([10, 20, 30, 255, 0, 0, 0, 0, 255])
    pixels = read(encode(image, "PNG", transparency=bytes([0, 51, 255]))).pixels  # 51 is 20 %
    assert_same(pixels, np.array([[(255, 255, 255), (255, 204, 204), (0, 0, 255)]]), 1)
    assert_same(
        read(encode(image, "GIF", transparency=1)).pixels,
        np.array([[(10, 20, 30), (255, 255, 255), (0, 0, 255)]]),
    )


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "AVIF", HEIF])
def test_alpha_lies_over_white(format):
    rgba = np.zeros((16, 48, 4), dtype=np.uint8)
    rgba[:, :16], rgba[:, 16:32], rgba[:, 32:] = (200, 0, 0, 255), (200, 0, 0, 51), (200, 0, 0, 0)
    pixels = read(encode(rgba, format, **({"exact": True} if format == "WEBP" else {}))).pixels
    assert_same(pixels[::16, ::16], np.array([[(200, 0, 0), (244, 204, 204), (255, 255, 255)]]), 3)


def test_gray_with_alpha_lies_over_white():
    image = Image.fromarray(np.array([[(100, 255), (100, 51), (100, 0)]], dtype=np.uint8), "LA")
    assert_same(read(encode(image, "PNG")).pixels, np.array([[[100] * 3, [224] * 3, [255] * 3]]), 1)


def test_one_color_of_a_png_as_transparent():
    image = Image.fromarray(UPRIGHT)
    pixels = read(encode(image, "PNG", transparency=(255, 0, 0))).pixels
    expected = UPRIGHT.copy()
    expected[:16, :16] = 255
    assert_same(pixels, expected)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_not_clipped(format):
    values = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    pixels = read(encode(values, format)).pixels
    assert_same(pixels, np.stack([np.rint(values / 257)] * 3, axis=2))
    assert len(np.unique(pixels)) == 256


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_dark_16_bit_gray_stays_dark(format):
    assert read(encode(np.full((4, 4), 255, dtype=np.uint16), format)).pixels.max() == 1


def test_16_bit_gray_of_the_other_byte_order():
    values = np.arange(0, 65536, 257).astype(np.uint16).reshape(16, 16)
    image = Image.frombytes("I;16B", (16, 16), values.astype(">u2").tobytes())
    assert_same(read(encode(image, "TIFF")).pixels, np.stack([values // 257] * 3, axis=2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.2, 1.0], [0, 51, 255]),
        ([0.0, 51.0, 204.0], [0, 51, 204]),
        ([0.0, 257.0, 65535.0], [0, 1, 255]),
        ([-1.0, 0.0, 4.0], [0, 51, 255]),
        ([1000.0, 1020.0, 100_000_000.0], [0, 0, 255]),
        ([0.0, np.nan, 1.0], [0, 0, 255]),
        ([np.inf, -np.inf, 1.0], [0, 0, 255]),
        ([-3e38, 0.0, 3e38], [0, 128, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
    ],
)
def test_float_tiff(values, expected):
    pixels = read(encode(np.array([values], dtype=np.float32), "TIFF")).pixels
    assert_same(pixels, np.array([[[value] * 3 for value in expected]]), 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 7, 255], [0, 7, 255]),
        ([0, 257, 65535], [0, 1, 255]),
        ([-100, 0, 400], [0, 51, 255]),
        ([0, 200_000, 1_000_000], [0, 51, 255]),
    ],
)
def test_32_bit_tiff(values, expected):
    pixels = read(encode(np.array([values], dtype=np.int32), "TIFF")).pixels
    assert_same(pixels, np.array([[[value] * 3 for value in expected]]))


@NEEDS_HEIF
def test_the_primary_image_of_several_is_read():
    others = [Image.fromarray(np.ascontiguousarray(UPRIGHT[:, ::-1])), Image.new("RGB", (16, 16), "gray")]
    content = encode(
        others[0], "HEIF", save_all=True, append_images=[UPRIGHT_IMAGE, others[1]], primary_index=1
    )
    assert_same(read(content).pixels, UPRIGHT, TOLERANCE["HEIF"])


@NEEDS_HEIF
def test_a_thumbnail_inside_heic_is_not_taken_for_the_photo(monkeypatch):
    monkeypatch.setattr(module.Image.Image, "draft", lambda *_: pytest.fail("asked for a thumbnail"))
    large = np.kron(UPRIGHT, np.ones((8, 8, 1), dtype=np.uint8))
    photo = read(encode(large, "HEIF", thumbnails=[64]), min_side=32)
    assert_same(photo.pixels, UPRIGHT, 6)
    assert (photo.width, photo.height) == (384, 256)


@NEEDS_HEIF
def test_10_bit_heic_is_scaled_to_8():
    values = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    heif = pillow_heif.from_bytes(mode="RGB;16", size=(64, 64), data=np.stack([values] * 3, 2).tobytes())
    buffer = io.BytesIO()
    heif.save(buffer, quality=-1, chroma=444)
    assert_same(read(buffer.getvalue()).pixels, np.stack([values >> 8] * 3, axis=2), 2)


def test_what_a_decoder_says_is_escaped(monkeypatch):
    def load(self):
        raise ValueError("item \x00\x1b[31m of type \u202e")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    assert r"\x00\x1b[31m" in error_of(encode(UPRIGHT, "PNG"))


def test_nothing_is_registered_for_the_whole_process():
    code = (
        "import sys, geotoken.images.read; from PIL import Image;"
        "assert 'pillow_heif' not in sys.modules; assert 'HEIF' not in Image.ID"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- limits and damage ---


@pytest.mark.parametrize("format", ALL_FORMATS)
def test_limit_on_pixels(format):
    content = encode(UPRIGHT, format)
    assert read(content, max_pixels=48 * 32).pixels.shape == (32, 48, 3)
    message = error_of(content, max_pixels=48 * 32 - 1)
    assert "48 x 32 pixels" in message
    assert "1,535" in message


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_bomb_is_refused_by_its_header():
    header = struct.pack(">IIBBBBB", 60_000, 50_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"not even compressed")
    assert "60000 x 50000 pixels, more than the limit of 200,000,000" in error_of(png)


def test_bomb_is_refused_before_decoding(monkeypatch):
    content = encode(Image.new("L", (4000, 4000)), "PNG")
    assert len(content) < 20_000
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("decoded"))
    error_of(content, max_pixels=15_999_999)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF"])
def test_limit_of_pillow_plays_no_part(format, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read(encode(UPRIGHT, format)).width == 48


@pytest.mark.parametrize("format", ["WEBP", "TIFF"])
def test_limit_of_pillow_is_not_called_damage(format, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    content = encode(UPRIGHT, format)
    try:
        photo = read(content)  # some versions of Pillow do not check here
    except ImageError:
        message = error_of(content)
        assert "exceeds limit" in message
        assert "damaged" not in message
    else:
        assert photo.width == 48


def test_limit_on_bytes(tmp_path, monkeypatch):
    path = write(tmp_path / "a.png", encode(UPRIGHT, "PNG"))
    monkeypatch.setattr(module, "MAX_FILE_BYTES", path.stat().st_size - 1)
    assert "bytes, more than the limit" in error_of(path)


@pytest.mark.parametrize("options", [{"max_pixels": 0}, {"min_side": 0}, {"min_side": -5}])
def test_options_out_of_range(options):
    with pytest.raises(InputError, match=f"{next(iter(options))} is .*at least 1"):
        read(encode(UPRIGHT, "PNG"), **options)


def noisy(format):
    """A file most of whose bytes matter; small, for it is damaged in many ways."""
    pixels = np.random.default_rng(5).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return encode(pixels, format, exif=exif_of(6, gps_of())) if format != "GIF" else encode(pixels, format)


@pytest.mark.parametrize("format", ALL_FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated(format, share, tmp_path):
    content = noisy(format)
    path = write(tmp_path / f"cut.{format.lower()}", content[: int(len(content) * share)])
    assert "damaged or cut short" in error_of(path)


@pytest.mark.parametrize("format", ALL_FORMATS)
def test_no_cut_gives_half_a_photo(format):
    content = noisy(format)
    whole = read(content).pixels
    num_refused = 0
    for length in range(0, len(content), 7):
        pixels = pixels_or_none(content[:length])
        num_refused += pixels is None
        if pixels is not None:
            assert_same(pixels, whole)
    assert num_refused > 0.9 * len(content) / 7


@pytest.mark.parametrize("format", ALL_FORMATS)
def test_wrong_bytes_raise_nothing_else(format):
    random = np.random.default_rng(6)
    content = np.frombuffer(noisy(format), dtype=np.uint8)
    head = min(400, len(content))
    for size in [head] * 150 + [len(content)] * 50:
        changed = content.copy()
        changed[random.integers(0, size, 3)] = random.integers(0, 256, 3)
        pixels_or_none(changed.tobytes(), max_pixels=100_000)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"Dear diary,\r\n\ttoday we climbed the hill.\n", "it is text"),
        ("Grüße aus Köln".encode(), "it is text"),
        (b"BM\x46\0\0\0", "BMP is not supported, convert it to PNG"),
        (b"%PDF-1.7\n", "it is a PDF document"),
        (bytes(range(256)), "it is not a photo in a known format"),
    ],
)
def test_other_files_with_the_name_of_a_photo(content, reason, tmp_path):
    message = error_of(write(tmp_path / "photo.jpg", content))
    assert reason in message
    assert message.endswith(f"accepted: {ACCEPTED}")
    assert reason in error_of(content)


@pytest.mark.parametrize(
    "head", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"II*\0", b"GIF89a"]
)
def test_only_the_first_bytes_of_a_photo(head):
    assert "damaged or cut short" in error_of(head)


def test_folder(tmp_path):
    assert "it is a folder" in error_of(tmp_path)


def test_missing_file(tmp_path):
    assert "there is no such file" in error_of(tmp_path / "none.jpg")
    assert "there is no such file" in error_of(str(tmp_path / "none" / "none.jpg"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "it is not a regular file" in error_of(tmp_path / "pipe.jpg")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path):
    path = write(tmp_path / "a.png", encode(UPRIGHT, "PNG"))
    path.chmod(0)
    assert "permission denied" in error_of(path)


def test_permission_denied_by_the_system(tmp_path, monkeypatch):
    def deny(self):
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "a.png", encode(UPRIGHT, "PNG"))
    monkeypatch.setattr(type(path), "read_bytes", deny)
    assert "permission denied; make the file readable" in error_of(path)


@pytest.mark.parametrize("name", ["two\nlines.jpg", "bell\a.jpg", "null\0byte.jpg", "x" * 300])
def test_strange_names_stay_on_one_line(name, tmp_path):
    error_of(tmp_path / name)


def test_quoted():
    assert quoted("Straße/Ἀθῆναι 写真.jpg") == "Straße/Ἀθῆναι 写真.jpg"
    assert quoted("a\nb") == r"'a\nb'"
    assert quoted("\udcff.jpg") == r"'\udcff.jpg'"  # a file name that is not UTF-8


# --- position ---


@pytest.mark.parametrize("format", WITH_EXIF)
def test_gps_of_every_format(format):
    photo = read(encode(STORED[6], format, exif=exif_of(6, gps_of())))
    assert photo.gps == pytest.approx((-13.163, -72.545), abs=1e-9)
    assert_same(photo.pixels, UPRIGHT, TOLERANCE.get(format, 0))


@pytest.mark.parametrize(
    ("lat_ref", "lng_ref", "lat_sign", "lng_sign"),
    [("N", "E", 1, 1), ("N", "W", 1, -1), ("S", "E", -1, 1), ("S", "W", -1, -1), ("s", "w", -1, -1)],
)
def test_gps_hemispheres(lat_ref, lng_ref, lat_sign, lng_sign):
    expected = (lat_sign * 13.163, lng_sign * 72.545)
    assert with_gps(lat_ref=lat_ref, lng_ref=lng_ref) == pytest.approx(expected, abs=1e-9)


def test_gps_limits_and_decimal_degrees():
    exact = {"lat_ref": "N", "lng_ref": "E"}
    assert with_gps(**exact, lat=(90.0, 0.0, 0.0), lng=(180.0, 0.0, 0.0)) == (90, 180)
    assert with_gps(**exact, lat=(12.5, 0.0, 0.0), lng=(7.25, 30.0, 0.0)) == (12.5, 7.75)
    assert with_gps(**exact, lat=(0.0, 0.0, 0.0), lng=(7.0, 0.0, 0.0)) == (0, 7)


@pytest.mark.parametrize(
    "changes",
    [
        {"lat": None},
        {"lng": None},
        {"lat_ref": None},
        {"lng_ref": None},
        {"lat_ref": "E"},
        {"lng_ref": "N"},
        {"lat_ref": "X"},
        {"lat_ref": ""},
        {"lat": (90.0, 0.0, 0.1)},
        {"lat": (91.0, 0.0, 0.0)},
        {"lng": (180.0, 1.0, 0.0)},
        {"lng": (4_000_000_000.0, 0.0, 0.0)},
        {"lat": (13.0, 61.0, 0.0)},
        {"lat": (13.0, 0.0, 75.0)},
        {"lat": (13.0, 9.0, 46.8, 1.0)},
        {"lat": (0.0, 0.0, 0.0), "lng": (0.0, 0.0, 0.0)},
    ],
    ids=str,
)
def test_gps_that_makes_no_sense_is_none(changes):
    assert with_gps() is not None
    assert with_gps(**changes) is None


def raw_gps(lat, lng):
    """EXIF bytes written by hand, north and east; `lat` and `lng` are three (numerator, denominator) each."""
    directory = struct.pack(">HHHII", 1, 0x8825, 4, 1, 26) + bytes(4)
    entries = [
        struct.pack(">HHI4s", 1, 2, 2, b"N\0"),
        struct.pack(">HHII", 2, 5, 3, 80),
        struct.pack(">HHI4s", 3, 2, 2, b"E\0"),
        struct.pack(">HHII", 4, 5, 3, 104),
    ]
    values = struct.pack(">12I", *(number for pair in (*lat, *lng) for number in pair))
    gps = struct.pack(">H", len(entries)) + b"".join(entries) + bytes(4)
    return b"Exif\0\0MM\0*\0\0\0\x08" + directory + gps + values


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("bad", [(0, 0), (1, 0), (46, 0)])
def test_gps_with_a_zero_denominator_is_none(bad, place):
    good = [(48, 1), (51, 1), (2952, 100), (2, 1), (17, 1), (402, 10)]
    photo = read(encode(UPRIGHT, "JPEG", exif=raw_gps(good[:3], good[3:])))
    assert photo.gps == pytest.approx((48.8582, 2.2945), abs=1e-9)
    good[place] = bad
    photo = read(encode(UPRIGHT, "JPEG", exif=raw_gps(good[:3], good[3:])))
    assert photo.gps is None
    assert_same(photo.pixels, UPRIGHT, TOLERANCE["JPEG"])


def test_damaged_metadata_do_not_stop_the_photo():
    for exif in (
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xab" * 50,
    ):
        photo = read(encode(UPRIGHT, "JPEG", exif=exif))
        assert photo.gps is None
        assert_same(photo.pixels, UPRIGHT, TOLERANCE["JPEG"])


# --- warnings ---


def dubious_tiff():
    """A TIFF of which Pillow warns: a tag says it has one value and has two."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[282] = (72.0,)
    content = bytearray(encode(UPRIGHT, "TIFF", tiffinfo=tags))
    at = content.index(struct.pack("<HHI", 282, 5, 1))
    content[at : at + 8] = struct.pack("<HHI", 282, 5, 2)
    return bytes(content)


def test_warnings_of_pillow_are_hidden_and_filters_restored():
    content = dubious_tiff()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        assert shown, "this file no longer makes Pillow warn"
        shown.clear()
        before = list(warnings.filters)
        threads = [threading.Thread(target=read, args=(content,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert shown == []
        assert warnings.filters == before
        with pytest.raises(ImageError):
            read(content[:200])
        assert warnings.filters == before


# --- min_side ---


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(640, 480), (481, 1003), (257, 255), (900, 64), (16, 16)], ids=str)
@pytest.mark.parametrize("min_side", [1, 32, 63, 100, 128, 256])
def test_min_side_is_never_undercut(min_side, size, format):
    photo = read(encode(Image.new("RGB", size, (200, 100, 50)), format), min_side=min_side)
    height, width = photo.pixels.shape[:2]
    assert (photo.width, photo.height) == size
    if min(size) < min_side:
        assert (width, height) == size
    else:
        assert min_side <= min(width, height) < 2 * min_side
    assert abs(width / size[0] - height / size[1]) <= 1 / min(size)
    assert_same(photo.pixels, np.full((height, width, 3), (200, 100, 50)), 3)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format", WITH_EXIF)
def test_min_side_keeps_the_photo_upright(format, orientation):
    large = np.kron(STORED[orientation], np.ones((8, 8, 1), dtype=np.uint8))
    photo = read(encode(large, format, exif=exif_of(orientation)), min_side=32)
    assert_same(photo.pixels, UPRIGHT, 6 if format in TOLERANCE else 0)
    assert (photo.width, photo.height) == (384, 256)


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(ImageError, match=r"^an empty path; give photo files or folders$"):
        read("")
    with pytest.raises(InputError, match=r"^an empty path; give photo files or folders$"):
        find_images(["", "."])


# --- find_images ---


@pytest.fixture
def tree(tmp_path):
    names = [
        "b.JPG", "a.png", "notes.txt", "photo", "sub/c.webp", "sub/deep/d.tiff", "sub/e.jpeg", "a/z.gif",
        ".hidden.jpg", ".cache/f.jpg", "sub/.thumbs/g.jpg", "empty/readme.md",
    ]  # fmt: skip
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_folders_are_searched_and_sorted(tree):
    expected = ["a.png", "a/z.gif", "b.JPG", "sub/c.webp", "sub/deep/d.tiff", "sub/e.jpeg"]
    found = find_images([tree])
    assert sorted(path.relative_to(tree).as_posix() for path in found) == expected
    assert found == sorted(found)
    assert find_images([str(tree)]) == found


def test_every_suffix_counts_in_any_case(tmp_path):
    for suffix in SUFFIXES:
        (tmp_path / f"low{suffix}").touch()
        (tmp_path / f"up{suffix.upper()}").touch()
    (tmp_path / "jpg").touch()
    (tmp_path / "a.jpg.bak").touch()
    assert len(find_images([tmp_path])) == 2 * len(SUFFIXES)


def test_explicit_files_are_kept_in_order(tree):
    given = [tree / "photo", tree / "notes.txt", tree / ".hidden.jpg", tree / "a.png"]
    assert find_images(given) == given
    assert find_images([tree / "sub" / ".thumbs"]) == [tree / "sub" / ".thumbs" / "g.jpg"]
    assert find_images([]) == []


def test_each_file_once(tree):
    found = find_images([tree / "sub" / "e.jpeg", tree, tree / "sub", tree / "a.png"])
    assert found[0] == tree / "sub" / "e.jpeg"
    assert len(found) == len(set(found)) == 6


def test_links(tree):
    (tree / "loop").symlink_to(tree, target_is_directory=True)
    (tree / "linked.jpg").symlink_to(tree / "b.JPG")
    (tree / "dangling.jpg").symlink_to(tree / "nowhere.jpg")
    found = find_images([tree])
    assert {tree / "linked.jpg", tree / "dangling.jpg"} < set(found)
    assert len(found) == 8
    assert find_images([tree / "dangling.jpg"]) == [tree / "dangling.jpg"]
    assert "there is no such file" in error_of(tree / "dangling.jpg")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("none.jpg", "does not exist"), ("empty", "holds no photo"), ("no\nne", "does not exist")],
)
def test_nothing_to_find(name, reason, tree):
    with pytest.raises(InputError, match=reason) as caught:
        find_images([tree / "a.png", tree / name])
    assert quoted(tree / name) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_folder_that_cannot_be_listed(tree):
    (tree / "sub").chmod(0)
    try:
        with pytest.raises(InputError, match="cannot be listed") as caught:
            find_images([tree])
    finally:
        (tree / "sub").chmod(0o755)
    assert str(tree / "sub") in str(caught.value)
