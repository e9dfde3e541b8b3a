import inspect
import json

import pytest
from typer.testing import CliRunner

from geotoken import cells
from geotoken.cli import app
from geotoken.cli.tokens import decode, encode, parse_point, parse_tokens
from geotoken.errors import InputError
from geotoken.tokens import TokenScheme


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["tokens", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_the_default_scheme_is_that_of_the_library():
    for command in (encode, decode):
        parameters = inspect.signature(command).parameters
        assert TokenScheme(parameters["level"].default, parameters["group_size"].default) == TokenScheme()


def test_encode_prints_the_tokens_first():
    first = run("encode", "-33.8568", "151.2153").splitlines()[0]
    assert first == " ".join(map(str, TokenScheme().encode(-33.8568, 151.2153)))


@pytest.mark.parametrize(
    "options", [[], ["--level", "12", "--group-size", "3"], ["--level", "1", "--group-size", "1"]]
)
def test_decode_is_the_inverse_of_encode(options):
    encoded = json.loads(run("encode", "-33.8568", "-70.2", "--json", *options))
    decoded = json.loads(run("decode", *map(str, encoded["tokens"]), "--json", *options))
    assert decoded["cell_hex"] == encoded["cell"]["hex"]
    assert decoded["level"] == encoded["cell"]["level"]
    cell_id = cells.from_lat_lng(-33.8568, -70.2, encoded["cell"]["level"])
    assert decoded["cell_hex"] == str(cells.to_hex(cell_id))
    assert (decoded["lat"], decoded["lng"]) == tuple(map(float, cells.to_lat_lng(cell_id)))


def test_each_step_is_the_parent_of_the_next():
    steps = json.loads(run("encode", "48.8584", "2.2945", "--json"))["levels"]
    assert [step["level"] for step in steps] == list(range(0, 21, 2))
    ids = cells.from_hex([step["cell_hex"] for step in steps])
    for step, coarse, fine in zip(steps, ids, ids[1:], strict=False):
        assert cells.parent(fine, step["level"]) == coarse


def test_a_prefix_stands_for_a_coarser_cell():
    text = run("decode", "3", "5")
    assert "6b" in text
    assert "29.5328° S, 145.4915° E" in text
    assert "about 2,300 km" in text


@pytest.mark.parametrize("text", ["-33.9 18.4", "-33.9,18.4", "-33.9, 18.4", " -33.9 ,18.4 ", "-33.9,  18.4"])
def test_a_point_is_read_as_people_type_it(text):
    assert parse_point(text) == (-33.9, 18.4)


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "1,,2", "48,9 2,4", "north 2", "1;2"])
def test_what_is_no_point_is_refused(text):
    with pytest.raises(InputError, match="give LAT LNG or LAT,LNG"):
        parse_point(text)


def test_a_point_may_be_one_argument():
    assert run("encode", "-33.8568,151.2153") == run("encode", "-33.8568", "151.2153")


@pytest.mark.parametrize("parts", [["2", "10", "3"], ["2,10,3"], ["2,", "10 3"], ["[2, 10, 3]"]])
def test_tokens_are_read_as_people_type_them(parts):
    assert parse_tokens(parts) == [2, 10, 3]


@pytest.mark.parametrize("parts", [["x"], ["1.5"], ["2", "-1"], [","], ["9" * 40]])
def test_what_is_no_token_is_refused(parts):
    with pytest.raises(InputError, match="give whole numbers"):
        parse_tokens(parts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "91", "0"], "latitude 91"),
        (["encode", "nan", "0"], "latitude nan"),
        (["encode", "1", "2", "--level", "20", "--group-size", "3"], "does not divide"),
        (["decode", "6"], "token 6 at position 0 is not in 0..5"),
        (["encode", "1"], "give LAT LNG or LAT,LNG"),
        (["encode", "1,2", "3"], "the point is '1,2 3'"),
        (["decode", *["1"] * 12], "12 tokens; give 1 to 11"),
        (["decode", "99999999999999999999"], "give whole numbers"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, message):
    err = run(*arguments, code=2)
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_flag_that_is_none_is_a_usage_error():
    assert "--help" in run("encode", "1", "2", "--jsn", code=2)
