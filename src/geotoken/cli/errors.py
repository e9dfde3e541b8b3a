"""From exceptions to exit codes and one line on stderr.

Owns the table of exit codes; must not know any command.
"""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from geotoken.errors import (
    ArtifactError,
    ConfigError,
    DependencyError,
    GeoTokenError,
    ImageError,
    InputError,
)

EXIT_CODES: Final[dict[type[GeoTokenError], int]] = {
    InputError: 2,
    ImageError: 2,
    ConfigError: 2,
    DependencyError: 2,
    ArtifactError: 3,
}
"""Exit code of each error that is raised on purpose; any other exception is a bug."""

BUG: Final = 1
ALL_FAILED: Final = 2
"""No photo of a batch could be used."""
SOME_FAILED: Final = 4
"""Some photos of a batch could not be used."""
INTERRUPTED: Final = 130
"""Ctrl-C, by the shells' convention of 128 plus the signal's number."""
TERMINATED: Final = 143
"""SIGTERM; same convention."""
CLOSED_PIPE: Final = 141
"""Whoever read the output stopped reading, as in `geotoken ... | head -1`; same convention."""

MAX_LINE: Final = 400
"""Letters of a message; a longer one loses its middle."""

_REFUSALS: Final = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EFBIG,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}


class Terminated(KeyboardInterrupt):
    """SIGTERM came; like Ctrl-C, but of another exit code."""


@contextmanager
def exit_codes(debug: bool) -> Iterator[None]:
    """Run the body of a command: an exception becomes one line on stderr and an exit code.

    Args:
        debug: Whether a traceback is printed as well.

    Yields:
        Once, for the body.

    Raises:
        Exit: With the code of the exception.
        Abort: If Typer gave up by itself.
    """
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError as error:
        discard_output()
        raise typer.Exit(CLOSED_PIPE) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(TERMINATED if isinstance(error, Terminated) else INTERRUPTED) from error
    except Exception as error:
        if debug:
            traceback.print_exc()
        if getattr(error, "errno", None) == errno.ENOSPC:
            discard_output()
        print_error(describe(error))
        raise typer.Exit(exit_code_of(error)) from error


def exit_code_of(error: Exception) -> int:
    """The exit code of an exception.

    Args:
        error: Any exception.

    Returns:
        What `EXIT_CODES` says, or `BUG`; a full disk, a refused file or too little memory is no bug.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) in _REFUSALS:
        return 2
    codes = (code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
    return next(codes, BUG)


def describe(error: Exception) -> str:
    """An exception in one line.

    Args:
        error: Any exception.

    Returns:
        Its message; for one that was not raised on purpose, also what to do about it. What was given and is
        repeated in it is escaped where it is not printable, and cut where it is long.
    """
    message = one_line(str(error))
    if isinstance(error, MemoryError):
        return one_line(f"not enough memory ({message}); ask for less, or for fewer at once")
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        where = f" ({error.filename})" if error.filename else ""
        return one_line(f"{error.strerror}{where}; check the path, its permissions and the disk")
    if exit_code_of(error) != BUG:
        return message
    kind = type(error).__name__
    return one_line(
        f"this is a bug in geotoken ({kind}: {message}); "
        "please report it with what the same command prints under --debug"
    )


def one_line(text: str) -> str:
    """Text that may repeat a stranger's, as one line that a terminal shows as it is.

    Args:
        text: Any text.

    Returns:
        At most `MAX_LINE` letters, all printable: others are escaped, and long text loses its middle.
    """
    letters = " ".join(text.split())
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in letters)
    if len(line) <= MAX_LINE:
        return line
    return f"{line[: MAX_LINE - 155]} ... {line[-150:]}"


def print_error(message: str) -> None:
    """Print one line on stderr.

    Args:
        message: The line, without "error:"; see `one_line`.
    """
    print(f"error: {one_line(message)}", file=sys.stderr, flush=True)


def exit_after_batch(num_photos: int, num_failed: int) -> None:
    """End a command over several photos with the code of its failures.

    Args:
        num_photos: Photos asked for.
        num_failed: Those that failed.

    Raises:
        typer.Exit: If any failed.
    """
    if num_failed:
        raise typer.Exit(ALL_FAILED if num_failed == num_photos else SOME_FAILED)


def discard_output() -> None:
    """Point stdout to nowhere, so that the interpreter can flush what is left when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
