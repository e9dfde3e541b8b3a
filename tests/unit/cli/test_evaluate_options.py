import typing

from typer.models import OptionInfo

from geotoken.cli import evaluate_options


def test_every_flag_has_help_that_ends_a_sentence():
    hints = [hint for hint in vars(evaluate_options).values() if typing.get_origin(hint) is typing.Annotated]
    flags = [one for hint in hints for one in hint.__metadata__ if isinstance(one, OptionInfo)]
    assert len(flags) == 23
    assert all(flag.help.endswith(".") for flag in flags)
