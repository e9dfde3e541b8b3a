import typing

from typer.models import OptionInfo

from geotoken.artifact import bundled_models
from geotoken.cli import options


def test_the_default_model_is_bundled():
    assert options.DEFAULT_MODEL in bundled_models()


def test_every_shared_flag_has_help_that_ends_a_sentence():
    shared = [hint for hint in vars(options).values() if typing.get_origin(hint) is typing.Annotated]
    flags = [one for hint in shared for one in hint.__metadata__ if isinstance(one, OptionInfo)]
    assert len(flags) == 27
    assert all(flag.help.endswith(".") for flag in flags)
