import json
import shutil

import pytest
from typer.testing import CliRunner

from geotoken.artifact import FORMAT_VERSION, KIND, load_artifact
from geotoken.cli import app
from geotoken.manifest import write_manifest


def run(*arguments: object):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture(scope="module")
def exported(tiny_transformer):
    return tiny_transformer


def test_a_folder_with_weights_gets_its_graphs(exported, tmp_path):
    result = run(exported / "transformer", "--out", tmp_path / "graphs", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["verified"]
    assert printed["max_difference"] < 1e-4
    names = ["decoder_step.onnx", "encoder.onnx", "model.json"]
    assert sorted(path.name for path in (tmp_path / "graphs").iterdir()) == names


def test_a_model_folder_stays_whole(exported):
    result = run(exported)
    assert result.exit_code == 0, result.output
    assert "nats from PyTorch" in result.stdout
    assert "transformer/encoder.onnx" in load_artifact(exported).manifest["files"]


def test_graphs_put_into_the_model_folder_by_name_are_listed(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "copy")
    for name in ("encoder.onnx", "decoder_step.onnx"):
        (folder / "transformer" / name).unlink()
    write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION)
    assert run(folder, "--out", folder / "transformer").exit_code == 0
    assert "transformer/encoder.onnx" in load_artifact(folder).manifest["files"]


@pytest.mark.parametrize("present", [True, False])
def test_a_folder_without_weights_is_exit_code_3(tmp_path, present):
    folder = tmp_path / "model"
    if present:
        folder.mkdir()
    result = run(folder)
    assert result.exit_code == 3
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
