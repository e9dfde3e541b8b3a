from typer.main import get_command

from geotoken.cli import app


def test_the_stages_are_listed_in_their_order():
    train = get_command(app).commands["train"]
    names = list(train.commands)
    assert names[:2] == ["align", "decoder"]
