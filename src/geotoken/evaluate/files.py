"""Files that an evaluation writes, and what it keeps of an interrupted run.

Owns where they are and that they are whole; must not know what they hold.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geotoken.errors import InputError
from geotoken.exports.journal import SUFFIX, Journal
from geotoken.files import write_whole
from geotoken.images.read import quoted
from geotoken.pictures.report import check_report_folder


def check_destinations(figures: Path | None, predictions: Path | None, report: Path | None) -> None:
    """See that the files can be written, before any work is done.

    Args:
        figures: The file of `--json`.
        predictions: The file of `--predictions`.
        report: The folder of `--report`.

    Raises:
        InputError: If one is no place for it.
    """
    for flag, path, ending in (("--json", figures, ".json"), ("--predictions", predictions, ".csv")):
        if path is None:
            continue
        if path.exists() and not path.is_file():
            raise InputError(f"{flag} {quoted(path)} is no regular file; give another name")
        if path.suffix.lower() != ending and path.exists() and path.stat().st_size:
            raise InputError(
                f"{flag} would replace {quoted(path)}; give a new file, or one that ends in {ending}"
            )
        if not path.parent.is_dir():
            raise InputError(
                f"{flag} {quoted(path)}: there is no folder {quoted(path.parent)}; make it first"
            )
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise InputError(
                f"{flag} {quoted(path)} lies in a folder that cannot be written to; choose another"
            )
    if report is not None:
        check_report_folder(report)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write figures, whole or not at all.

    Args:
        path: The file.
        value: JSON-ready; every number finite.

    Raises:
        InputError: If it cannot be written.
    """
    try:
        write_whole(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise InputError(f"{quoted(path)} cannot be written ({error.strerror or error})") from error


def guarded_path(path: Path) -> Path:
    """Where the predictions under the guards are written.

    Args:
        path: The file of `--predictions`.

    Returns:
        FILE-guarded.csv beside it.
    """
    return path.with_name(f"{path.stem}-guarded{path.suffix}")


def open_journal(predictions: Path, settings: Mapping[str, Any], *, resume: bool) -> Journal:
    """Begin, or go on with, what is kept of a run until its predictions are written.

    Args:
        predictions: The file of predictions that it is beside.
        settings: What decides the answers.
        resume: Whether an unfinished run shall go on.

    Returns:
        The journal, open if there is one.

    Raises:
        InputError: If an unfinished run is there and shall not go on, or was made with other settings.
    """
    journal = Journal(predictions.with_name(predictions.name + SUFFIX), settings)
    if journal.path.exists() and not resume:
        raise InputError(
            f"{quoted(journal.path)} is what an unfinished run has found; add --resume to go on, or delete it"
        )
    journal.open()
    return journal
