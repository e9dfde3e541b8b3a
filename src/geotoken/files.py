"""Small files from outside: JSON that may be missing, huge, nested without end, or no file at all.

Owns reading them within limits; must not know what they hold.
"""

import errno
import json
import stat
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 64 << 20
"""A longer description is refused unread: 64 MB hold the names of half a million files."""

ARRAY_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    MemoryError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy raises on a damaged .npy or .npz file, found by cutting and flipping bytes."""


def read_json(path: Path) -> Any:
    """Read a JSON file that somebody else wrote.

    Args:
        path: The file.

    Returns:
        The value in it.

    Raises:
        OSError: It is missing or cannot be read.
        ValueError: It is no regular file, too long, not JSON in UTF-8, nested too deeply, or an object in it
            has a name twice.
    """
    content = read_regular(path, MAX_JSON_BYTES)
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a file, but no pipe or device, where reading may never end.

    Args:
        path: The file.
        max_bytes: The longest that is read.

    Returns:
        Its content.

    Raises:
        OSError: It is missing or cannot be read.
        ValueError: It is no regular file, or too long.
    """
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    return content


def check_regular(path: Path) -> None:
    """Refuse what is no file, before it is opened: to open a pipe may take forever.

    Args:
        path: The file, or a link to it.

    Raises:
        OSError: It is missing, a folder, or cannot be looked up.
        ValueError: It is no regular file.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise ValueError("it is not a regular file")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ.

    Raises:
        ValueError: One is there twice; readers would disagree about which of the two counts.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice[:40]!r} twice")
    return value
