from typer.testing import CliRunner

from geotoken.cli import app


def test_every_stage_is_named_by_the_help():
    result = CliRunner().invoke(app, ["train", "--help"])
    assert result.exit_code == 0
    assert "align" in result.stdout
