"""Folders and files on any filesystem that Arrow, and so Ray, reads: a path, or a URI such as s3://bucket/key.

Owns opening, listing, fetching and putting files in place; must not know what they hold.
"""

import errno
import os
import posixpath
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pyarrow import ArrowException, fs

from geotoken.errors import ArtifactError, InputError, reason_of
from geotoken.files import replacing

_FAILURES = (OSError, ArrowException)


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder on some filesystem; small enough to be sent to a worker, where it is opened anew."""

    uri: str
    """A path of this machine, or a URI."""

    @property
    def is_local(self) -> bool:
        """Whether it is on a filesystem that this machine has mounted."""
        return "://" not in self.uri

    def __truediv__(self, name: str) -> "Place":
        return Place(f"{self.uri.rstrip('/')}/{name}") if not self.is_local else Place(str(self.path / name))

    @property
    def path(self) -> Path:
        """The path of a local place."""
        return Path(self.uri)

    @property
    def name(self) -> str:
        """Its last part."""
        return posixpath.basename(self.uri.rstrip("/")) if not self.is_local else self.path.name

    def open(self) -> tuple[Any, str]:
        """Find its filesystem.

        Returns:
            The Arrow filesystem, and the path there.

        Raises:
            InputError: There is no such filesystem.
        """
        if self.is_local:
            return fs.LocalFileSystem(), str(self.path)
        try:
            return fs.FileSystem.from_uri(self.uri)  # type: ignore[no-any-return]
        except (*_FAILURES, ValueError) as error:
            raise InputError(
                f"{self.uri} cannot be opened ({reason_of(error)}); give a path or URI"
            ) from error

    def kind(self) -> str:
        """What is there.

        Returns:
            "file", "folder" or "nothing".

        Raises:
            InputError: The filesystem does not answer.
        """
        system, path = self.open()
        try:
            found = system.get_file_info(path).type
        except _FAILURES as error:
            raise InputError(f"{self.uri} cannot be reached ({reason_of(error)})") from error
        return {fs.FileType.File: "file", fs.FileType.Directory: "folder"}.get(found, "nothing")

    def files(self, *, recursive: bool = False) -> list[tuple[str, int]]:
        """Files of a folder.

        Args:
            recursive: Whether those of its subfolders count as well.

        Returns:
            Names below the folder with forward slashes, and sizes in bytes, sorted; none if it is absent.

        Raises:
            InputError: It cannot be listed.
        """
        if self.is_local:  # Arrow gives up on names that are not UTF-8
            return sorted(_local_files(self.path, recursive))
        system, path = self.open()
        try:
            infos = system.get_file_info(fs.FileSelector(path, recursive=recursive, allow_not_found=True))
        except _FAILURES as error:
            raise InputError(f"{self.uri} cannot be listed ({reason_of(error)})") from error
        root = path.rstrip("/") + "/"
        return sorted(
            (info.path.removeprefix(root), info.size) for info in infos if info.type == fs.FileType.File
        )

    def read(self) -> bytes:
        """Read a file.

        Returns:
            Its content.

        Raises:
            OSError: It cannot be read.
        """
        system, path = self.open()
        try:
            with system.open_input_stream(path, compression=None) as stream:
                return bytes(stream.read())
        except ArrowException as error:
            raise OSError(errno.EIO, reason_of(error), self.uri) from error

    @contextmanager
    def fetched(self) -> Iterator[Path]:
        """A file as a local one, for as long as the body lasts.

        Yields:
            Its own path, or that of a copy under the same name.

        Raises:
            OSError: It cannot be read.
        """
        if self.is_local:
            yield self.path
            return
        with TemporaryDirectory(prefix="geotoken-") as scratch:
            copy = Path(scratch) / self.name
            system, path = self.open()
            try:
                with system.open_input_stream(path, compression=None) as stream, copy.open("wb") as file:
                    shutil.copyfileobj(stream, file, 1 << 20)
            except ArrowException as error:
                raise OSError(errno.EIO, reason_of(error), self.uri) from error
            yield copy

    def put(self, made: Path) -> None:
        """Put a finished file here: it appears whole, and replaces what an earlier attempt left.

        Args:
            made: A file of this machine.

        Raises:
            ArtifactError: It cannot be written.
        """
        try:
            if self.is_local:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(self.path) as beside:
                    shutil.copyfile(made, beside)
                return
            system, path = self.open()
            folder, name = posixpath.split(path)
            system.create_dir(folder, recursive=True)
            beside_path = posixpath.join(folder, f".{name}.{uuid.uuid4().hex}.part")
            with made.open("rb") as file, system.open_output_stream(beside_path, compression=None) as stream:
                shutil.copyfileobj(file, stream, 1 << 20)
            system.move(beside_path, path)
        except _FAILURES as error:
            reason = getattr(error, "strerror", None) or reason_of(error)
            raise ArtifactError(
                f"{self.uri} cannot be written ({reason}); check space and permissions"
            ) from error

    def put_bytes(self, content: bytes) -> None:
        """Put a small file here, see `put`.

        Args:
            content: What shall be in it.

        Raises:
            ArtifactError: It cannot be written.
        """
        with TemporaryDirectory(prefix="geotoken-") as scratch:
            made = Path(scratch) / "content"
            made.write_bytes(content)
            self.put(made)

    def remove(self) -> None:
        """Remove a folder with all that is in it; nothing happens if it is absent."""
        if self.is_local:
            shutil.rmtree(self.path, ignore_errors=True)
        elif self.kind() == "folder":
            system, path = self.open()
            system.delete_dir(path)


def _local_files(folder: Path, recursive: bool) -> Iterator[tuple[str, int]]:
    for root, folders, names in os.walk(folder):
        if not recursive:
            folders.clear()
        for path in (Path(root) / name for name in names):
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path.stat().st_size


def place_of(text: str | os.PathLike[str]) -> Place:
    """The place that a command line names.

    Args:
        text: A path, or a URI; "file://" is a path.

    Returns:
        The place; a relative path is made absolute, for workers may run elsewhere.

    Raises:
        InputError: It is empty.
    """
    given = os.fspath(text)
    if not given:
        raise InputError("an empty path; give a folder, a manifest or a tar")
    given = re.sub(r"^([a-z][a-z0-9+.-]+):/(?!/)", r"\1://", given)  # pathlib takes a slash from URIs
    given = given.removeprefix("file://")
    return Place(given if "://" in given else str(Path(given).absolute()))
