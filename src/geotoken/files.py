"""Files as such: read within limits when they come from outside, written so that they are whole.

Owns refusing what is no file, and what a crash may leave; must not know what the files hold.
"""

import ctypes
import errno
import hashlib
import json
import os
import shutil
import stat
import struct
import sys
import tempfile
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place to write a file that appears whole or not at all, also if the machine stops.

    Args:
        path: Where the file shall be; what is there is replaced.

    Yields:
        A hidden path beside it, of this thread alone; moved to its place at the end, or removed if
        something is raised.

    Raises:
        OSError: It cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield beside
        sync(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A place to make a folder that appears whole or not at all, also if the machine stops.

    Args:
        folder: Where it shall be; its parents are made, what is there is replaced.

    Yields:
        A hidden folder beside it; moved to its place at the end, or removed if something is raised.

    Raises:
        OSError: It cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        beside.chmod(0o755)  # mkdtemp makes a folder for one user only
        yield beside
        for path in (*beside.rglob("*"), beside):
            sync(path)
        _put_in_place(beside, folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that its old or its new content is there at every moment.

    Args:
        path: The file.
        content: What shall be in it.

    Raises:
        OSError: It cannot be written.
    """
    with replacing(path) as beside:
        beside.write_bytes(content)


def cannot_write(path: Path, error: OSError) -> str:
    """What to say where a file or folder cannot be written.

    Args:
        path: It.
        error: What the system said.

    Returns:
        A message.
    """
    return f"{path} cannot be written ({error.strerror}); check space and permissions"


def read_record(path: Path) -> Any:
    """Read what an earlier run may have noted, as JSON.

    Args:
        path: The file.

    Returns:
        Its content; None if it is missing, or was not written to its end.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def sha256_of(path: Path) -> str:
    """Hash a file, but no pipe or device.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.

    Raises:
        OSError: It is missing or cannot be read.
        ValueError: It is no regular file.
    """
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk.

    Args:
        path: The file; or a folder, for the names in it but not its files, where the system can do that.

    Raises:
        OSError: The file cannot be opened or written.
    """
    is_folder = path.is_dir()
    try:
        fd = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError:
        if not is_folder:  # Windows and some network drives refuse it for folders
            raise


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename a finished folder to its place; on Linux an old one is there until the new one is.

    Elsewhere no folder can be renamed onto another: an old one is moved aside first, and back if that fails.

    Raises:
        OSError: It cannot be renamed; the old one is in place then.
    """
    if not folder.exists():
        temporary.rename(folder)
        return
    if _exchange(temporary, folder):
        return
    old = temporary.with_name(temporary.name + "-old")
    folder.rename(old)
    try:
        temporary.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two folders in one step (renameat2 with RENAME_EXCHANGE); False where that is not possible."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    current_folder, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE: linux/fcntl.h, linux/fs.h
    return (
        rename is not None
        and rename(current_folder, os.fsencode(a), current_folder, os.fsencode(b), exchange) == 0
    )


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
