from pathlib import Path

from typer.testing import CliRunner

from feature_stores import make_store
from geotoken.cli import app
from geotoken.cli.train_decoder import decoder


def run(*arguments):
    return CliRunner().invoke(app, ["train", "decoder", *map(str, arguments)])


def test_the_flags_of_the_loop_are_settings(tmp_path):
    make_store(tmp_path / "store", 60)
    given = "--epochs 7 --batch-size 20 --micro-batch 5 --learning-rate 0.5 --precision 32-true --seed 3"
    arguments = [*given.split(), "--accelerator", "cpu", "--dry-run", "--machine-tflops", "0.5"]
    result = run(tmp_path / "store", "--out", tmp_path / "m", *arguments)
    assert result.exit_code == 0, result.output
    assert "item_image       5 x 24 x 8" in result.stdout
    assert "13, of 36 photos" in result.stdout
    assert "0.5 TFLOP/s (given)" in result.stdout
    assert not Path(tmp_path / "m").exists()


def test_the_help_names_what_is_made():
    text = " ".join((decoder.__doc__ or "").split())
    assert "MODEL.training" in text


def test_a_missing_store():
    result = run("no-store", "--out", "m")
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
