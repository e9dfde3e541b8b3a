import io
import json
import sys

import pytest

from geotoken.cli import terminal


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_json_array_is_one_element_a_line(capsys):
    with terminal.JsonArray() as array:
        array.add({"image": "a\udcff.jpg"})
        array.add({"image": "é"})
    out = capsys.readouterr().out
    assert json.loads(out) == [{"image": "a\udcff.jpg"}, {"image": "é"}]
    assert out.isascii()
    assert len(out.splitlines()) == 4


def test_an_empty_json_array_is_valid(capsys):
    with terminal.JsonArray():
        pass
    assert json.loads(capsys.readouterr().out) == []


def write_array(*elements, error=None):
    with terminal.JsonArray() as array:
        for element in elements:
            array.add(element)
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_json_array_is_closed_whatever_happens(capsys, error):
    with pytest.raises(error):
        write_array({"image": "a"}, error=error)
    assert json.loads(capsys.readouterr().out) == [{"image": "a"}]


def test_an_element_that_is_no_json_leaves_the_array_valid(capsys):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_array({"log_prob": -1.0}, {"log_prob": float("-inf")})
    assert json.loads(capsys.readouterr().out) == [{"log_prob": -1.0}]


def test_nothing_is_written_after_the_reader_has_gone(capsys):
    with pytest.raises(BrokenPipeError):
        write_array(error=BrokenPipeError)
    assert capsys.readouterr().out == "[\n"


@pytest.mark.parametrize(("total", "shown"), [(terminal.FEW, False), (terminal.FEW + 1, True)])
def test_a_progress_bar_needs_a_terminal_and_more_than_a_few_photos(monkeypatch, total, shown):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    with terminal.ProgressBar("Locating") as bar:
        bar.set(1, total)
        with bar.paused():
            pass
    assert ("Locating" in stderr.getvalue()) == shown


def test_a_progress_bar_is_silent_where_stderr_is_no_terminal(capsys):
    with terminal.ProgressBar("Locating") as bar:
        bar.set(1, 100)
        with bar.paused():
            print("result")
    assert capsys.readouterr() == ("result\n", "")


def test_what_cannot_be_counted_is_named_until_it_can(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    with terminal.ProgressBar("Locating") as bar:
        bar.wait("Looking")
        bar.set(1, 100)
        bar.set(100, 100)
        bar.wait("Cleaning")
        with bar.paused():
            pass
    places = [stderr.getvalue().index(word) for word in ("Looking ...", "Locating", "Cleaning ...")]
    assert places == sorted(places)


def test_waiting_is_silent_where_stderr_is_no_terminal(capsys):
    with terminal.waiting("Looking"):
        pass
    assert capsys.readouterr() == ("", "")


def test_the_console_is_plain_where_stdout_is_no_terminal(capsys):
    terminal.stdout().print("[bold red]answer[/]")
    assert capsys.readouterr().out == "answer\n"


def test_no_color_is_heeded_on_a_terminal(monkeypatch):
    stdout = Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.stdout().print("[red]answer[/]")
    assert stdout.getvalue() == "answer\n"


def test_the_console_lets_a_closed_pipe_be_seen(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(BrokenPipeError):
        terminal.stdout().print("answer")


def test_facts_keep_what_looks_like_markup(capsys):
    terminal.print_facts({"name": "a[bold]b\x1b", "longer name": "c"})
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["name         a[bold]b?", "longer name  c"]


def test_json_is_refused_a_number_that_is_none(capsys):
    terminal.print_json({"a": [1.5]})
    assert json.loads(capsys.readouterr().out) == {"a": [1.5]}
    with pytest.raises(ValueError, match="JSON compliant"):
        terminal.print_json(float("nan"))
