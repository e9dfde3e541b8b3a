import json

import pytest

from geotoken.errors import InputError
from geotoken.evaluate.files import check_destinations, guarded_path, open_journal, write_json


def test_good_destinations_pass(tmp_path):
    check_destinations(tmp_path / "a.json", tmp_path / "b.csv", tmp_path / "report")
    check_destinations(None, None, None)


def test_bad_destinations_are_refused(tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "empty").write_text("")
    check_destinations(tmp_path / "empty", tmp_path / "none.txt", None)
    for given, words in (
        ((tmp_path / "full" / "x", None, None), "--json .* ends in .json"),
        ((None, tmp_path / "full" / "x", None), "--predictions .* ends in .csv"),
        ((tmp_path / "folder.json", None, None), "no regular file"),
        ((None, tmp_path / "none" / "a.csv", None), "make it first"),
        ((None, None, tmp_path / "full"), "something else in it"),
    ):
        with pytest.raises(InputError, match=words):
            check_destinations(*given)


def test_json_is_whole_and_finite(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"n": 1})
    assert json.loads(path.read_text()) == {"n": 1}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"n": float("nan")})
    assert json.loads(path.read_text()) == {"n": 1}
    with pytest.raises(InputError, match="cannot be written"):
        write_json(tmp_path / "none" / "a.json", {})


def test_the_guarded_file_is_beside(tmp_path):
    assert guarded_path(tmp_path / "a.b.csv") == tmp_path / "a.b-guarded.csv"


def test_an_unfinished_run_is_not_begun_anew_unasked(tmp_path):
    path = tmp_path / "p.csv"
    journal = open_journal(path, {"seed": 0}, resume=False)
    row = {"image": "a", "status": "ok", "row": {"lat": 1.0}, "source": {"bytes": None, "mtime_us": None}}
    journal.add(row)
    journal.close()
    with pytest.raises(InputError, match="--resume"):
        open_journal(path, {"seed": 0}, resume=False)
    with pytest.raises(InputError, match="seed 0, now 1"):
        open_journal(path, {"seed": 1}, resume=True)
    again = open_journal(path, {"seed": 0}, resume=True)
    assert next(iter(again.read(["a"])))["row"] == {"lat": 1.0}
    again.delete()
    assert not again.path.exists()
