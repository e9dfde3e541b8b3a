"""Which format a file is of, told by its first bytes, and which decoder reads it.

Owns the list of formats and what is said of all others; must not know pixels or paths.
"""

from PIL import ImageFile
from PIL.AvifImagePlugin import SUPPORTED as HAS_AVIF
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from geotoken.errors import ImageError

ACCEPTED = "JPEG, PNG, WebP, TIFF, AVIF, HEIC (with geotoken[heif]) and GIF (first frame)"
"""The formats that can be read, as error messages and the docs name them."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".gif"}
    | {".avif", ".heic", ".heif", ".hif"}
)
"""File name endings, in lower case, that make a file in a folder a photo; those of videos are not here."""

# Brands of ISO base media files, as in their "ftyp" box (ISO/IEC 14496-12, 23008-12; AV1 Image File Format).
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_ANY_CODING_BRANDS = frozenset({b"mif1", b"mif2", b"msf1", b"miaf"})
_VIDEO_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\1",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # Windows Media
    b"\0\0\1\xba",  # MPEG program stream
    b"\0\0\1\xb3",  # MPEG video
)


def decoder(content: bytes, name: str) -> type[ImageFile.ImageFile]:
    """Choose the decoder by the first bytes; the file's name plays no part.

    Args:
        content: The file, or its first 512 bytes.
        name: What to call it in a message.

    Returns:
        Pillow's class for the format; called directly, so that nothing is registered for the whole process.

    Raises:
        ImageError: They are not those of an accepted format, or its library is missing.
    """
    head = content[:512]
    brands = _brands(head)
    if brands & _AVIF_BRANDS and not brands & _HEIC_BRANDS:
        return _avif_plugin(name)
    if brands & (_HEIC_BRANDS | _ANY_CODING_BRANDS):
        return _heif_plugin(name)
    if head.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WebPImageFile
    if head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return TiffImageFile
    if head[:6] in {b"GIF87a", b"GIF89a"}:
        return GifImageFile
    raise ImageError(f"cannot read {name}: {_describe(head)}; accepted: {ACCEPTED}")


def _brands(head: bytes) -> set[bytes]:
    """The brands of a still image in an ISO base media file; none if it is anything else.

    The major brand decides unless it allows any coding: some cameras' videos list a still's brand as well.
    """
    if head[4:8] != b"ftyp":
        return set()
    major = head[8:12]
    if major in _AVIF_BRANDS | _HEIC_BRANDS:
        return {major}
    if major not in _ANY_CODING_BRANDS:
        return set()
    length = min(int.from_bytes(head[:4]), len(head))
    return {major} | {head[at : at + 4] for at in range(16, length - 3, 4)}


def _avif_plugin(name: str) -> type[ImageFile.ImageFile]:
    if not HAS_AVIF:
        raise ImageError(
            f"cannot read {name}: it is AVIF, which this build of Pillow lacks; install Pillow's own wheel, "
            "or convert the photo to JPEG"
        )
    return AvifImageFile


def _heif_plugin(name: str) -> type[ImageFile.ImageFile]:
    try:
        from pillow_heif import HeifImageFile  # here and not above: an extra, and slow to import
    except ImportError as error:
        raise ImageError(
            f"cannot read {name}: it is HEIC, which needs one more library; pip install 'geotoken[heif]', "
            "or convert the photo to JPEG"
        ) from error
    plugin: type[ImageFile.ImageFile] = HeifImageFile
    return plugin


def _describe(head: bytes) -> str:
    if not head:
        return "the file is empty"
    if head[4:12] == b"ftypcrx ":
        return "it is a raw photo (CR3), convert it to JPEG"
    if (
        head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide"}
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head.startswith(_VIDEO_STARTS)
    ):
        return "it is a video, and only photos are located; export a frame of it as JPEG"
    if head.startswith(b"BM"):
        return "BMP is not supported, convert it to PNG"
    if head.startswith(b"%PDF"):
        return "it is a PDF document"
    if all(byte >= 32 or byte in b"\t\n\r\f\x1b" for byte in head):
        return "it is text, not a photo"
    return "it is not a photo in a known format"
