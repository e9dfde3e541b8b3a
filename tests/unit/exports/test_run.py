import errno
import json
import os

import pytest

from geotoken.errors import InputError
from geotoken.exports.formats import FORMATS
from geotoken.exports.run import Export, check_outputs

SETTINGS = {"--model": "mini"}


@pytest.fixture
def photos(tmp_path):
    """Five files and a name that is none."""
    paths = [tmp_path / f"{name}.jpg" for name in "edcba"]
    for path in paths:
        path.write_text(path.name)
    return [*map(str, paths), str(tmp_path / "missing.jpg")]


@pytest.fixture
def answer(make_answer):
    """The answer for a photo, as a model would give it: an error for the missing one."""

    def find(photo):
        given = make_answer(photo, (float(len(photo)), float(ord(photo[-5]))))
        given = make_answer(photo, "it is missing") if photo.endswith("missing.jpg") else given
        return {name: value for name, value in given.items() if name != "source"}

    return find


def run(outputs, photos, answer, *, resume=False, stop_after=None, settings=SETTINGS):
    """Export photos; the list of those located. `stop_after` ends it as Ctrl-C would."""
    located = []
    with Export(outputs, settings, resume=resume) as export:
        for photo in export.plan(photos):
            if len(located) == stop_after:
                return located
            export.add(answer(photo))
            located.append(photo)
        export.finish()
    return located


def names_in(path):
    return [os.path.basename(json.loads(line)["image"])[0] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_interrupted_run_ends_as_one_that_was_not(suffix, photos, answer, tmp_path):
    whole, parts = tmp_path / f"whole{suffix}", tmp_path / f"parts{suffix}"
    assert run([whole], photos, answer) == photos
    assert run([parts], photos, answer, stop_after=2) == photos[:2]
    assert not parts.exists()
    assert run([parts], photos, answer, resume=True, stop_after=1) == photos[2:3]
    assert run([parts], photos, answer, resume=True) == photos[3:]
    assert parts.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.partial.jsonl"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_finished_file_gets_what_is_new_changed_or_had_failed(suffix, photos, answer, tmp_path):
    path, expected = tmp_path / f"out{suffix}", tmp_path / f"expected{suffix}"
    run([path], photos[:3] + photos[-1:], answer)
    with open(photos[1], "a") as file:
        file.write("changed")
    assert run([path], photos, answer, resume=True) == [photos[1], *photos[3:]]
    run([expected], photos, answer)
    assert path.read_bytes() == expected.read_bytes()
    before = path.read_bytes()
    assert run([path], photos, answer, resume=True) == photos[-1:]  # a failure is tried again
    assert path.read_bytes() == before


def test_rows_of_other_photos_are_kept_and_come_first(photos, answer, tmp_path):
    path = tmp_path / "out.jsonl"
    run([path], photos[:2], answer)
    run([path], photos[3:5], answer, resume=True)
    assert names_in(path) == ["e", "d", "b", "a"]
    run([path], photos[:3], answer, resume=True)
    assert names_in(path) == ["b", "a", "e", "d", "c"]


def test_without_resume_a_finished_file_is_replaced(photos, answer, tmp_path):
    path = tmp_path / "out.jsonl"
    run([path], photos[:2], answer)
    with Export([path], SETTINGS) as export:
        assert export.plan(photos[2:4]) == photos[2:4]
        assert export.num_done == 0
        export.add(answer(photos[2]))
        assert names_in(path) == ["e", "d"]  # until the new one is whole
        export.add(answer(photos[3]))
        export.finish()
    assert names_in(path) == ["c", "b"]


def test_several_files_are_written_at_once_and_further_ones_later(photos, answer, tmp_path):
    csv, kml, lines = (tmp_path / f"out{suffix}" for suffix in (".csv", ".kml", ".jsonl"))
    run([csv, lines], photos, answer, stop_after=3)
    assert run([lines, csv, kml], photos, answer, resume=True) == photos[3:]  # in whatever order
    alone = tmp_path / "alone.kml"
    run([alone], photos, answer)
    assert kml.read_bytes() == alone.read_bytes()
    assert len(csv.read_text().splitlines()) == 7
    kml.unlink()
    assert run([csv, lines, kml], photos, answer, resume=True) == photos[-1:]
    assert kml.read_bytes() == alone.read_bytes()


def test_a_table_cannot_become_json(photos, answer, tmp_path):
    path = tmp_path / "out.csv"
    run([path], photos, answer)
    with pytest.raises(InputError, match=r"out\.csv cannot be added to: it does not hold all that .*\.json "):
        run([path, tmp_path / "out.json"], photos, answer, resume=True)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_is_no_export_or_of_other_settings_is_left_alone(suffix, photos, answer, tmp_path):
    path = tmp_path / f"out{suffix}"
    path.write_bytes(b"image,lat,lng\na.jpg,1,2\n")
    with pytest.raises(InputError, match=r"cannot be added to: .*; leave out --resume"):
        run([path], photos, answer, resume=True)
    assert path.read_bytes() == b"image,lat,lng\na.jpg,1,2\n"
    run([path], photos, answer)
    with pytest.raises(InputError, match="cannot be added to: its rows were made with other options"):
        run([path], photos, answer, resume=True, settings={"--model": "other"})
    assert sorted(file.suffix for file in tmp_path.iterdir()) == sorted([".jpg"] * 5 + [suffix])


def test_an_unfinished_run_is_not_thrown_away(photos, answer, tmp_path):
    path = tmp_path / "out.csv"
    run([path], photos, answer, stop_after=1)
    with pytest.raises(
        InputError, match=r"out\.csv\.partial\.jsonl is what an unfinished run has found; add"
    ):
        run([path], photos, answer)


def test_what_cannot_be_written_is_told_before_work_begins(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name, message in (
        ("out.txt", "ends in one of"),
        ("folder.csv", "is a folder"),
        ("none/out.csv", "there is no folder"),
    ):
        with pytest.raises(InputError, match=message):
            check_outputs([tmp_path / "good.csv", tmp_path / name], resume=False)
    with pytest.raises(InputError, match="twice"):
        check_outputs([tmp_path / "a.csv", tmp_path / "x" / ".." / "a.csv"][:1] * 2, resume=True)


@pytest.mark.parametrize(("call", "num_left"), [("write", 4), ("replace", 0)])
def test_a_full_disk_is_told_and_loses_nothing(call, num_left, photos, answer, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
    run([whole], photos, answer)
    calls, real = [], getattr(os, call)

    def fail(*arguments):
        calls.append(1)
        if call == "replace" or len(calls) == 4:  # the header and two answers fit
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(
            InputError, match=r"No space left on device\); what was found is kept in .*--resume"
        ):
            run([parts], photos, answer)
    assert sorted(path.name for path in tmp_path.glob("*parts*")) == ["parts.csv.partial.jsonl"]
    located = run([parts], photos, answer, resume=True)
    assert located == (photos[-num_left:] if num_left else photos[-1:])
    assert parts.read_bytes() == whole.read_bytes()


def test_names_that_cannot_be_written_are_resumed_all_the_same(answer, tmp_path):
    photos = [str(tmp_path / "a\nb.jpg"), str(tmp_path / "c\udcff.jpg")]
    for photo in photos:
        try:
            open(photo, "w").close()
        except (OSError, UnicodeError):
            pytest.skip("this file system has no such names")
    assert run([tmp_path / "out.csv"], photos, answer) == photos
    assert run([tmp_path / "out.csv"], photos, answer, resume=True) == []
