"""`embed --engine ray`: photos to a feature store, a shard a block.

Owns what a worker does with a block; must not know how blocks are spread or kept.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from geotoken.errors import InputError
from geotoken.features.embed import BATCH_ITEMS, EmbeddedShard, EmbedReport, check_modalities, none_usable
from geotoken.features.shard import (
    write_shard,
)
from geotoken.features.sources import Item
from geotoken.features.store import FORMAT_VERSION, KIND
from geotoken.features.write import Modality, describe_rows
from geotoken.images.embed import ImageEncoder
from geotoken.scale.plan import Plan, block_items
from geotoken.scale.run import Job, run_job

MakeEncoders = Callable[[], Mapping[str, ImageEncoder]]
"""Loads the encoders of a worker, by name of the modality; sent to workers, so it holds no model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedJob:
    """How photos are embedded; sent to workers."""

    make_encoders: MakeEncoders
    """Loads the encoders of a worker."""
    make_here: MakeEncoders | None = None
    """Loads them where the command is given, to know them, perhaps on another device; the same when None."""
    split: str | None = None
    """Split of the rows for which the source says none."""
    num_gpus: float = 0
    """GPUs that a worker needs."""

    def __call__(self) -> "_EmbedWorker":
        """Load the encoders of a worker."""
        return _EmbedWorker(self.make_encoders(), self.split)


class _EmbedWorker:
    """Encoders of one process."""

    def __init__(self, encoders: Mapping[str, ImageEncoder], split: str | None) -> None:
        self._encoders = encoders
        self._split = split

    def do(self, content: bytes, folder: Path, stem: str) -> dict[str, Any]:
        known: set[str] = set()

        def is_new(row_id: str) -> bool:
            before = len(known)
            known.add(row_id)
            return len(known) > before

        shard = EmbeddedShard(self._encoders, self._split, is_new)
        paths: dict[str, str] = {}
        with closing(block_items(content)) as remaining:
            while items := list(islice(remaining, BATCH_ITEMS)):
                shard.add(items)
                paths |= {one.id: str(one.photo) for one in items if isinstance(one, Item)}
        write_shard(folder, stem, shard.rows, shard.vectors())
        failures = [  # named as the source names them, and not by where they were fetched to
            {"image": one.image, "reason": one.reason.replace(paths.get(one.image, one.image), one.image)}
            for one in shard.failures
        ]
        return {"num_rows": len(shard.rows), "failures": failures}


def embed_on_ray(
    plan: Plan,
    job: EmbedJob,
    out: str | os.PathLike[str],
    *,
    num_workers: int | None = None,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> EmbedReport:
    """Make a feature store on Ray; its rows are those that `geotoken.features.embed_source` makes.

    Args:
        plan: The photos in blocks; each becomes a shard.
        job: How they are embedded.
        out: The folder to make, by path or URI; a store once its `manifest.json` is there.
        num_workers: Workers; one a CPU of the cluster when None.
        resume: Whether to go on with an unfinished store, or to take a finished one of the same making.
        progress: Called with (shards done, shards in all).

    Returns:
        How many rows there are, and what was left out and why.

    Raises:
        InputError: No photo could be used, or something else is at `out`.
        ArtifactError: The store cannot be written.
    """
    encoders = (job.make_here or job.make_encoders)()
    check_modalities(encoders, 1)
    dims = {name: one.dim for name, one in encoders.items()}
    work = Job(
        kind=KIND,
        format_version=FORMAT_VERSION,
        make_worker=job,
        settings={
            "split": job.split,
            "encoders": {name: [one.dim, one.name, one.dtype] for name, one in encoders.items()},
            "as": "queries",
        },
        manifest=describe_rows({name: Modality(one.dim, one.name) for name, one in encoders.items()}),
        num_gpus=job.num_gpus,
    )
    del encoders  # the workers have their own
    report = run_job(plan, work, out, num_workers=num_workers, resume=resume, progress=progress)
    failed = report.failures
    if not report.num_rows:
        raise InputError(none_usable(failed))
    return EmbedReport(report.num_rows, failed, dims)
