from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from geotoken.cli import app
from geotoken.cli.locate import find_photos
from geotoken.decoding import DECODERS, DecodingOptions
from geotoken.decoding.options import FLAGS
from geotoken.pipeline import Failure, LocateOptions
from geotoken.selection import METHODS

OPTIONS = {parameter.opts[0]: parameter for parameter in get_command(app).commands["locate"].params}


def test_every_field_of_the_decoding_options_has_its_flag_and_default():
    defaults = DecodingOptions()
    for name, flag in FLAGS.items():
        assert OPTIONS[flag].default == getattr(defaults, name), flag
    assert OPTIONS["--select"].default == LocateOptions().select


def test_help_names_what_can_be_chosen():
    assert all(decoder in OPTIONS["--decoder"].help for decoder in DECODERS)
    assert all(method in OPTIONS["--select"].help for method in METHODS)


@pytest.mark.parametrize("paths", [[""], ["", "a.jpg"]])
def test_an_empty_path_is_refused_whatever_else_is_given(paths):
    result = CliRunner().invoke(app, ["locate", *paths])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: an empty path; give photo files or folders\n"


def test_photos_are_found_in_order_and_once(tmp_path):
    for name in ("b/2.jpg", "b/1.JPG", "a.jpg", "b/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    paths = [tmp_path / name for name in ("b", "missing.jpg", "a.jpg", "empty", "b/1.JPG", "missing.jpg")]
    found = find_photos(paths)
    names = [
        Path(one.image if isinstance(one, Failure) else one).relative_to(tmp_path).as_posix() for one in found
    ]
    assert names == ["b/1.JPG", "b/2.jpg", "missing.jpg", "a.jpg", "empty"]
    assert [isinstance(one, Failure) for one in found] == [False, False, True, False, True]
    assert "does not exist" in str(found[2].error)
    assert "holds no photo" in str(found[4].error)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--decoder", "magic"], "choose one of greedy, sample, beam, best_first"),
        (["--beam-width", "0"], "beam_width (--beam-width) is 0"),
        (["--samples", "-1"], "num_samples (--samples) is -1"),
        (["--temperature", "0"], "temperature (--temperature) is 0.0"),
        (["--sample-top-p", "2"], "top_p (--sample-top-p) is 2.0"),
        (["--seed", "-1"], "seed (--seed) is -1"),
        (["--top-k", "0"], "num_candidates (--top-k) is 0"),
        (["--select", "best"], "choose one of log_prob, medoid, mbr"),
        (["--guess", "95,0"], "guess (--guess) is '95,0'"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_loaded(flags, message):
    result = CliRunner().invoke(app, ["locate", "photo.jpg", "--model", "missing", *flags])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["locate"], ["locate", "a.jpg", "--beam-width", "x"], ["locate", "-z"]]
)
def test_what_cannot_be_parsed_is_a_usage_error(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "--help" in result.stderr
