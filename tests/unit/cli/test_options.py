import typing

import pytest
from typer.models import OptionInfo

from geotoken.artifact import bundled_models
from geotoken.cli import options
from geotoken.decoding import DecodingOptions
from geotoken.errors import InputError


def test_the_default_model_is_bundled():
    assert options.DEFAULT_MODEL in bundled_models()


def test_every_shared_flag_has_help_that_ends_a_sentence():
    shared = [hint for hint in vars(options).values() if typing.get_origin(hint) is typing.Annotated]
    flags = [one for hint in shared for one in hint.__metadata__ if isinstance(one, OptionInfo)]
    assert len(flags) == 27
    assert all(flag.help.endswith(".") for flag in flags)


def test_flags_become_the_options_of_the_search():
    flags = {"decoder": "sample", "beam_width": 3, "samples": 7, "temperature": 0.5, "sample_top_k": 4}
    flags |= {"sample_top_p": 0.9, "seed": 8, "max_expansions": 11, "select": "mbr"}
    assert options.decoding_options(flags, num_candidates=2) == DecodingOptions(
        decoder="sample", beam_width=3, num_samples=7, temperature=0.5, top_k=4, top_p=0.9, seed=8,
        num_candidates=2, max_expansions=11,
    )  # fmt: skip


def test_less_than_one_process_cannot_be():
    options.check_workers(None)
    options.check_workers(1)
    with pytest.raises(InputError, match=r"--workers\) is 0"):
        options.check_workers(0)
