"""`--map` and `--report` of `geotoken locate`: pictures of answers as these pass by.

Owns the checks of the two destinations and the line that says what was written; must not know pages.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from geotoken.cli.errors import describe
from geotoken.errors import InputError

if TYPE_CHECKING:
    from geotoken.pictures import MapPage, Report
    from geotoken.pipeline import Failure
    from geotoken.prediction import Prediction
    from geotoken.regions import Region

    Answer: TypeAlias = Prediction | Failure


class Pictures:
    """What `--map` and `--report` ask for; a context manager that finishes the files at its end.

    After Ctrl-C or SIGTERM the files show what was done until then. After an error they are given up.
    """

    def __init__(
        self, map_file: str | None, report: str | None, paths: Sequence[str], num_photos: int
    ) -> None:
        """Check the destinations; nothing is written yet.

        Args:
            map_file: Value of `--map`.
            report: Value of `--report`.
            paths: The photos and folders to be located.
            num_photos: Photos found in them.

        Raises:
            InputError: If one cannot be written, or the report would lie among the photos.
        """
        from geotoken.pictures import check_map_file, check_report_folder

        self._map_file, self._report = map_file, report
        self._one_photo = num_photos == 1
        self._writers: list[MapPage | Report] = []
        if report == "":
            raise InputError("--report is empty; give a folder")
        if map_file is not None:
            check_map_file(Path(map_file))
        if report is not None:
            check_report_folder(Path(report))
            _check_apart(Path(report), paths)

    def __enter__(self) -> Self:
        from geotoken.pictures import MapPage, Report

        try:
            if self._map_file is not None:
                self._writers.append(MapPage(self._map_file, one_photo=self._one_photo))
            if self._report is not None:
                self._writers.append(Report(self._report))
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from geotoken.images.read import quoted
        from geotoken.words import plural

        try:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                for writer in self._writers:
                    writer.close(interrupted=kind is not None)
                    photos = plural(writer.num_photos, "photo")
                    print(f"wrote {quoted(writer.path)}, {photos}", file=sys.stderr, flush=True)
        finally:
            self._discard()

    def watch(self, answers: "Iterable[Answer]") -> "Iterator[Answer]":
        """Let answers pass, each once it is in the pictures.

        Args:
            answers: Predictions and failures.

        Yields:
            The same.
        """
        from geotoken.pipeline import Failure

        held: Region | None = None
        outline: dict[str, Any] | None = None
        for answer in answers:
            message = describe(answer.error) if isinstance(answer, Failure) else ""
            region = None if isinstance(answer, Failure) else answer.region
            if self._writers and region is not None and region is not held:  # one for all answers of a run
                held, outline = region, region.to_geojson()
            for writer in self._writers:
                writer.add(answer, message, outline if region is not None else None)
            yield answer

    def _discard(self) -> None:
        """Take away what is unfinished; nothing where all is finished."""
        for writer in self._writers:
            writer.discard()


def _check_apart(report: Path, paths: Sequence[str]) -> None:
    """See that the next search for photos would not find the thumbnails of a report.

    Raises:
        InputError: If it would.
    """
    for path in map(Path, paths):
        if path.is_dir() and report.resolve().is_relative_to(path.resolve()):
            raise InputError(
                f"the report (--report) {report} lies in {path}, where its thumbnails would be taken for "
                "photos; give a folder outside"
            )
