"""Bad input of every kind at the command line: one line of error, the right exit code, nothing left behind.

One table; a row says how the input is made, the arguments, the exit code and a fragment of the message.
"""

import json
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geotoken.cli import app, errors
from geotoken.images import embed
from hostile import commands, locating
from hostile.inputs import GOOD, Row, photo

MAX_SECONDS = 20
"""No row may hang."""
ROWS = [*locating.ROWS, *commands.ROWS]
IN_A_PROCESS = ("path-not-unicode", "flag-top-k=abc", "command-unknown", "model-ansi")


def test_every_row_has_its_own_name_and_there_are_enough():
    names = [row.id for row in ROWS]
    assert len(set(names)) == len(names) >= 50
    assert set(IN_A_PROCESS) <= set(names)


@pytest.fixture(autouse=True)
def no_hang():
    """Let a row that waits for something fail."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def fail(number, frame):
        raise TimeoutError(f"still running after {MAX_SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(MAX_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module", autouse=True)
def one_network():
    """Open the network of the encoder once for all rows."""
    patch = pytest.MonkeyPatch()
    patch.setattr(embed, "_session", cache(embed._session))
    yield
    patch.undo()


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Name, node, size and time of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_bad_input_is_one_line_and_leaves_nothing(row, tiny_model, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / GOOD).write_bytes(photo())
    if row.make is not None:
        row.make(work, tiny_model)
    before = snapshot(work)
    arguments = [part.replace("{w}", str(work)).replace("{m}", str(tiny_model)) for part in row.arguments]
    result = CliRunner().invoke(app, arguments)
    after = snapshot(work)
    check(row, result.exit_code, result.stdout, result.stderr, work)
    assert after.keys() - before.keys() <= {name for name in after if name.split("/")[0] in row.leaves}, (
        "something was left behind"
    )
    assert {name: after[name] for name in before if not (work / name).is_dir()} == {
        name: state for name, state in before.items() if not (work / name).is_dir()
    }


@pytest.mark.parametrize("id", IN_A_PROCESS)
def test_bad_input_in_a_process(id, tiny_model, tmp_path):
    row = next(row for row in ROWS if row.id == id)
    (tmp_path / GOOD).write_bytes(photo())
    if row.make is not None:
        row.make(tmp_path, tiny_model)
    arguments = [part.replace("{w}", str(tmp_path)).replace("{m}", str(tiny_model)) for part in row.arguments]
    done = subprocess.run(
        [sys.executable, "-m", "geotoken", *arguments], capture_output=True, timeout=MAX_SECONDS, check=False
    )
    check(row, done.returncode, done.stdout.decode(), done.stderr.decode(), tmp_path)


def check(row: Row, code: int, stdout: str, stderr: str, work: Path) -> None:
    assert "Traceback" not in stdout + stderr
    assert code == row.code, stderr
    assert row.fragment in stderr
    lines = stderr.splitlines()
    assert len(lines) == (row.code != 0), stderr
    for line in lines:
        assert line.startswith("error: ")
        assert line.isprintable()
        assert len(line) <= errors.MAX_LINE + len("error: ")
    assert all(line.isprintable() for line in stdout.splitlines())
    if "--json" in row.arguments and stdout:
        json.loads(stdout)
