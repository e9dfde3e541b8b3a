"""Blocks to shards on Ray Data, each written exactly once.

Owns the actors, the records of finished shards and going on after a stop; must not know what a shard holds.

Exactly once: a shard is named by its block. A worker writes its files beside their places and renames them,
then its record, which is what makes it count. A block that was done twice, for its worker was killed
between, replaces equal files by equal ones.
"""

import hashlib
import json
import logging
import os
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NoReturn, Protocol

import ray
import ray.data
import ray.exceptions

from geotoken import errors
from geotoken.errors import ArtifactError, GeoTokenError, InputError, reason_of
from geotoken.features.write import FAILURES_NAME
from geotoken.gallery.sources import BuildError
from geotoken.manifest import MANIFEST_NAME, file_entry
from geotoken.scale.plan import Block, Plan
from geotoken.scale.storage import Place, place_of
from geotoken.version import __version__

PROGRESS: Final = ".progress"
"""Folder of the records, beside the shards until the last one is there."""

_BUILD: Final = "build.json"
_MOST_RAY_BLOCKS: Final = 4096
_ATTEMPTS: Final = 4  # at a block; Ray would try one whose photo ends every process forever


class Worker(Protocol):
    """What does blocks; made once in each actor, with the model."""

    def do(self, content: bytes, folder: Path, stem: str) -> dict[str, Any]:
        """Write the files of a shard, with names that begin with `stem`, into an empty folder.

        Returns what its record says: at least `num_rows`, and `failures`: `image` and `reason` of each photo
        that failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What shall be done with a plan."""

    kind: str
    """What the manifest of the finished folder calls it."""
    format_version: int
    """Version of the folder's layout."""
    make_worker: Callable[[], Worker]
    """Makes the worker of an actor; sent to it, so it holds no model."""
    settings: Mapping[str, Any]
    """What decides the content of the shards, beside the plan; JSON-ready."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of the manifest."""
    num_gpus: float = 0
    """GPUs that a worker needs."""


@dataclass(frozen=True, slots=True)
class ScaleReport:
    """How a job went."""

    records: list[dict[str, Any]]
    """Record of each shard, in order."""

    @property
    def num_rows(self) -> int:
        """Rows of all shards."""
        return sum(int(record["num_rows"]) for record in self.records)

    @property
    def failures(self) -> list[BuildError]:
        """Photos that failed, in order."""
        return [BuildError(**one) for record in self.records for one in record["failures"]]


def run_job(
    plan: Plan,
    job: Job,
    out: str | os.PathLike[str],
    *,
    num_workers: int | None = None,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ScaleReport:
    """Do all blocks of a plan.

    Ray is used as it is found: connected to already, named by RAY_ADDRESS, or started on this machine.

    Args:
        plan: The blocks.
        job: What is done with each.
        out: The folder to write, by path or URI. Finished when its `manifest.json` is there.
        num_workers: Actors; one a CPU of the cluster when None.
        resume: Whether to go on with an unfinished folder of the same job, or to take a finished one.
        progress: Called with (shards done, shards in all).

    Returns:
        The records of all shards.

    Raises:
        InputError: Something else is at `out`, or what a worker refuses.
        ArtifactError: It cannot be written; or what a worker finds damaged.
        GeoTokenError: What else a worker raises.
    """
    if num_workers is not None and num_workers < 1:
        raise InputError(f"num_workers (--workers) is {num_workers}; give a whole number of at least 1")
    if not plan.blocks:
        raise InputError("there are no photos; give a folder, a manifest or tars")
    place = place_of(out)
    fingerprint = _fingerprint(plan, job)
    if _is_finished(place, job, fingerprint, resume=resume):
        return ScaleReport(_finished_records(place))
    records = _begin(place, job, fingerprint, resume=resume)
    waiting = [block for block in plan.blocks if block.number not in records]
    if progress is not None:
        progress(len(records), len(plan.blocks))
    if waiting:
        for number in _results(waiting, job, place, num_workers):
            records[number] = json.loads((place / PROGRESS / f"{number:05}.json").read())
            if progress is not None:
                progress(len(records), len(plan.blocks))
    missing = [block.number for block in plan.blocks if block.number not in records]
    if missing:
        raise ArtifactError(f"{place.uri} lacks {len(missing)} shards; go on with --resume")
    report = ScaleReport([records[block.number] for block in plan.blocks])
    if report.num_rows:
        _finish(place, job, fingerprint, report)
    else:
        place.remove()
    return report


class _Actor:
    """A worker in a process of its own."""

    def __init__(self, job: Job, out: str, run: str) -> None:
        self._out = Place(out)
        self._run = run
        self._worker: Worker | None = None
        self._job = job

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Do the blocks of a batch; what goes wrong is returned, as Ray would wrap it beyond recognition."""
        numbers, told, traces = [], [], []
        for number, content in zip(batch["number"].tolist(), batch["content"], strict=True):
            error_text, trace = "", ""
            try:
                self._do(number, bytes(content))
            except OSError as error:
                error_text = (
                    f"ArtifactError:a worker failed ({reason_of(error)}); check space and permissions"
                )
            except Exception as error:
                error_text, trace = f"{type(error).__name__}:{error}", traceback.format_exc()
            numbers.append(number)
            told.append(error_text)
            traces.append(trace)
        return {"number": numbers, "error": told, "trace": traces}

    def _do(self, number: int, content: bytes) -> None:
        self._count_attempt(number)
        if self._worker is None:
            self._worker = self._job.make_worker()
        with TemporaryDirectory(prefix="geotoken-") as scratch:
            folder = Path(scratch)
            record = self._worker.do(content, folder, f"{number:05}")
            files = {path.name: file_entry(path) for path in sorted(folder.iterdir())}
            for name in files:
                (self._out / name).put(folder / name)
        record_place = self._out / PROGRESS / f"{number:05}.json"
        record_place.put_bytes(json.dumps({**record, "files": files}).encode())

    def _count_attempt(self, number: int) -> None:
        """Note that a block is begun, before anything can go wrong.

        Raises:
            InputError: It was begun too often in this run: its workers died.
        """
        place = self._out / PROGRESS / f".{number:05}.attempts"
        before = _read_json(place)
        attempts = int(before["attempts"]) if before.get("run") == self._run else 0
        if attempts >= _ATTEMPTS:
            raise InputError(
                f"the worker died {attempts} times at block {number}; look for a photo that ends the "
                "process, or for want of memory, then go on with --resume"
            )
        place.put_bytes(json.dumps({"run": self._run, "attempts": attempts + 1}).encode())


def _results(waiting: list[Block], job: Job, place: Place, num_workers: int | None) -> Iterator[int]:
    """Numbers of the blocks as they are done.

    Raises:
        InputError: Ray failed.
    """
    _connect(num_workers)
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    size = num_workers or max(1, int(resources.get("CPU", 1)))
    items = [{"number": block.number, "content": block.content} for block in waiting]
    done = ray.data.from_items(items, override_num_blocks=min(len(items), _MOST_RAY_BLOCKS)).map_batches(
        _Actor,
        fn_constructor_args=(job, place.uri, uuid.uuid4().hex),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(size, len(items))),
        num_cpus=1,
        num_gpus=job.num_gpus or None,
    )
    try:
        for row in done.iter_rows():
            if row["error"]:
                _raise_again(row["error"], row["trace"])
            yield row["number"]
    except ray.exceptions.RayError as error:
        raise InputError(
            f"Ray failed ({reason_of(error)[:200]}); what is done is kept: go on with --resume"
        ) from error


def _raise_again(told: str, trace: str) -> NoReturn:
    """Raise what a worker raised.

    Raises:
        GeoTokenError: It was one, of the same kind.
        RuntimeError: It was something else, which is a bug; the worker's traceback is a note.
    """
    name, _, message = told.partition(":")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, GeoTokenError):
        raise kind(message)
    error = RuntimeError(f"{name} in a worker: {message}")
    error.add_note(trace)
    raise error


def _connect(num_workers: int | None) -> None:
    """Connect to Ray, or start it here; it reports its use to nobody and prints nothing.

    Raises:
        InputError: It can be neither reached nor started.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what is written in C++ goes to stderr as well
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if not ray.is_initialized():
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            with _without_stderr():
                try:
                    ray.init(num_cpus=num_workers, include_dashboard=False, **quiet)
                except ValueError:  # there is a cluster, and it has its own
                    ray.init(**quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"Ray can be neither reached nor started ({reason_of(error)}); check RAY_ADDRESS, or leave "
                "it unset to use this machine"
            ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Keep what libraries in C++ write there from the terminal; what goes wrong is an exception."""
    sys.stderr.flush()
    before = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _fingerprint(plan: Plan, job: Job) -> str:
    text = json.dumps([job.kind, plan.fingerprint, dict(job.settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_finished(place: Place, job: Job, fingerprint: str, *, resume: bool) -> bool:
    """Whether the same job is finished there.

    Raises:
        InputError: Something is finished there that is not to be taken.
    """
    if (place / MANIFEST_NAME).kind() != "file":
        return False
    found = _read_json(place / MANIFEST_NAME)
    if not resume or found.get("fingerprint") != fingerprint:
        raise InputError(
            f"{place.uri} is already there, made of other photos or not to be resumed; choose another"
        )
    return True


def _finished_records(place: Place) -> list[dict[str, Any]]:
    return list(_read_json(place / MANIFEST_NAME)["records"])


def _begin(place: Place, job: Job, fingerprint: str, *, resume: bool) -> dict[int, dict[str, Any]]:
    """Records of the shards that are there, after a folder was begun or found again.

    Raises:
        InputError: Something else is there, or an unfinished folder and `resume` is not set.
    """
    progress = place / PROGRESS
    found = _read_json(progress / _BUILD)
    if found:
        if not resume or found.get("fingerprint") != fingerprint:
            raise InputError(
                f"{place.uri} is unfinished; go on with it by the same command and --resume, or remove it"
            )
        names = [name for name, _ in progress.files() if name != _BUILD and not name.startswith(".")]
        return {int(Path(name).stem): json.loads((progress / name).read()) for name in names}
    if place.kind() == "file" or place.files():
        raise InputError(f"{place.uri} exists and is not of an unfinished run; choose another folder")
    (progress / _BUILD).put_bytes(json.dumps({"kind": job.kind, "fingerprint": fingerprint}).encode())
    return {}


def _finish(place: Place, job: Job, fingerprint: str, report: ScaleReport) -> None:
    files = {name: entry for record in report.records for name, entry in record["files"].items()}
    if report.failures:
        lines = "".join(json.dumps(asdict(one)) + "\n" for one in report.failures).encode()
        (place / FAILURES_NAME).put_bytes(lines)
        files[FAILURES_NAME] = {"sha256": hashlib.sha256(lines).hexdigest(), "bytes": len(lines)}
    kept = ("num_rows", "failures")
    content = {
        "format": job.kind,
        "format_version": job.format_version,
        **job.manifest,
        "shards": [f"{number:05}" for number in range(len(report.records))],
        "num_rows": report.num_rows,
        "num_failures": len(report.failures),
        "fingerprint": fingerprint,
        "geotoken_version": __version__,
        "files": files,
        "records": [{name: one[name] for name in kept} for one in report.records],
    }
    (place / MANIFEST_NAME).put_bytes((json.dumps(content, indent=1) + "\n").encode())
    (place / PROGRESS).remove()


def _read_json(place: Place) -> dict[str, Any]:
    """What a file of ours says; nothing if it is absent or something else."""
    try:
        found = json.loads(place.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
