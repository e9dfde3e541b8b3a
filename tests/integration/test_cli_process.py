"""`geotoken` as a true process, with the bundled model."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from geotoken import __version__

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "geotoken"]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")


def run(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        **options,
    )


def test_version():
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"geotoken {__version__}\n", "")


def test_the_bundled_model_locates_the_examples(examples):
    done = run("locate", examples, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    schema = json.loads((ROOT / "docs" / "locate.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(rows)
    assert len(rows) == 8
    himeji = next(row for row in rows if "himeji" in row["image"])
    assert himeji["place"]["country_code"] == "JP"


def test_locating_needs_no_torch(examples):
    script = (
        "import sys\n"
        "sys.modules['torch'] = None\n"  # an import of it fails
        "from geotoken import Locator\n"
        "print(Locator.from_pretrained('mini').locate(sys.argv[1]).place.country)\n"
    )
    photo = str(examples / "himeji-castle.jpg")
    done = subprocess.run([sys.executable, "-c", script, photo], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Japan\n"), done.stderr


def test_a_transformer_locates_without_torch_and_its_network_says_what_to_install(examples, tiny_transformer):
    script = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from geotoken import Locator\n"
        "print(len(Locator.from_pretrained(sys.argv[1]).locate(sys.argv[2]).tokens))\n"
        "from geotoken.cli import main\n"
        "sys.argv = ['geotoken', 'export', sys.argv[1]]\n"
        "main()\n"
    )
    arguments = [sys.executable, "-c", script, str(tiny_transformer), str(examples / "himeji-castle.jpg")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "11\n"), done.stderr
    assert "pip install 'geotoken[train]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_terminal_of_few_letters_gets_what_it_can_show(examples):
    env = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = run("locate", examples / "himeji-castle.jpg", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "Himeji" in done.stdout


@POSIX
def test_a_reader_that_leaves_is_no_error(examples):
    process = subprocess.Popen(
        [*COMMAND, "locate", str(examples), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(timeout=120) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


@POSIX
def test_ctrl_c_leaves_valid_json_and_exit_code_130(examples, tmp_path):
    photos = []
    for number in range(300):  # longer than it takes to press the keys
        photos.append(tmp_path / f"{number}.jpg")
        photos[-1].symlink_to(examples / "himeji-castle.jpg")
    process = subprocess.Popen(
        [*COMMAND, "locate", *map(str, photos), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = process.stdout.readline() + process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert stderr == ""
    assert 1 <= len(json.loads(first + rest)) < 300


@POSIX
def test_a_full_disk_is_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    for arguments in (["--version"], ["tokens", "encode", "1", "2", "--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
