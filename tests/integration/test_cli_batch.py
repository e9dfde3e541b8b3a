"""`geotoken locate --out` on the tiny model: by Typer's runner, and as a true process that is killed."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from typer.testing import CliRunner

from geotoken.cli import app

POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
SCHEMA = json.loads(Path(__file__).parents[2].joinpath("docs/locate.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def locate(tiny_model, monkeypatch):
    """Run the command on the tiny model; the exit code is checked."""

    def run(*arguments: object, code: int = 0, **env: str):
        result = CliRunner(env=env).invoke(app, ["locate", "--model", str(tiny_model), *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def photos(examples, tmp_path):
    """A folder of six photos and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted(examples.glob("*.jpg"))[:6]:
        shutil.copy(path, folder)
    (folder / "no-photo.jpg").write_text("no photo", encoding="utf-8")
    return folder


def test_many_photos_are_one_line_on_the_screen(locate, photos, tmp_path):
    out = tmp_path / "out.csv"
    result = locate(photos, "--out", out, code=4)
    assert result.stdout == f"6 photos located, 1 failed; written to {out}\n"
    assert result.stderr.startswith("error: cannot read ")
    assert result.stderr.count("\n") == 1
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["image"]).name for row in rows] == sorted(path.name for path in photos.iterdir())
    assert [row["status"] for row in rows].count("error") == 1
    assert {row["country_code"] for row in rows} >= {"EG", "JP", "PE"}


def test_a_few_photos_are_shown_as_ever(locate, examples, tmp_path):
    photo = examples / "himeji-castle.jpg"
    result = locate(photo, "--out", tmp_path / "out.kml")
    assert result.stdout == (locate(photo).stdout + f"1 photo located; written to {tmp_path / 'out.kml'}\n")


def test_json_goes_to_stdout_too_and_is_that_of_the_file(locate, photos, tmp_path):
    result = locate(photos, "--json", "--out", tmp_path / "out.json", code=4)
    printed = json.loads(result.stdout)
    Draft202012Validator(SCHEMA).validate(printed)
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [{k: v for k, v in row.items() if k != "source"} for row in written] == printed
    assert "6 photos located, 1 failed; written to" in result.stderr


def test_resuming_locates_what_is_new(locate, photos, tmp_path):
    out = tmp_path / "out.jsonl"
    held_back = photos.rename(tmp_path / "all")
    photos.mkdir()
    for path in sorted(held_back.iterdir())[:3]:
        shutil.copy2(path, photos)
    locate(photos, "--out", out)
    for path in sorted(held_back.iterdir())[3:]:
        shutil.copy2(path, photos)
    result = locate(photos, "--out", out, "--resume", "--json", code=4)
    assert len(json.loads(result.stdout)) == 4
    assert "6 photos located (3 of them before), 1 failed" in result.stderr
    assert len(out.read_text(encoding="utf-8").splitlines()) == 7
    again = locate(photos, "--out", out, "--resume", "--decoder", "greedy", code=2)
    assert "cannot be added to: its rows were made with other options" in again.stderr


def test_an_edited_region_is_another_region(locate, photos, tmp_path):
    out, region = tmp_path / "out.jsonl", tmp_path / "a.geojson"
    square = {"type": "Polygon", "coordinates": [[[20, 20], [40, 20], [40, 40], [20, 40], [20, 20]]]}
    region.write_text(json.dumps(square), encoding="utf-8")
    locate(photos, "--out", out, "--within", region, code=4)
    region.write_text(json.dumps(square).replace("40", "45"), encoding="utf-8")
    again = locate(photos, "--out", out, "--within", region, "--resume", code=2)
    assert "cannot be added to: its rows were made with other options" in again.stderr


def test_workers_find_the_same(locate, photos, tmp_path):
    locate(photos, "--out", tmp_path / "one.jsonl", "--workers", 1, code=4)
    locate(photos, "--out", tmp_path / "two.jsonl", "--workers", 2, code=4)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_photos_together_are_written_too(locate, photos, tmp_path):
    out = tmp_path / "out.csv"
    locate(photos, "--out", out, "--together", code=4)
    with out.open(encoding="utf-8", newline="") as file:
        assert len({row["lat"] for row in csv.DictReader(file) if row["status"] == "ok"}) == 1


def test_only_failures_are_exit_code_2_and_a_file(locate, tmp_path):
    out = tmp_path / "out.geojson"
    locate(tmp_path / "missing.jpg", "--out", out, code=2)
    (feature,) = json.loads(out.read_text(encoding="utf-8"))["features"]
    assert feature["geometry"] is None
    assert "does not exist" in feature["properties"]["error"]


def start(tiny_model, *arguments):
    command = [sys.executable, "-m", "geotoken", "locate", "--model", str(tiny_model), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stop_after(process, journal, num_rows, signal_number):
    """Send a signal as soon as the journal has so many rows; the output when the process has ended."""
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") > num_rows:
            process.send_signal(signal_number)
            break
        time.sleep(0.005)
    return process.communicate(timeout=120)


def many(folder, examples, num_photos):
    """A folder of many small photos, each different."""
    folder.mkdir()
    paths = sorted(examples.glob("*.jpg"))
    for number in range(num_photos):
        with Image.open(paths[number % len(paths)]) as image:
            image.resize((64 + number, 64)).save(folder / f"{number:03}.png")
    (folder / "no-photo.png").write_text("no photo", encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tiny_model, examples, tmp_path_factory):
    """A folder of photos and what a run without interruption made of them."""
    folder = tmp_path_factory.mktemp("finished")
    many(folder / "photos", examples, 20)
    arguments = ["locate", "--model", str(tiny_model), str(folder / "photos"), "--out"]
    assert CliRunner().invoke(app, [*arguments, str(folder / "whole.jsonl")]).exit_code == 4
    return folder / "photos", (folder / "whole.jsonl").read_bytes()


@POSIX
@pytest.mark.parametrize(
    ("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_run_that_is_stopped_goes_on(tiny_model, finished, locate, tmp_path, signal_number, code):
    photos, whole = finished
    out, journal = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial.jsonl"
    process = start(tiny_model, photos, "--out", out)
    stdout, stderr = stop_after(process, journal, 2, signal_number)
    assert (process.returncode, stdout) == (code, "")
    if code > 0:
        assert stderr.startswith("error: interrupted: ")
        assert stderr.endswith(" of 21 photos are done; the same command with --resume goes on from there\n")
    assert not out.exists()
    assert "add --resume to go on, or delete it" in locate(photos, "--out", out, code=2).stderr
    assert "now greedy" in locate(photos, "--out", out, "--resume", "--decoder", "greedy", code=2).stderr
    assert "of them before), 1 failed; written to" in locate(photos, "--out", out, "--resume", code=4).stdout
    assert out.read_bytes() == whole
    assert not journal.exists()


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_is_killed_three_times_equals_one_that_was_not(tiny_model, examples, tmp_path, workers):
    photos = tmp_path / "photos"
    many(photos, examples, 60)
    suffixes = (".csv", ".geojson", ".json", ".jsonl", ".kml", ".parquet")
    whole, parts = (
        [part for suffix in suffixes for part in ("--out", tmp_path / f"{name}{suffix}")]
        for name in ("whole", "parts")
    )
    start(tiny_model, photos, *whole).communicate(timeout=300)
    moments = sorted(random.Random(workers).sample(range(1, 58), 3))
    for moment in moments:
        process = start(tiny_model, photos, *parts, "--resume", "--workers", workers)
        stop_after(process, tmp_path / "parts.csv.partial.jsonl", moment, signal.SIGKILL)
        assert process.returncode == -9
    process = start(tiny_model, photos, *parts, "--resume")
    process.communicate(timeout=300)
    assert process.returncode == 4
    for suffix in suffixes:
        expected = (tmp_path / f"whole{suffix}").read_bytes()
        assert (tmp_path / f"parts{suffix}").read_bytes() == expected, suffix


@POSIX
@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_pictures_of_a_run_that_is_stopped_show_what_was_done(
    tiny_model, finished, tmp_path, signal_number, code
):
    photos, _ = finished
    page, report, out = tmp_path / "map.html", tmp_path / "report", tmp_path / "out.jsonl"
    process = start(tiny_model, photos, "--out", out, "--map", page, "--report", report)
    _, stderr = stop_after(process, tmp_path / "out.jsonl.partial.jsonl", 2, signal_number)
    assert process.returncode == code, stderr
    assert stderr.startswith("error: interrupted: ")
    assert f"wrote {page}, " in stderr
    assert "Interrupted: only the first" in page.read_text(encoding="utf-8")
    assert "Interrupted: only the first" in (report / "index.html").read_text(encoding="utf-8")
    assert not list(tmp_path.glob(".*"))


@POSIX
@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_without_out_leaves_nothing_open(tiny_model, finished, tmp_path, workers):
    photos, _ = finished
    page = tmp_path / "map.html"
    process = start(tiny_model, photos, "--json", "--map", page, "--workers", workers)
    first = [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 143, stderr
    assert len(json.loads("".join(first) + stdout)) < 21
    assert "Interrupted: only the first" in page.read_text(encoding="utf-8")
    assert "leaked" not in stderr
    assert not list(tmp_path.glob(".*"))
