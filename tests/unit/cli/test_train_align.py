import pytest
from typer.testing import CliRunner

from feature_stores import make_located_store

pytest.importorskip("lightning_fabric", reason="the extra train is not installed")

from geotoken.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["train", "align", *map(str, arguments)])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_located_store(tmp_path_factory.mktemp("located") / "store", 60, dim=6, num_towns=5).folder


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--config", "missing.toml"], 2, "missing.toml cannot be read as TOML"),
        (["--learning-rate", "-1"], 2, "learning_rate is -1"),
        (["--batch-size", "0"], 2, "batch_size is 0"),
        (["--text-encoder", "no such thing"], 2, "(--text-encoder)"),
        (["--geoclip", "missing.whl"], 2, "is not the package geoclip"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_leaves_nothing(store, tmp_path, flags, code, message):
    if "--geoclip" in flags or "--text-encoder" in flags:
        pytest.importorskip("transformers", reason="the extra backbones is not installed")
    result = run(store, "--out", tmp_path / "align", *flags)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_store_or_a_place_that_cannot_be_used(store, tmp_path):
    missing = run(tmp_path / "missing", "--out", tmp_path / "align")
    assert (missing.exit_code, missing.stderr.count("\n")) == (3, 1)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").write_text("mine")
    taken = run(store, "--out", tmp_path / "thesis")
    assert taken.exit_code == 2
    assert "exists and is no alignment" in taken.stderr
