"""`locate --engine ray`: photos to rows of answers, a Parquet shard a block.

Owns what a worker does with a block; must not know how blocks are spread or kept.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geotoken.errors import ImageError
from geotoken.exports import hash_settings
from geotoken.exports.formats import format_of
from geotoken.exports.run import stamp_of
from geotoken.features.sources import Item, TarSlice
from geotoken.gallery.sources import BuildError
from geotoken.pipeline import Failure, LocateOptions, Locator
from geotoken.prediction import error_to_dict
from geotoken.scale.plan import Plan, block_items
from geotoken.scale.run import Job, ScaleReport, run_job

KIND: Final = "geotoken-answers"
"""What the manifest of a folder of answers calls it."""

FORMAT_VERSION: Final = 1
"""Newest layout of such a folder."""

BLOCK_PHOTOS: Final = 256
"""Photos in one shard: what a killed worker does again at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocateJob:
    """How photos are located; sent to workers."""

    options: LocateOptions
    """How to look for the answer."""
    loaded: Mapping[str, Any]
    """What `Locator.from_pretrained` gets, but `num_threads`."""
    settings: Mapping[str, Any]
    """What decides the answers, as `geotoken.exports.Export` gets it."""
    describe: Callable[[Exception], str] = str
    """Turns the error of a photo into one line."""

    def __call__(self) -> "_LocateWorker":
        """Load the model; one thread a worker, for there is one a CPU."""
        return _LocateWorker(Locator.from_pretrained(**self.loaded, num_threads=1), self)


class _LocateWorker:
    """The locator of one process."""

    def __init__(self, locator: Locator, job: LocateJob) -> None:
        self._locator = locator
        self._job = job
        self._settings = hash_settings(job.settings)

    def do(self, content: bytes, folder: Path, stem: str) -> dict[str, Any]:
        path = folder / f"{stem}.parquet"
        failures, num_rows = [], 0
        with closing(block_items(content, with_metadata=False)) as items, format_of(path)(path) as file:
            for row in self._rows(items):
                file.add(row)
                num_rows += 1
                if row["status"] != "ok":
                    failures.append({"image": row["image"], "reason": row["error"]})
        return {"num_rows": num_rows, "failures": failures}

    def _rows(self, items: Iterator[Item | BuildError]) -> Iterator[dict[str, Any]]:
        """An answer a photo, as an object of `locate --json` with its source."""
        for item in items:
            source: dict[str, Any] = {"bytes": None, "mtime_us": None, "settings": self._settings}
            if isinstance(item, BuildError):
                yield error_to_dict(item.image, item.reason) | {"source": source}
                continue
            try:
                photo, about = _open(item)
            except ImageError as error:
                yield error_to_dict(item.id, self._job.describe(error)) | {"source": source}
                continue
            answer = self._locator.locate_one(photo, self._job.options)
            if isinstance(answer, Failure):
                told = self._job.describe(answer.error)
                row = error_to_dict(item.id, told.replace(os.fspath(answer.image), item.id))
            else:
                row = answer.to_dict(1) | {"image": item.id}
            yield row | {"source": source | about}


def _open(item: Item) -> tuple[Path | bytes, dict[str, int | None]]:
    """A photo for the locator, and size and time of change of its file.

    Raises:
        ImageError: A tar is cut short.
    """
    if isinstance(item.photo, TarSlice):
        content = item.photo.read()
        return content, {"bytes": len(content)}
    return item.photo, dict(zip(("bytes", "mtime_us"), stamp_of(item.photo), strict=True))


def locate_on_ray(
    plan: Plan,
    job: LocateJob,
    out: str | os.PathLike[str],
    *,
    num_workers: int | None = None,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ScaleReport:
    """Locate photos on Ray: the rows that `locate --out FILE.parquet` writes, in a folder of shards.

    A photo that cannot be read is a row with its error.

    Args:
        plan: The photos in blocks; each becomes a shard.
        job: How they are located.
        out: The folder to make, by path or URI; finished once its `manifest.json` is there.
        num_workers: Workers; one a CPU of the cluster when None.
        resume: Whether to go on with an unfinished folder, or to take a finished one of the same run.
        progress: Called with (shards done, shards in all).

    Returns:
        How many rows there are, and which photos failed.

    Raises:
        InputError: Something else is at `out`.
        ArtifactError: It cannot be written, or the model is damaged.
    """
    work = Job(
        kind=KIND,
        format_version=FORMAT_VERSION,
        make_worker=job,
        settings=job.settings,
        manifest={"settings": dict(job.settings), "settings_hash": hash_settings(job.settings)},
    )
    return run_job(plan, work, out, num_workers=num_workers, resume=resume, progress=progress)
