"""What the command says; that it trains is tested in tests/integration/test_cli_train_reward.py."""

from typer.testing import CliRunner

from geotoken.cli import app


def test_help_names_the_recipe_and_what_becomes_of_it():
    result = CliRunner().invoke(app, ["train", "reward", "--help"])
    assert result.exit_code == 0
    for text in ("--model", "--folds", "configs/reward.toml", "MODEL.training/reward"):
        assert text in result.stdout


def test_the_model_is_required():
    result = CliRunner().invoke(app, ["train", "reward", "store"])
    assert result.exit_code == 2
    assert "--model" in result.stderr
