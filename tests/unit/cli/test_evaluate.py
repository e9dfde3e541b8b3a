import inspect
import json

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from geotoken.cli import app
from geotoken.cli.evaluate import _SYSTEM_FLAGS, evaluate
from geotoken.cli.evaluation import _DECIDING


@pytest.fixture
def predictions(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("image,lat,lng,true_lat,true_lng\na,1,0,0,0\nb,,,5,5\n")
    return path


def _invoke(*arguments):
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_every_flag_is_of_a_known_kind():
    """A flag that decides answers must be known to --resume, and be refused where it says nothing."""
    names = set(inspect.signature(evaluate).parameters) - {"ctx"}
    assert set(_SYSTEM_FLAGS) <= names
    apart = {"model", "gallery", "offline", "baselines", "workers", "resume", "replay"}
    guards = {"exclude_owner", "exclude_near", "exclude_duplicates", "leakage_check"}
    assert set(_SYSTEM_FLAGS) - apart - guards == set(_DECIDING)


def test_search_flags_are_those_of_locate():
    commands = get_command(app).commands
    locate, ours = ({one.name: one for one in commands[name].params} for name in ("locate", "eval"))
    shared = set(_DECIDING) - {"no_guess", "utility"}
    for name in shared:
        assert (locate[name].opts, locate[name].default) == (ours[name].opts, ours[name].default)


def test_predictions_are_summed_up(predictions, tmp_path):
    result = _invoke(
        "--from", predictions, "--json", tmp_path / "f.json", "--predictions", tmp_path / "q.csv"
    )
    assert result.exit_code == 0, "answers that another system lacks are its failures, not ours"
    found = json.loads((tmp_path / "f.json").read_text())
    assert (found["n"], found["num_failed"], found["acc_at_200km"]) == (2, 1, 50.0)
    assert found["about"]["command"].startswith("geotoken eval --from ")
    again = json.loads((tmp_path / "f.json").read_text())
    _invoke("--from", tmp_path / "q.csv", "--json", tmp_path / "f.json")
    assert again["ci95"] == found["ci95"]


def test_a_missing_file_is_one_line(tmp_path):
    result = _invoke("--compare", tmp_path / "a.csv", tmp_path / "b.csv")
    assert result.exit_code == 2
    assert result.output.count("\n") == 1


def test_limits_apply_to_predictions(predictions, tmp_path):
    _invoke("--from", predictions, "--limit", 1, "--json", tmp_path / "f.json")
    assert json.loads((tmp_path / "f.json").read_text())["n"] == 1
