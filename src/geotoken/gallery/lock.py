"""One change of a gallery at a time: a lock file beside its folder.

Owns the file and how it comes and goes; must not know what is changed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geotoken.errors import InputError

try:
    import fcntl
except ImportError:  # not on Windows, where two changes at once are not told apart
    fcntl = None  # type: ignore[assignment]


def lock_path(folder: Path) -> Path:
    """Where the lock of a gallery is.

    Args:
        folder: The gallery folder, there or not.

    Returns:
        A hidden file beside it. It is there while a gallery is changed, and without meaning after a crash.
    """
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Keep everybody else from changing a gallery, or the unfinished build beside it.

    The system lets go of the lock when the process ends, however it ends. Where no lock can be had (Windows,
    some network drives, a parent that is missing or read only) the change goes on without one.

    Args:
        folder: The gallery folder, there or not.

    Yields:
        Once, for the change.

    Raises:
        InputError: Another process or thread is changing it.
    """
    path = lock_path(folder)
    fd = None if fcntl is None else _lock(path, folder)
    try:
        yield
    finally:
        if fd is not None:
            path.unlink(missing_ok=True)  # before others can lock it; see `_lock`
            os.close(fd)


def _lock(path: Path, folder: Path) -> int | None:
    """Open and lock the file; None where that is not possible.

    Raises:
        InputError: It is locked.
    """
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except BlockingIOError as error:
            os.close(fd)
            raise InputError(
                f"another run is changing the gallery {folder}; wait until it has ended"
            ) from error
        except FileNotFoundError:
            pass
        except OSError:
            os.close(fd)
            return None
        os.close(fd)  # whoever had the lock removed this file; there may be a new one
