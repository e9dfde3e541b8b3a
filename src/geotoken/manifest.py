"""The `manifest.json` of an artifact folder: what the folder is, with sha256 and size of each file.

Owns writing and verifying it; must not know what the files hold.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from geotoken.errors import ArtifactError
from geotoken.files import read_json, sha256_of, write_whole

MANIFEST_NAME = "manifest.json"
"""File name of the manifest, directly in the folder it describes."""


def write_manifest(
    folder: str | os.PathLike[str],
    *,
    kind: str,
    format_version: int,
    extra: Mapping[str, object] | None = None,
    known: Mapping[str, Mapping[str, object]] | None = None,
) -> Path:
    """Describe every file of a folder in its `manifest.json`.

    The manifest appears whole or not at all: it is written beside its place and renamed. Files and folders
    whose name begins with a dot are left out. A manifest in a subfolder is listed like any other file.

    Args:
        folder: The folder to describe, with all its files in place.
        kind: What the folder is, such as "geotoken-gallery"; `verify_manifest` asks for it by this name.
        format_version: Version of the folder's layout, from 1.
        extra: Further JSON-serialisable entries; must not be named like those above or "files".
        known: "sha256" and "bytes" of files by name, taken when they were written; these are not read again.

    Returns:
        Path of the manifest.

    Raises:
        ArtifactError: If the folder does not exist or `extra` would overwrite an entry.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ArtifactError(f"cannot write a manifest: {root} is not a folder")
    content: dict[str, object] = {"format": kind, "format_version": format_version}
    files = {name: dict((known or {}).get(name) or file_entry(root / name)) for name in _list_files(root)}
    for name, value in (*(extra or {}).items(), ("files", files)):
        if name in content:
            raise ArtifactError(f'a manifest already has an entry "{name}"; choose another name')
        content[name] = value
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_whole(root / MANIFEST_NAME, text.encode())
    return root / MANIFEST_NAME


def file_entry(path: Path) -> dict[str, object]:
    """What a manifest says about a file.

    Args:
        path: The file.

    Returns:
        Its "sha256" and "bytes".

    Raises:
        ArtifactError: If it cannot be read.
    """
    return {"sha256": _sha256(path), "bytes": path.stat().st_size}


def verify_manifest(folder: str | os.PathLike[str], kind: str, max_format_version: int) -> dict[str, Any]:
    """Check that a folder is of the kind expected, readable by this version, and undamaged.

    Every listed file is compared by size, then by sha256; files that are not listed are ignored. This
    finds damage and half-made copies. It is no proof of origin: whoever can change a file can change
    the manifest too.

    Args:
        folder: The folder, with its `manifest.json`.
        kind: What the folder must be, such as "geotoken-gallery".
        max_format_version: The newest layout the caller can read.

    Returns:
        The manifest as written: "format", "format_version", "files" and any further entries.

    Raises:
        ArtifactError: If the folder or its manifest is missing or unreadable, of another kind or made by a
            newer geotoken, or if a listed file is missing, truncated, changed, or outside the folder.
    """
    manifest = read_manifest(folder, kind, max_format_version)
    for name in manifest["files"]:
        _check_file(Path(folder), name, manifest["files"][name])
    return manifest


def read_manifest(
    folder: str | os.PathLike[str], kind: str | None = None, max_format_version: int | None = None
) -> dict[str, Any]:
    """Read and check the manifest of a folder, but not the files it lists.

    Args:
        folder: The folder, with its `manifest.json`.
        kind: What the folder must be; anything when None.
        max_format_version: The newest layout the caller can read; any when None.

    Returns:
        The manifest as written; every name in it stays inside the folder and has a sha256.

    Raises:
        ArtifactError: As `verify_manifest`, for the manifest alone.
    """
    root = Path(folder)
    manifest = _read(root)
    found_kind, version = manifest.get("format"), manifest.get("format_version")
    if found_kind is None:
        raise ArtifactError(f"{root}/{MANIFEST_NAME} has no format; fetch or build the folder again")
    if kind is not None and found_kind != kind:
        raise ArtifactError(f'{root} is "{found_kind}", not "{kind}"; give a folder of that kind')
    if type(version) is not int or version < 1:
        raise ArtifactError(f"{root}/{MANIFEST_NAME} has no valid format_version; fetch or build it again")
    if max_format_version is not None and version > max_format_version:
        raise ArtifactError(
            f"{root} was made by a newer geotoken (format {version}, this one reads up to "
            f"{max_format_version}); upgrade geotoken"
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or not files:
        raise ArtifactError(f"{root}/{MANIFEST_NAME} lists no files; fetch or build the folder again")
    for name, entry in files.items():
        if not _stays_inside(name):
            raise ArtifactError(f'{root}/{MANIFEST_NAME} names "{name}", outside the folder; do not trust it')
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            raise ArtifactError(f'{root}/{MANIFEST_NAME} has no sha256 for "{name}"; fetch or build it again')
    return manifest


def damaged_files(folder: str | os.PathLike[str], manifest: Mapping[str, Any]) -> list[str]:
    """Compare every listed file by size, then by sha256.

    Args:
        folder: The folder.
        manifest: What `read_manifest` returned for it.

    Returns:
        Names of the files that are missing, truncated, changed or unreadable, in the manifest's order.
    """
    damaged = []
    for name, entry in manifest["files"].items():
        try:
            _check_file(Path(folder), name, entry)
        except ArtifactError:
            damaged.append(name)
    return damaged


def _read(root: Path) -> dict[str, Any]:
    if not root.is_dir():
        raise ArtifactError(f"{root} is not a folder; give the folder that holds {MANIFEST_NAME}")
    path = root / MANIFEST_NAME
    try:
        manifest = read_json(path)
    except FileNotFoundError:
        raise ArtifactError(f"{root} has no {MANIFEST_NAME}; it is not complete, or no artifact") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} is not readable JSON ({error}); fetch or build it again") from None
    if not isinstance(manifest, dict):
        raise ArtifactError(f"{path} is not a JSON object; fetch or build it again")
    return manifest


def _check_file(root: Path, name: str, entry: Mapping[str, Any]) -> None:
    path = root / name
    if not path.is_file():
        raise ArtifactError(f"{path} is missing; fetch or build the folder again")
    num_bytes = path.stat().st_size
    if num_bytes != entry.get("bytes"):
        raise ArtifactError(
            f"{path} has {num_bytes} bytes instead of {entry.get('bytes')}: truncated or changed; "
            "fetch or build the folder again"
        )
    if _sha256(path) != entry["sha256"]:
        raise ArtifactError(
            f"{path} was changed: its sha256 differs from the manifest's; fetch or build the folder again"
        )


def _stays_inside(name: str) -> bool:
    """Whether a relative name stays in its folder, on every operating system."""
    if not name or "\0" in name:
        return False
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or PurePosixPath(name).is_absolute():
        return False
    return ".." not in windows.parts


def _list_files(root: Path) -> list[str]:
    """Names of all files below a folder, relative, with forward slashes, sorted."""
    names = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    visible = (name for name in names if not any(part.startswith(".") for part in name.parts))
    return sorted(name.as_posix() for name in visible if name.as_posix() != MANIFEST_NAME)


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}); check its permissions") from None
    except ValueError as error:
        raise ArtifactError(f"{path} cannot be read ({error}); remove it") from None
