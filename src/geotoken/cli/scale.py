"""`geotoken locate --engine ray`: many photos to a folder of Parquet shards.

Owns what is said of it, and which flags it has no use for; must not know how work is spread.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geotoken.cli.batch import settings, summary
from geotoken.cli.errors import describe, exit_after_batch, print_error
from geotoken.errors import InputError

if TYPE_CHECKING:
    from geotoken.pipeline import LocateOptions

_USELESS = ("together", "map_file", "report", "json")
_FLAGS = {"map_file": "--map"}


def locate_on_ray(
    paths: Sequence[str],
    options: "LocateOptions",
    loaded: Mapping[str, Any],
    parameters: Mapping[str, Any],
) -> None:
    """Locate photos on Ray, and say how it went.

    Args:
        paths: Folders, photos, tars and manifests, by path or URI.
        options: How photos are located.
        loaded: What `Locator.from_pretrained` gets.
        parameters: The command's parameters and their values.

    Raises:
        InputError: A flag has no use here, or `--out` is not one folder.
        typer.Exit: If photos failed.
    """
    given = [_FLAGS.get(name, f"--{name}") for name in _USELESS if parameters[name]]
    if given:
        raise InputError(
            f"{given[0]} does not go with --engine ray, which writes rows to a folder; leave it out"
        )
    out = parameters["out"] or []
    if len(out) != 1:
        raise InputError("--engine ray writes one folder of Parquet shards; give it by --out FOLDER")
    from geotoken.artifact import find_model
    from geotoken.cli.terminal import ProgressBar
    from geotoken.scale import LocateJob, plan_photos
    from geotoken.scale import locate_on_ray as run
    from geotoken.scale.locate import BLOCK_PHOTOS

    folder = find_model(str(loaded["model"]), offline=loaded["offline"])
    job = LocateJob(
        options=options,
        loaded={name: _absolute(value) for name, value in loaded.items()},
        settings=settings(parameters, folder, loaded["gallery"]),
        describe=describe,
    )
    plan = plan_photos(paths, block_photos=BLOCK_PHOTOS, full_names=True)
    with ProgressBar("Locating") as bar:
        report = run(
            plan, job, str(out[0]), num_workers=parameters["workers"], resume=parameters["resume"],
            progress=bar.set,
        )  # fmt: skip
    failures = report.failures
    for failure in failures:
        print_error(failure.reason)
    print(summary(report.num_rows, 0, len(failures), out))
    exit_after_batch(report.num_rows, len(failures))


def _absolute(value: Any) -> Any:
    """A folder of this machine by its whole path: workers may run elsewhere in it."""
    is_folder = isinstance(value, str | Path) and Path(value).is_dir()
    return str(Path(value).absolute()) if is_folder else value
