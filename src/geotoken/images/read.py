"""Photo files to upright RGB pixels, with the position their EXIF claims and a hash of the file.

Owns orientation, limits and error messages of reading; must not know what the pixels are used for.
"""

import hashlib
import io
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from geotoken.errors import ImageError, InputError, reason_of
from geotoken.images.formats import ACCEPTED, SUFFIXES, decoder

EMPTY_PATH = "an empty path; give photo files or folders"
"""What is said of the path "", which `pathlib` would take for the current folder."""

MAX_PIXELS = 200_000_000
"""Default limit on width times height: the largest phone sensors have 200 megapixels."""

MAX_FILE_BYTES = 1 << 30
"""Limit on the size of a file: 1 GiB, more than 200 megapixels of 32-bit samples need."""

_ORIENTATION_TAG, _GPS_IFD = 0x0112, 0x8825  # Exif 2.32, tables 4 and 3
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises on damaged files, found by cutting and flipping bytes of every format.
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A photo in memory."""

    pixels: NDArray[np.uint8]
    """Upright RGB, shape (H, W, 3), uint8; smaller than the original when `min_side` allowed it."""
    gps: tuple[float, float] | None
    """(lat, lng) in degrees that the file's EXIF claims, or None; never evidence, only a remark."""
    sha256: str
    """Hash of the file's bytes, 64 hexadecimal digits."""
    width: int
    """Width of the upright photo in the file, in pixels."""
    height: int
    """Height of the upright photo in the file, in pixels."""


def read(source: str | Path | bytes, *, max_pixels: int = MAX_PIXELS, min_side: int | None = None) -> Photo:
    """Read a photo as upright 8-bit RGB.

    The first frame or page is taken, of HEIC the primary image. The orientation that the file states is
    applied. Transparent parts are laid over white. 16-bit grey is divided by 257; 32-bit and float samples
    are scaled from the range they use; HEIC and AVIF of 10 or 12 bits lose the lowest. Colour profiles are
    ignored.

    Args:
        source: Path of a file, or its content.
        max_pixels: Largest width times height accepted, checked in the header before anything is decoded.
        min_side: The shorter side, in pixels, that the caller needs: a larger photo is decoded or averaged
            down by a whole factor to no less than this. None keeps every pixel.

    Returns:
        The photo.

    Raises:
        ImageError: The path is empty; or the file is missing, unreadable, empty, damaged, too large, a video
            or of another format; or it is HEIC and the extra `heif` is not installed.
        InputError: `max_pixels` or `min_side` is less than 1.
    """
    _check_limits(max_pixels=max_pixels, min_side=min_side)
    if source == "":
        raise ImageError(EMPTY_PATH)
    name = f"the {len(source)} bytes given" if isinstance(source, bytes) else quoted(source)
    content = source if isinstance(source, bytes) else _content(Path(source), name)
    plugin = decoder(content, name)
    try:
        with _quiet_pillow(), plugin(io.BytesIO(content)) as image:
            # A plugin is called directly because Image.open has a limit of its own, global to the process.
            if image.width * image.height > max_pixels:
                raise ImageError(
                    f"cannot read {name}: it has {image.width} x {image.height} pixels, more than the limit "
                    f"of {max_pixels:,}; shrink it, or raise the limit if you trust the file"
                )
            width, height = image.size
            if min_side is not None and plugin is JpegImageFile:  # HEIC would give its thumbnail
                image.draft(None, (min_side, min_side))  # decode at 1/2, 1/4 or 1/8
            image.load()
            if image.format == "HEIF":  # the size in the header is only a promise
                width, height = image.size
            orientation, gps = _exif(image)  # after load: TIFF turns itself upright while loading
            rgb = _to_rgb(image)
    except _DAMAGE as error:
        detail = quoted(reason_of(error))
        raise ImageError(
            f"cannot read {name}: the file is damaged or cut short ({detail}); save it again as JPEG or PNG"
        ) from error
    except Image.DecompressionBombError as error:  # WebP, GIF and TIFF check a limit of Pillow's as well
        raise ImageError(f"cannot read {name}: {reason_of(error)}; shrink it") from error
    except MemoryError as error:
        raise ImageError(f"cannot read {name}: not enough memory to decode it; shrink it") from error
    if min_side is not None and min(rgb.size) >= 2 * min_side:
        rgb = rgb.reduce(min(rgb.size) // min_side)
    if orientation in _TRANSPOSE:
        rgb = rgb.transpose(_TRANSPOSE[orientation])
        if orientation >= 5:
            width, height = height, width
    return Photo(np.asarray(rgb), gps, hashlib.sha256(content).hexdigest(), width, height)


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Expand files and folders to a list of photo files.

    Args:
        paths: Files, kept whatever their name; and folders, searched with all their subfolders for files
            that end in one of `SUFFIXES`. Hidden files and folders, and links to folders, are skipped.

    Returns:
        Paths in the order given, those of a folder sorted by path; each one once.

    Raises:
        InputError: A path is empty or does not exist, a folder cannot be listed, or a folder holds no photo.
    """
    found: dict[Path, None] = {}
    for given in paths:
        if given == "":
            raise InputError(EMPTY_PATH)
        path = Path(given)
        if not os.path.lexists(path):
            raise InputError(f"{quoted(path)} does not exist; give photo files or folders of photos")
        photos = sorted(_walk(path)) if path.is_dir() else [path]
        if not photos:
            raise InputError(
                f"the folder {quoted(path)} holds no photo; accepted: {ACCEPTED}, by their usual suffix"
            )
        found.update(dict.fromkeys(photos))
    return list(found)


def quoted(path: str | Path) -> str:
    """A path as it may stand in a one-line message: quoted and escaped if it has unprintable characters."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def _check_limits(**limits: int | None) -> None:
    for flag, value in limits.items():
        if value is not None and value < 1:
            raise InputError(f"{flag} is {value}; give a whole number of at least 1")


def _walk(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise InputError(
            f"the folder {quoted(str(error.filename))} cannot be listed ({error.strerror}); "
            "change its permissions or leave it out"
        ) from error

    for parent, subfolders, files in os.walk(folder, onerror=fail):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(parent, name)


def _content(path: Path, name: str) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"cannot read {name}: it is a folder; give a file: {ACCEPTED}")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"cannot read {name}: it is not a regular file; give a file: {ACCEPTED}")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError(
                f"cannot read {name}: it has {status.st_size:,} bytes, more than the limit of "
                f"{MAX_FILE_BYTES:,}; shrink it"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"cannot read {name}: there is no such file; check the path") from error
    except PermissionError as error:
        raise ImageError(f"cannot read {name}: permission denied; make the file readable") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise ImageError(f"cannot read {name}: {reason}; check the path") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bit(image)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> NDArray[np.uint8]:
    """Scale grey samples of 16 or 32 bits or floats to 0..255, shape (H, W).

    The range is that of the samples' type for 16 bits. Wider types seldom use theirs, so the smallest of
    0..1 (floats), 0..255, 0..65535 that holds all samples is taken, else that from the least to the greatest.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0.0, neginf=0.0)
    values = values.clip(-1e38, 1e38)  # or the difference of two would overflow
    low, high = float(values.min()), float(values.max())
    limits = [65535.0] if image.mode.startswith("I;16") else [255.0, 65535.0]
    if image.mode == "F":
        limits.insert(0, 1.0)
    fitting = [limit for limit in limits if low >= 0 and high <= limit]
    low, high = (0.0, fitting[0]) if fitting else (low, high)
    grey: NDArray[np.uint8] = np.rint((values - low) * (255.0 / max(high - low, 1e-30))).astype(np.uint8)
    return grey


def _exif(image: Image.Image) -> tuple[int, tuple[float, float] | None]:
    """The orientation (1 if unknown) and position of a file; damaged metadata count as absent."""
    try:
        exif = image.getexif()
        orientation = exif.get(_ORIENTATION_TAG, 1)
        orientation = orientation if isinstance(orientation, int) else 1
    except _DAMAGE:
        return 1, None
    try:
        tags = exif.get_ifd(_GPS_IFD)
        lat = _degrees(tags.get(2), tags.get(1), "NS", 90)
        lng = _degrees(tags.get(4), tags.get(3), "EW", 180)
    except _DAMAGE:
        return orientation, None
    if lat is None or lng is None or (lat == 0 and lng == 0):  # 0, 0 is what a receiver without a fix writes
        return orientation, None
    return orientation, (lat, lng)


def _degrees(value: object, ref: object, signs: str, limit: int) -> float | None:
    """One EXIF coordinate (degrees, minutes, seconds and a letter) in degrees; None if it makes no sense."""
    letter = ref.decode("latin-1") if isinstance(ref, bytes) else str(ref)
    letter = letter.strip("\0 ").upper()
    parts = [float(part) for part in value] if isinstance(value, tuple) else []
    if letter not in tuple(signs) or not 1 <= len(parts) <= 3:
        return None
    degrees, minutes, seconds = [*parts, 0.0, 0.0][:3]
    total = degrees + minutes / 60 + seconds / 3600
    if not (0 <= degrees and 0 <= minutes <= 60 and 0 <= seconds <= 60 and total <= limit):  # also if NaN
        return None
    return -total if letter == signs[1] else total


_quiet_lock = threading.Lock()
_quiet_state: list["warnings.catch_warnings[None]"] = []
_quiet_depth = 0


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Hide Pillow's warnings (damaged metadata and the like) while any thread is reading.

    The warning filters belong to the process: the first reader to enter sets them, the last restores them.
    """
    global _quiet_depth
    with _quiet_lock:
        if _quiet_depth == 0:
            state = warnings.catch_warnings()
            state.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _quiet_state.append(state)
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_state.pop().__exit__(None, None, None)
