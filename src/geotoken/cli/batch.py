"""`geotoken locate --out`: many photos to files, through interruptions.

Owns what is said of a batch, and its signals; must not know file formats or how a photo is located.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from geotoken.cli.errors import Terminated, describe, print_error
from geotoken.cli.mllm import WITHOUT_EFFECT as MLLM_WITHOUT_EFFECT
from geotoken.cli.options import check_workers
from geotoken.errors import InputError

if TYPE_CHECKING:
    from types import FrameType

    from geotoken.cli.terminal import JsonArray
    from geotoken.exports import Export
    from geotoken.pipeline import Failure, LocateOptions, Locator
    from geotoken.prediction import Prediction

MOST_WORKERS: Final = 8
"""Processes started at most unless more are asked for: each takes some 250 MB."""

WITHOUT_EFFECT: Final = frozenset(
    {"paths", "out", "resume", "workers", "json", "debug", "map_file", "report", "offline", "engine"}
) | frozenset(MLLM_WITHOUT_EFFECT)
"""Parameters of the command that do not change what is found; runs that differ in others are not joined."""


def check_flags(
    outputs: Sequence[Path] | None, *, resume: bool, together: bool, workers: int | None, pictures: bool
) -> None:
    """Refuse flags that do not fit each other, or files that cannot be written, before any work.

    Args:
        outputs: The files of `--out`.
        resume: Whether `--resume` was given.
        together: Whether `--together` was given.
        workers: The value of `--workers`.
        pictures: Whether `--map` or `--report` was given.

    Raises:
        InputError: If something does not fit.
    """
    check_workers(workers)
    if resume and not outputs:
        raise InputError(
            "--resume goes on with the files of --out; give at least one, such as --out FILE.csv"
        )
    if resume and together:
        raise InputError("--resume does not go with --together: one answer needs all photos at once")
    if resume and pictures:
        raise InputError(
            "--resume does not go with --map and --report, which would show only the photos of this run; "
            "leave them out, or leave out --resume to locate and draw all photos anew"
        )
    if outputs:
        from geotoken.exports import check_outputs

        check_outputs(outputs, resume=resume)


def check_no_input(destinations: Sequence[str | Path], inputs: Iterable[str | Path]) -> None:
    """See that a result would not replace one of the files it is made of.

    Args:
        destinations: Files to be written.
        inputs: Photos, regions and folders that are read; names of other things do no harm.

    Raises:
        InputError: If it would.
    """
    existing = [path for path in map(Path, destinations) if path.exists()]
    for one in map(Path, inputs if existing else ()):
        if os.path.exists(one) and any(path.samefile(one) for path in existing):
            raise InputError(f"{one} is one of the files to be read; write the results to another")


def settings(parameters: Mapping[str, Any], model: Path, gallery: Path | None) -> dict[str, Any]:
    """What decides the answers: flags as given, and hashes of the model, the gallery and files of regions.

    Args:
        parameters: The command's parameters and their values.
        model: Folder of the model.
        gallery: Folder of another gallery than the model's own.

    Returns:
        Names, as flags, and values, JSON-ready.
    """
    found = {
        f"--{name.replace('_', '-')}": value if isinstance(value, int | float | list) else str(value)
        for name, value in sorted(parameters.items())
        if name not in WITHOUT_EFFECT
        and value is not None
        and (parameters.get("mllm") or not name.startswith("mllm_"))
    }
    if parameters.get("within"):
        found["--within"] = [_region(text) for text in parameters["within"]]
    found["--model"] = _fingerprint(model)
    if gallery is not None:
        found["--gallery"] = _fingerprint(gallery)
    return json.loads(json.dumps(found, default=str))  # type: ignore[no-any-return]


def choose_workers(workers: int | None, num_photos: int) -> int:
    """How many processes locate photos.

    Args:
        workers: The value of `--workers`; None leaves the choice to the number of photos.
        num_photos: Photos to be located.

    Returns:
        One a CPU, up to `MOST_WORKERS`, where that is worth their start, else 1; never more than there are
        photos.
    """
    from geotoken.graphs import num_cpus
    from geotoken.parallel import WORTH_PROCESSES

    if workers is None:
        workers = min(num_cpus(), MOST_WORKERS) if num_photos >= WORTH_PROCESSES else 1
    return max(1, min(workers, num_photos))


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the body as Ctrl-C does, so that everything is closed in order.

    Yields:
        Once, for the body.

    Raises:
        Terminated: When the signal comes.
    """

    def end(number: int, frame: "FrameType | None") -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def in_processes(
    num_workers: int, locator: "Locator", options: "LocateOptions", loaded: Mapping[str, Any]
) -> "Iterator[Callable[[Iterable[Path]], Iterator[Prediction | Failure]]]":
    """What locates photos.

    Args:
        num_workers: Processes; 1 for this one alone.
        locator: The locator of this process.
        options: How photos are located.
        loaded: What the locator was loaded with.

    Yields:
        A function from photos to their answers, in order.
    """
    from geotoken.parallel import ParallelLocator

    if num_workers == 1:
        yield partial(locator.locate_many, options=options)
        return
    with ParallelLocator(num_workers, options, **loaded) as parallel:
        yield parallel.locate_many


def run(
    export: "Export",
    photos: "Sequence[Path | Failure]",
    locate: "Callable[[Sequence[Path | Failure]], Iterable[Prediction | Failure]]",
    *,
    top_k: int,
    as_json: bool,
    show: "Callable[[Prediction], None] | None" = None,
    detail: Callable[[], str] | None = None,
) -> int:
    """Locate what is still to be located, write the files, and say how it went.

    Args:
        export: Where answers go.
        photos: All photos of the run, in order.
        locate: Locates photos, in order.
        top_k: Candidates and neighbors of an answer at most.
        as_json: Whether the answers of this run are printed as JSON, too.
        show: Prints an answer; None where there are too many.
        detail: Says in few words what it has come to so far, beside the progress.

    Returns:
        The number of photos that failed.

    Raises:
        KeyboardInterrupt: If the run was interrupted, which has been said.
    """
    from geotoken.cli.terminal import JsonArray, ProgressBar
    from geotoken.pipeline import Failure

    by_name = {_name(photo): photo for photo in photos}
    waiting = [by_name[name] for name in export.plan(list(by_name))]
    num_before = num_done = export.num_done
    num_failed = 0
    try:
        with export, ProgressBar("Locating", detail) as bar:
            with JsonArray() if as_json else nullcontext() as array:
                bar.set(num_done, len(photos))
                for answer in locate(waiting):
                    failed = isinstance(answer, Failure)
                    row = to_row(answer, top_k)
                    export.add(row)
                    num_done += 1
                    num_failed += failed
                    if failed or array or show:
                        with bar.paused():
                            _tell(answer, row, array, show)
                    bar.set(num_done, len(photos))
            export.finish()
    except KeyboardInterrupt:
        print_error(
            f"interrupted: {num_done:,} of {len(photos):,} photos are done; "
            "the same command with --resume goes on from there"
        )
        raise
    print(
        summary(len(photos), num_before, num_failed, export.outputs),
        file=sys.stderr if as_json else sys.stdout,
    )
    return num_failed


def _tell(
    answer: "Prediction | Failure",
    row: Mapping[str, Any],
    array: "JsonArray | None",
    show: "Callable[[Prediction], None] | None",
) -> None:
    """Print one answer, in each of the ways that are asked for."""
    from geotoken.pipeline import Failure

    if isinstance(answer, Failure):
        print_error(row["error"])
    if array:
        array.add(row)
    elif show and not isinstance(answer, Failure):
        show(answer)


def to_row(answer: "Prediction | Failure", top_k: int) -> dict[str, Any]:
    """An answer as an object of the `locate --json` array.

    Args:
        answer: A prediction, or why there is none.
        top_k: Candidates and neighbors listed at most.

    Returns:
        JSON-ready values.
    """
    from geotoken.pipeline import Failure
    from geotoken.prediction import error_to_dict

    if isinstance(answer, Failure):
        return error_to_dict(answer.image, describe(answer.error))
    return answer.to_dict(top_k)


def summary(num_photos: int, num_before: int, num_failed: int, outputs: Sequence[Path]) -> str:
    """What a batch came to, in one line.

    Args:
        num_photos: Photos of the outputs.
        num_before: Those of them that an earlier run had located.
        num_failed: Those that have no answer.
        outputs: Where the answers are.

    Returns:
        The line.
    """
    from geotoken.words import plural, printable

    text = f"{plural(num_photos - num_failed, 'photo')} located"
    if num_before:
        text += f" ({num_before:,} of them before)"
    if num_failed:
        text += f", {num_failed:,} failed"
    return f"{text}; written to {printable(', '.join(map(str, outputs)))}"


def _fingerprint(folder: Path) -> str:
    """The name of a model or gallery folder, and a hash of the hashes of its files."""
    manifest = folder / "manifest.json"
    content = manifest.read_bytes() if manifest.is_file() else b""
    return f"{folder.resolve().name} {sha256(content).hexdigest()[:8]}"


def _region(text: str) -> str:
    """A region as given; of a file, its name and a hash of its content."""
    from geotoken.regions.region import SUFFIXES

    path = Path(text.strip())
    if not path.name.lower().endswith(SUFFIXES):
        return text
    return f"{path.name} {sha256(path.read_bytes()).hexdigest()[:8]}"


def _name(photo: "Path | Failure") -> str:
    return str(photo) if isinstance(photo, Path) else photo.image
