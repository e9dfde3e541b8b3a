"""How long does a person wait for a place, and how large is what has to be installed for it?

Times the command line from a cold start, `Locator.locate` when warm, and a batch; adds up the installed size
of the base packages. `--json` prints a JSON list; a figure in the docs comes from
`benchmarks/results/locate.json`, written by `--out`.

    python benchmarks/locate.py --json --out benchmarks/results/locate.json
"""

import argparse
import statistics
import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement  # packaging comes with faiss-cpu and onnxruntime
from packaging.utils import canonicalize_name

from common import median_seconds, provenance, write_json
from geotoken import Failure, Locator
from geotoken.images.read import find_images

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

LIMITS = {"cold_cli": "under 3 s", "warm": "under 100 ms a photo", "batch": "over 40 photos/s"}
"""What each stage must reach on 2 cores."""


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=EXAMPLES, help="photos of the batch")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--batch", type=int, default=400, help="photos of the batch; few are repeated")
    parser.add_argument("--repeats", type=int, default=7, help="runs of each timing; the median counts")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    parser.add_argument("--out", type=Path, help="also write the JSON list to this file")
    args = parser.parse_args()
    rows = [
        *measure_cli(args.model, args.repeats),
        *measure_library(args.model, args.folder, args.batch, args.repeats),
        measure_packages(),
    ]
    about = provenance()
    text = write_json([row | about for row in rows], args.out)
    if args.json:
        print(text, end="")
        return
    for row in rows:
        figures = ", ".join(f"{name} {_short(value)}" for name, value in row.items() if name != "stage")
        limit = f"  ({LIMITS[row['stage']]})" if row["stage"] in LIMITS else ""
        print(f"{row['stage']:<14}{figures}{limit}")


def measure_cli(model: str, repeats: int) -> list[dict[str, Any]]:
    """Time whole processes: from the start of Python to the last letter of the answer."""
    photo = str(find_images([EXAMPLES])[0])
    commands = {
        "version": ["--version"],
        "help": ["--help"],
        "cold_cli": ["locate", photo, "--json", "--model", model],
    }
    return [
        {"stage": stage, "seconds": median_seconds(lambda: run_cli(arguments), repeats)}  # noqa: B023
        for stage, arguments in commands.items()
    ]


def run_cli(arguments: list[str]) -> None:
    """Run the command line once.

    Raises:
        CalledProcessError: If it fails.
    """
    subprocess.run([sys.executable, "-m", "geotoken", *arguments], capture_output=True, check=True)


def measure_library(model: str, folder: Path, num_photos: int, repeats: int) -> list[dict[str, Any]]:
    """Time a loaded locator on single photos, and on a batch of files."""
    start = time.perf_counter()
    locator = Locator.from_pretrained(model)
    load_s = time.perf_counter() - start
    warm_s = [
        median_seconds(lambda: locator.locate(photo), repeats)  # noqa: B023
        for photo in find_images([EXAMPLES])
    ]
    batch = list(islice(cycle(find_images([folder])), num_photos))
    start = time.perf_counter()
    num_failed = sum(isinstance(answer, Failure) for answer in locator.locate_many(batch))
    batch_s = time.perf_counter() - start
    return [
        {"stage": "load", "seconds": load_s},
        {"stage": "warm", "seconds": statistics.median(warm_s), "slowest_seconds": max(warm_s)},
        {
            "stage": "batch",
            "seconds": batch_s,
            "num_photos": len(batch),
            "num_failed": num_failed,
            "photos_per_s": len(batch) / batch_s,
        },
    ]


def measure_packages() -> dict[str, Any]:
    """Add up the files of the base packages and all that they need, as installed here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    megabytes: dict[str, float] = {}
    missing = []
    waiting = [Requirement(text) for text in project["dependencies"]]
    while waiting:
        needed = waiting.pop()
        name = canonicalize_name(needed.name)
        if name in megabytes or (needed.marker and not needed.marker.evaluate({"extra": ""})):
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        files = {Path(str(file.locate())) for file in found.files or ()}
        megabytes[name] = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
        waiting += [Requirement(text) for text in found.requires or ()]
    return {
        "stage": "base_packages",
        "megabytes": sum(megabytes.values()),
        "packages": dict(sorted(megabytes.items(), key=lambda item: -item[1])),
        "missing": missing,
    }


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(part)}" for name, part in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
