import errno

import pytest
import typer

from geotoken import errors as library
from geotoken.cli import errors


def run(error: BaseException, *, debug: bool = False) -> int:
    with pytest.raises(typer.Exit) as stop, errors.exit_codes(debug):
        raise error
    return stop.value.exit_code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (library.InputError("x"), 2),
        (library.ImageError("x"), 2),
        (library.ConfigError("x"), 2),
        (library.DependencyError("x"), 2),
        (library.ArtifactError("x"), 3),
        (KeyError("x"), 1),
        (OSError(errno.ENOENT, "x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_error_has_its_exit_code(error, code):
    assert run(error) == code


def test_every_error_of_the_library_is_in_the_table():
    kinds = {kind for kind in vars(library).values() if isinstance(kind, type)}
    assert set(errors.EXIT_CODES) == kinds - {library.GeoTokenError}


def test_an_error_is_one_line_on_stderr(capsys):
    run(library.InputError("the one\nand the other"))
    assert capsys.readouterr() == ("", "error: the one and the other\n")


def test_a_bug_is_one_line_that_asks_for_a_report(capsys):
    run(ZeroDivisionError("division by zero"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("error: this is a bug in geotoken (ZeroDivisionError: division by zero)")
    assert "--debug" in err


def test_debug_adds_the_traceback(capsys):
    run(library.InputError("wrong"), debug=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "error: wrong"


def test_an_exit_passes_unchanged(capsys):
    assert run(typer.Exit(4)) == 4
    assert capsys.readouterr().err == ""


def test_nothing_is_raised_when_nothing_goes_wrong():
    with errors.exit_codes(False):
        pass
    errors.exit_after_batch(3, 0)


@pytest.mark.parametrize(("num_failed", "code"), [(1, 4), (2, 4), (3, 2)])
def test_a_batch_tells_some_failures_from_all(num_failed, code):
    with pytest.raises(typer.Exit) as stop:
        errors.exit_after_batch(3, num_failed)
    assert stop.value.exit_code == code


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain é 東京", "plain é 東京"),
        ("two\nlines\t and  spaces", "two lines and spaces"),
        ("\x1b[2J\x07\x00", "\\x1b[2J\\x07\\x00"),
        ("right\u202eleft \udcff", "right\\u202eleft \\udcff"),
    ],
)
def test_a_message_is_one_printable_line(text, line):
    assert errors.one_line(text) == line
    assert errors.one_line(line) == line


def test_a_long_message_loses_its_middle():
    line = errors.one_line("begin " + "x" * 10_000 + "\x1b" * 10_000 + " end; do this")
    assert len(line) <= errors.MAX_LINE
    assert line.startswith("begin x")
    assert line.endswith(" end; do this")
    assert errors.one_line(line) == line


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.EROFS, errno.EMFILE])
def test_what_the_system_refuses_is_no_bug(number, capsys):
    assert run(OSError(number, "Refused", "a\x1b.jpg")) == 2
    assert (
        capsys.readouterr().err
        == "error: Refused (a\\x1b.jpg); check the path, its permissions and the disk\n"
    )


def test_too_little_memory_is_no_bug(capsys):
    assert run(MemoryError("1 TB")) == 2
    assert capsys.readouterr().err.startswith("error: not enough memory (1 TB)")
