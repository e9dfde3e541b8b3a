import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geotoken.cli import app
from geotoken.cli.batch import MOST_WORKERS, WITHOUT_EFFECT, check_flags, choose_workers, settings
from geotoken.errors import InputError
from geotoken.exports import FORMATS
from geotoken.graphs import num_cpus
from geotoken.parallel import WORTH_PROCESSES


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--out", "a.txt"], "--out is 'a.txt'; give a file that ends in one of .csv"),
        (["--out", "none/a.csv"], "there is no folder none"),
        (["--out", "a.csv", "--out", "a.csv"], "--out names one file twice"),
        (["--resume"], "--resume goes on with the files of --out"),
        (["--resume", "--together", "--out", "a.csv"], "--resume does not go with --together"),
        (["--resume", "--map", "m.html", "--out", "a.csv"], "--resume does not go with --map and --report"),
        (["--resume", "--report", "r", "--out", "a.csv"], "or leave out --resume to locate and draw"),
        (["--workers", "0"], "num_workers (--workers) is 0"),
    ],
)
def test_flags_that_cannot_work_are_told_before_anything_is_loaded(flags, message):
    result = CliRunner().invoke(app, ["locate", "photo.jpg", "--model", "missing", *flags])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_flags_that_fit_pass(tmp_path):
    check_flags(None, resume=False, together=True, workers=3, pictures=True)
    check_flags([tmp_path / "a.csv"], resume=True, together=False, workers=None, pictures=False)


def test_every_format_is_in_the_help():
    text = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["locate", "--help"]).stdout
    assert all(re.search(rf"\{suffix}\b", text) for suffix in FORMATS)


def test_processes_are_started_where_they_are_worth_it():
    assert choose_workers(None, WORTH_PROCESSES - 1) == 1
    assert choose_workers(None, WORTH_PROCESSES) == min(num_cpus(), MOST_WORKERS)
    assert choose_workers(3, 1000) == 3
    assert choose_workers(3, 2) == 2
    assert choose_workers(3, 0) == choose_workers(None, 0) == 1


def test_settings_are_what_decides_the_answers(tmp_path):
    given = {
        "paths": ["a.jpg"],
        "out": [Path("x.csv")],
        "debug": True,
        "model": "mini",
        "gallery": None,
        "beam_width": 5,
        "guess": ["1,2"],
        "decoder": "beam",
    }
    (tmp_path / "manifest.json").write_text("{}")
    found = settings(given, tmp_path, None)
    assert found == {
        "--beam-width": 5,
        "--decoder": "beam",
        "--guess": ["1,2"],
        "--model": f"{tmp_path.name} 44136fa3",  # of sha256("{}")
    }
    assert settings(given | {"paths": [], "debug": False, "model": str(tmp_path)}, tmp_path, None) == found
    (tmp_path / "manifest.json").write_text("{ }")
    assert settings(given, tmp_path, None)["--model"] != found["--model"]
    assert settings(given, tmp_path, tmp_path)["--gallery"].startswith(f"{tmp_path.name} ")


def test_the_file_of_a_region_counts_by_its_content(tmp_path):
    path = tmp_path / "park.geojson"
    given = {"within": ["country=PE", str(path)]}
    path.write_text("{}", encoding="utf-8")
    before = settings(given, tmp_path, None)["--within"]
    assert before == ["country=PE", "park.geojson 44136fa3"]
    path.write_text("{ }", encoding="utf-8")
    assert settings(given, tmp_path, None)["--within"] != before


def test_every_parameter_without_effect_exists_or_is_to_come():
    names = {name for name in WITHOUT_EFFECT if name not in {"map_file", "report"}}
    import inspect

    from geotoken.cli.locate import locate

    assert names <= set(inspect.signature(locate).parameters)


def test_check_flags_raises_what_the_command_shows():
    with pytest.raises(InputError, match="--workers"):
        check_flags(None, resume=False, together=False, workers=-1, pictures=False)
