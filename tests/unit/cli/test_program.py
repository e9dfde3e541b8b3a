import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from geotoken import __version__
from geotoken.cli import app

COMMANDS = {
    "locate": set(),
    "eval": set(),
    "embed": set(),
    "gallery": {"add", "build", "info", "merge", "reindex", "remove", "search"},
    "tokens": {"encode", "decode"},
    "models": {"list", "info", "pull", "push"},
    "export": set(),
    "serve": set(),
    "train": {"align", "decoder", "reward"},
}
HEAVY = {"numpy", "torch", "onnxruntime", "faiss", "duckdb", "PIL"}


def test_the_commands_are_these_and_no_others():
    commands = get_command(app).commands
    assert {name: set(getattr(one, "commands", {})) for name, one in commands.items()} == COMMANDS


def test_every_command_has_json_and_debug():
    for group in get_command(app).commands.values():
        for command in getattr(group, "commands", {"": group}).values():
            flags = {flag for parameter in command.params for flag in parameter.opts}
            assert {"--json", "--debug"} <= flags
            assert command.help
            assert all(parameter.help for parameter in command.params)


def test_version():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"geotoken {__version__}\n")


@pytest.mark.parametrize("arguments", [["nope"], ["--nope"], ["gallery", "nope"]])
def test_an_unknown_command_is_a_usage_error(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["locate", "--help"],
        ["eval", "--help"],
        ["gallery", "build", "--help"],
        ["tokens", "--help"],
    ],
)
def test_help_imports_nothing_heavy(arguments):
    script = (
        "import sys\n"
        "from geotoken.cli import main\n"
        f"sys.argv = ['geotoken', *{arguments!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert stop.code == 0\n"
        "print('\\nmodules:', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    output, _, modules = run.stdout.partition("\nmodules:")
    assert output
    assert "typer" in modules.split()
    assert not HEAVY & set(modules.split())
