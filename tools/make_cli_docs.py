"""Write docs/cli.md from the commands themselves, their real output, the exit codes and the JSON schema.

Owns the layout of the page; must not say anything about a flag that its help does not.

    python tools/make_cli_docs.py            # write the page
    python tools/make_cli_docs.py --check    # exit code 1 if the page is stale

Another processor may change the last digit of a probability. So the check takes numbers in the output of
commands as equal that differ by a few percent, and everything else to the letter.
"""

import argparse
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from geotoken.artifact import bundled_models
from geotoken.cli import app
from geotoken.cli.errors import (
    ALL_FAILED,
    BUG,
    CLOSED_PIPE,
    EXIT_CODES,
    INTERRUPTED,
    SOME_FAILED,
    TERMINATED,
)
from hub_server import TOKEN, Hub

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cli.md"
SCHEMA = ROOT / "docs" / "locate.schema.json"

EXAMPLES = {
    "geotoken locate": (
        "geotoken locate examples/himeji-castle.jpg",
        "geotoken locate examples/himeji-castle.jpg --within country=PE",
        "geotoken locate examples --map map.html --report report --out answers.csv",
        "cut -d, -f 1-6,13-16 answers.csv",
        "geotoken locate examples --out answers.csv --resume",
    ),
    "geotoken eval": (
        "geotoken eval --images examples --truth examples/attribution.csv --predictions ours.csv",
        "geotoken eval --images examples --truth examples/attribution.csv --predictions far.csv "
        "--exclude-near 1",
        "geotoken eval --compare ours.csv far.csv --json figures.json",
    ),
    "geotoken embed": ("geotoken embed examples/attribution.csv --out features --split train",),
    "geotoken gallery build": ("geotoken gallery build examples/attribution.csv --out mine",),
    "geotoken gallery add": ("geotoken gallery add mine examples/attribution.csv",),
    "geotoken gallery remove": ("geotoken gallery remove mine --id seceda-dolomites.jpg",),
    "geotoken gallery merge": ("geotoken gallery merge both mini/gallery mine",),
    "geotoken gallery reindex": ("geotoken gallery reindex both --index hnsw",),
    "geotoken gallery search": ("geotoken gallery search examples/himeji-castle.jpg -k 2",),
    "geotoken gallery info": ("geotoken gallery info both --check",),
    "geotoken tokens encode": ("geotoken tokens encode -33.8568 151.2153",),
    "geotoken tokens decode": ("geotoken tokens decode 3 5 8 9",),
    "geotoken models list": ("geotoken models list",),
    "geotoken models info": ("geotoken models info mini",),
    "geotoken models push": ("geotoken models push mini me/another",),
    "geotoken models pull": (
        "geotoken models push mini me/mini",
        "geotoken models pull me/mini",
        "geotoken models info me/mini --offline",
    ),
}
"""Commands whose output is shown, run one after the other in a folder with `examples` and `mini`."""

HUB = "https://huggingface.co"
"""What stands for the address of the local server that plays the hub."""

_NUMBER = re.compile(r"[<>(]*([0-9][0-9,]*(?:\.[0-9]+)?)[).,;]*")
_BAR = re.compile("[━╸╺]+")


def main() -> int:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 if the page is stale"
    )
    args = parser.parse_args()
    os.chdir(ROOT)
    with running() as runner:
        page = "\n".join(make_page(runner)) + "\n"
    if not args.check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if same_page(written, page):
        return 0
    print(f"{PAGE.relative_to(ROOT)} is stale; run python tools/make_cli_docs.py", file=sys.stderr)
    return 1


def make_page(runner: "Runner") -> Iterator[str]:
    """The lines of the page."""
    root = get_command(app)
    yield "# Command line"
    yield ""
    yield "Made by `python tools/make_cli_docs.py` from the commands themselves; do not edit."
    yield ""
    yield root.help or ""
    yield ""
    yield "Results go to stdout, errors and the progress bar to stderr. Colours and bars are left out where"
    yield "there is no terminal, colours also where `NO_COLOR` is set. Nothing is downloaded,"
    yield "unless a model of the hub is named. The examples ran one after the other in one folder; the hub in"
    yield "them was a server on the same machine."
    yield from _exit_codes()
    for name, command in root.commands.items():
        yield from _command(f"geotoken {name}", command, runner, level=2)


def same_page(written: str, made: str) -> bool:
    """Compare two pages, with tolerance for numbers in the output of commands.

    Args:
        written: The page as it is.
        made: The page as it should be.

    Returns:
        Whether they say the same.
    """
    old, new = written.split("```"), made.split("```")
    # Every second part is the inside of a fence.
    return len(old) == len(new) and all(
        _same_output(a, b) if i % 2 else a == b for i, (a, b) in enumerate(zip(old, new, strict=True))
    )


def _same_output(old: str, new: str) -> bool:
    old_words, new_words = (_BAR.sub(" ", text).replace(",", " ").split() for text in (old, new))
    return len(old_words) == len(new_words) and all(map(_same_word, old_words, new_words))


def _same_word(old: str, new: str) -> bool:
    a, b = _NUMBER.fullmatch(old), _NUMBER.fullmatch(new)
    if a is None or b is None:
        return old == new
    x, y = (float(match[1].replace(",", "")) for match in (a, b))
    return abs(x - y) <= max(0.05 * max(x, y), 0.11)


def _exit_codes() -> Iterator[str]:
    of_errors: dict[int, list[str]] = {}
    for kind, code in EXIT_CODES.items():
        of_errors.setdefault(code, []).append(f"`{kind.__name__}`")
    meanings = {
        0: "All went well.",
        BUG: "A bug in geotoken: please report it with what `--debug` prints.",
        ALL_FAILED: f"Usage or input ({', '.join(of_errors[2])}); also when every photo failed.",
        3: f"A model or gallery folder is missing or damaged ({', '.join(of_errors[3])}).",
        SOME_FAILED: "Some photos of several failed; the others were done.",
        INTERRUPTED: "Interrupted by Ctrl-C.",
        TERMINATED: "Ended by SIGTERM during a batch.",
        CLOSED_PIPE: "Whoever read the output stopped reading.",
    }
    yield ""
    yield "## Exit codes"
    yield ""
    yield "| code | meaning |"
    yield "| --- | --- |"
    for code, meaning in meanings.items():
        yield f"| {code} | {meaning} |"
    yield ""
    yield "An error is one line on stderr that begins with `error:`."


def _command(name: str, command: Any, runner: "Runner", *, level: int) -> Iterator[str]:
    yield ""
    yield f"{'#' * level} {name}"
    yield ""
    yield from (command.help or "").strip().splitlines()
    if hasattr(command, "commands"):
        for sub_name, sub_command in command.commands.items():
            yield from _command(f"{name} {sub_name}", sub_command, runner, level=level + 1)
        return
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = " ".join(_argument(one) for one in arguments)
    yield ""
    yield f"    {name} [OPTIONS] {usage}".rstrip()
    yield ""
    yield "| argument or option | meaning | default |"
    yield "| --- | --- | --- |"
    for one in arguments:
        yield f"| `{_argument(one)}` | {one.help} | {_default(one)} |"
    for one in options:
        value = f" {one.metavar}" if one.metavar else ""
        yield f"| `{', '.join(one.opts)}{value}` | {one.help} | {_default(one)} |"
    if name == "geotoken locate":
        yield from _json_keys()
    if name in EXAMPLES:
        yield ""
        yield "```text"
        for number, line in enumerate(EXAMPLES[name]):
            if number:
                yield ""
            yield f"$ {line}"
            yield from runner(line)
        yield "```"


def _argument(argument: Any) -> str:
    return f"{argument.metavar}..." if argument.nargs == -1 else str(argument.metavar)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.default is None or parameter.default is False:
        return ""
    return f"`{parameter.default}`"


def _json_keys() -> Iterator[str]:
    kinds = json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    yield ""
    yield "`--json` prints one array, one object a photo in the order given, each on a line of its own, also"
    yield "for photos that failed. The [schema](locate.schema.json) says it exactly."
    for kind, title in (("located", "a photo that was located"), ("failed", "a photo that failed")):
        yield ""
        yield f"| key of {title} | meaning |"
        yield "| --- | --- |"
        for key, value in kinds[kind]["properties"].items():
            optional = "" if key in kinds[kind]["required"] else " (optional)"
            yield f"| `{key}`{optional} | {value['description']} |"


class Runner:
    """Runs commands in a scratch folder, with a hub of its own."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self._folder = folder
        self._hub = hub
        (folder / "examples").symlink_to(ROOT / "examples")
        (folder / "mini").symlink_to(bundled_models()["mini"])
        self._environment = os.environ | {
            "COLUMNS": "80",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(folder / "home"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONWARNINGS": "ignore",
        }

    def __call__(self, command: str) -> Iterator[str]:
        """Run a command.

        Args:
            command: It and its arguments.

        Yields:
            Lines of what it prints: results, then what it reports.

        Raises:
            SystemExit: It failed.
        """
        words = shlex.split(command)
        if words[0] == "geotoken":
            words = [sys.executable, "-m", *words]
        # Facts about models hold paths, which must not be wrapped at a place that depends on the machine.
        environment = self._environment | ({"COLUMNS": "240"} if words[3:4] == ["models"] else {})
        done = subprocess.run(
            words, cwd=self._folder, env=environment, capture_output=True, text=True, check=False
        )
        printed = "\n".join(part.strip("\n") for part in (done.stdout, done.stderr) if part.strip())
        if done.returncode:
            raise SystemExit(f"{command}: exit code {done.returncode}\n{printed}")
        printed = printed.replace(self._hub.url, HUB).replace(str(self._folder), "~")
        printed = printed.replace(str(ROOT / "src"), "site-packages")
        yield from (line.rstrip() for line in printed.splitlines())


@contextlib.contextmanager
def running() -> Iterator[Runner]:
    """A runner, while its hub serves."""
    with tempfile.TemporaryDirectory() as folder, Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever)
        thread.start()
        try:
            yield Runner(Path(folder), hub)
        finally:
            hub.shutdown()
            thread.join()


if __name__ == "__main__":
    raise SystemExit(main())
