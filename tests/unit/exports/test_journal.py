import json

import pytest

from geotoken.errors import InputError
from geotoken.exports.journal import Journal, JournalEntry

SETTINGS = {"--model": "mini 1234", "--guess": ["1,2"]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.csv.partial.jsonl"


@pytest.fixture
def journal(path, make_answer):
    """A journal with a place, an error and a second answer about the first photo; closed."""
    found = Journal(path, SETTINGS)
    found.open()
    for answer in (make_answer("a.jpg", (1.0, 2.0)), make_answer("b.jpg", "bad"), make_answer("a.jpg")):
        found.add(answer)
    found.close()
    return found


def opened(path, settings=SETTINGS):
    found = Journal(path, settings)
    found.open()
    found.close()
    return found


def test_nothing_is_written_before_the_first_answer(path, make_answer):
    journal = Journal(path, SETTINGS)
    journal.open()
    assert not path.exists()
    journal.add(make_answer())
    assert path.read_bytes().count(b"\n") == 2  # also before it is closed
    journal.delete()
    assert not path.exists()


def test_answers_are_found_again(path, journal, make_answer):
    again = opened(path)
    assert list(again.entries) == ["a.jpg", "b.jpg"]
    assert again.entries == journal.entries
    assert again.entries["b.jpg"] == JournalEntry(
        again.entries["b.jpg"].offset, False, (1000, 1_700_000_000_000_000)
    )
    bad, last = again.read(["b.jpg", "a.jpg"])
    assert (bad["error"], last["lat"]) == ("bad", -33.5)
    assert last["source"]["settings"] == again.settings_hash


def test_every_cut_is_survived(path, journal, make_answer):
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        found = Journal(path, SETTINGS)
        found.open()
        num_whole = whole[:size].count(b"\n")
        assert len(found.entries) == min(max(num_whole - 1, 0), 2), size
        found.add(make_answer("new.jpg"))
        found.close()
        kept = lines[: max(num_whole, 1)]
        assert path.read_bytes().startswith(b"".join(kept))
        assert [json.loads(line) for line in path.read_text().splitlines()][-1]["image"] == "new.jpg"
        assert len(path.read_bytes().splitlines()) == len(kept) + 1


def test_other_settings_are_told(path, journal):
    with pytest.raises(InputError, match=r"begun with --model mini 1234, now other; give the same options"):
        opened(path, {"--model": "other", "--guess": ["1,2"]})
    with pytest.raises(InputError, match=r"--guess 1,2, now not given, --seed not given, now 3"):
        opened(path, {"--model": "mini 1234", "--seed": 3})
    assert opened(path, dict(reversed(SETTINGS.items()))).settings_hash == journal.settings_hash


@pytest.mark.parametrize(
    ("line", "content", "message"),
    [
        (0, b"hello\n", "is not a journal"),
        (0, b"[]\n", "is not a journal"),
        (0, b'{"journal": 99, "settings": {}}\n', "another version"),
        (1, b"{}\n", "damaged in line 2"),
        (2, b"\xff\n", "damaged in line 3"),
        (1, b"3\n", "damaged in line 2"),
    ],
)
def test_damage_is_told(path, journal, line, content, message):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = content
    path.write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=message):
        opened(path)


def test_a_second_run_is_kept_away(path, make_answer):
    pytest.importorskip("fcntl")
    first, early = Journal(path, SETTINGS), Journal(path, SETTINGS)
    first.add(make_answer())
    with pytest.raises(InputError, match="another run is writing"):
        opened(path)
    with pytest.raises(InputError, match="another run has begun"):
        early.add(make_answer())
    first.close()
    assert len(opened(path).entries) == 1


def test_a_journal_is_removed_while_it_is_locked(path, make_answer, monkeypatch):
    pytest.importorskip("fcntl")
    first = Journal(path, SETTINGS)
    first.add(make_answer())
    monkeypatch.setattr(first, "close", lambda: exists.append(path.exists()))
    exists: list[bool] = []
    first.delete()
    assert exists == [False]


def test_a_journal_that_was_removed_before_it_was_locked_is_not_gone_on_with(path, make_answer, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    first = Journal(path, SETTINGS)
    first.add(make_answer())
    first.close()

    def late(fd, operation):
        path.unlink(missing_ok=True)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(InputError, match="another run has just ended"):
        opened(path)


def test_answers_of_an_earlier_run_begin_a_journal(path, journal, make_answer):
    rows = list(journal.read(["b.jpg", "a.jpg"]))
    path.unlink()
    seeded = Journal(path, SETTINGS)
    seeded.seed(rows)
    seeded.close()
    assert list(opened(path).read(["a.jpg", "b.jpg"])) == rows[::-1]
    with pytest.raises(InputError, match="made with other options"):
        Journal(path, {"--seed": 1}).seed(rows)
    assert list(opened(path).entries) == ["b.jpg", "a.jpg"]  # nothing was changed
