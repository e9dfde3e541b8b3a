import json

import pytest
from typer.testing import CliRunner

from geotoken.artifact import bundled_models, load_artifact
from geotoken.cli import app


def run(*arguments: str):
    return CliRunner().invoke(app, ["models", *arguments])


def test_the_bundled_models_are_listed():
    listed = json.loads(run("list", "--json").stdout)
    assert [one["name"] for one in listed] == list(bundled_models())
    assert listed[0]["size_bytes"] == load_artifact("mini").num_bytes
    assert run("list").stdout.startswith("mini  mixture, ")


@pytest.mark.parametrize("arguments", [["info", "nope"], ["info", "."]])
def test_a_folder_that_is_no_model_is_exit_code_3(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 3
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
