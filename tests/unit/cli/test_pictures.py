import errno
import os

import pytest

from geotoken.cli.pictures import Pictures
from geotoken.errors import ImageError, InputError
from geotoken.pipeline import Failure
from geotoken.regions import Region

FAILED = Failure("gone.jpg", ImageError("cannot read gone.jpg"))


def test_without_flags_answers_just_pass(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with Pictures(None, None, ["."], 2) as pictures:
        assert list(pictures.watch([FAILED])) == [FAILED]
    assert os.listdir(tmp_path) == []
    assert capsys.readouterr() == ("", "")


def test_both_are_written_and_said(tmp_path, capsys):
    with Pictures(str(tmp_path / "m.html"), str(tmp_path / "report"), [], 2) as pictures:
        assert list(pictures.watch([FAILED, FAILED])) == [FAILED, FAILED]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"wrote {tmp_path / 'm.html'}, 2 photos",
        f"wrote {tmp_path / 'report' / 'index.html'}, 2 photos",
    ]
    assert "cannot read gone.jpg" in (tmp_path / "m.html").read_text(encoding="utf-8")


def test_the_region_of_many_answers_is_outlined_once(tmp_path, make_prediction, monkeypatch):
    region, calls = Region.country("IN"), []
    monkeypatch.setattr(Region, "to_geojson", lambda self: calls.append(self) or {"type": "Polygon"})
    answer = make_prediction(region=region, region_probability=0.5)
    with Pictures(str(tmp_path / "m.html"), None, [], 2) as pictures:
        list(pictures.watch([answer, FAILED, answer, answer]))
    assert calls == [region]
    assert (tmp_path / "m.html").read_text(encoding="utf-8").count('{"type":"Polygon"}') == 1


def run_and_raise(pictures, error):
    with pictures:
        list(pictures.watch([FAILED]))
        raise error


def test_an_error_leaves_no_page(tmp_path):
    pictures = Pictures(str(tmp_path / "m.html"), str(tmp_path / "report"), [], 2)
    with pytest.raises(InputError):
        run_and_raise(pictures, InputError())
    assert sorted(os.listdir(tmp_path)) == ["report"]
    assert not (tmp_path / "report" / "index.html").exists()


def test_ctrl_c_keeps_what_was_done(tmp_path):
    pictures = Pictures(str(tmp_path / "m.html"), None, [], 2)
    with pytest.raises(KeyboardInterrupt):
        run_and_raise(pictures, KeyboardInterrupt())
    assert "Interrupted" in (tmp_path / "m.html").read_text(encoding="utf-8")


def test_a_report_among_the_photos_is_refused(tmp_path):
    with pytest.raises(InputError, match="outside"):
        Pictures(None, str(tmp_path / "report"), [str(tmp_path)], 2)


def test_a_report_to_nowhere_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="empty"):
        Pictures(None, "", [], 2)
    assert os.listdir(tmp_path) == []


def test_destinations_are_checked_before_anything_is_written(tmp_path):
    with pytest.raises(InputError):
        Pictures(str(tmp_path / "m.jpg"), str(tmp_path / "report"), [], 2)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_no_unfinished_file(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("geotoken.pictures.page.finish_part", fail)
    pictures = Pictures(str(tmp_path / "m.html"), None, [], 2)
    with pytest.raises(OSError, match="no space"), pictures:
        pass
    assert os.listdir(tmp_path) == []


def test_a_map_of_one_photo_is_headed_so(tmp_path):
    for number, title in [(1, "Where was this photo taken?"), (2, "Where were these photos taken?")]:
        with Pictures(str(tmp_path / "m.html"), None, [], number):
            pass
        assert f"<h1>{title}</h1>" in (tmp_path / "m.html").read_text(encoding="utf-8")
