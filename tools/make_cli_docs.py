"""Write docs/cli.md from the commands themselves, their real output, the exit codes and the JSON schema.

Owns the layout of the page; must not say anything about a flag that its help does not.

    python tools/make_cli_docs.py            # write the page
    python tools/make_cli_docs.py --check    # exit code 1 if the page is stale

Another processor may change the last digit of a probability. So the check takes numbers in the output of
commands as equal that differ by a few percent, and everything else to the letter.
"""

import argparse
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from geotoken.cli import app
from geotoken.cli.errors import ALL_FAILED, BUG, CLOSED_PIPE, EXIT_CODES, INTERRUPTED, SOME_FAILED

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cli.md"
SCHEMA = ROOT / "docs" / "locate.schema.json"

EXAMPLES = {
    "geotoken locate": "geotoken locate examples/himeji-castle.jpg",
    "geotoken gallery search": "geotoken gallery search examples/himeji-castle.jpg -k 2",
    "geotoken gallery info": "geotoken gallery info src/geotoken/data/models/mini/gallery --check",
    "geotoken tokens encode": "geotoken tokens encode -33.8568 151.2153",
    "geotoken tokens decode": "geotoken tokens decode 3 5 8 9",
    "geotoken models list": "geotoken models list",
}
"""Commands whose output is shown, run in the project's folder."""

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
    page = "\n".join(make_page()) + "\n"
    if not args.check:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if same_page(written, page):
        return 0
    print(f"{PAGE.relative_to(ROOT)} is stale; run python tools/make_cli_docs.py", file=sys.stderr)
    return 1


def make_page() -> Iterator[str]:
    """The lines of the page."""
    root = get_command(app)
    yield "# Command line"
    yield ""
    yield "Made by `python tools/make_cli_docs.py` from the commands themselves; do not edit."
    yield ""
    yield root.help or ""
    yield ""
    yield "Results go to stdout, errors and the progress bar to stderr. Colours and bars are left out where"
    yield "there is no terminal, colours also where `NO_COLOR` is set. Nothing is ever downloaded."
    yield from _exit_codes()
    for name, command in root.commands.items():
        yield from _command(f"geotoken {name}", command, level=2)


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
    old_words, new_words = (_BAR.sub(" ", text).split() for text in (old, new))
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


def _command(name: str, command: Any, *, level: int) -> Iterator[str]:
    yield ""
    yield f"{'#' * level} {name}"
    yield ""
    yield from (command.help or "").strip().splitlines()
    if hasattr(command, "commands"):
        for sub_name, sub_command in command.commands.items():
            yield from _command(f"{name} {sub_name}", sub_command, level=level + 1)
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
        yield f"$ {EXAMPLES[name]}"
        yield from _output(EXAMPLES[name])
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


def _output(command: str) -> Iterator[str]:
    environment = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    result = CliRunner(env=environment).invoke(app, shlex.split(command)[1:])
    if result.exit_code:
        raise SystemExit(f"{command}: exit code {result.exit_code}\n{result.output}")
    yield from "\n".join(line.rstrip() for line in result.stdout.splitlines()).strip("\n").splitlines()


if __name__ == "__main__":
    raise SystemExit(main())
