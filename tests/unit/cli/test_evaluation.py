import hashlib

import pytest

from geotoken.cli.evaluation import Evaluation, hash_of, truths_of
from geotoken.errors import InputError
from geotoken.evaluate.summary import Measure


def test_hashes_are_of_files_that_are_there(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert hash_of(path) == hashlib.sha256(b"abc").hexdigest()
    assert hash_of(tmp_path) is hash_of(tmp_path / "none") is None


def test_truths_are_optional(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image,lat,lng\na,1,2\nb,3,4\n")
    assert truths_of(None, None) is None
    assert [truth.image for truth in truths_of(path, 1)] == ["a"]


def _evaluation(path):
    given = {"from_": path, "truth": None, "limit": None}
    return Evaluation(given, Measure(num_resamples=2), {"command": "c"})


def test_the_figures_of_the_first_system_come_first(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text("image,lat,lng,true_lat,true_lng\na,1,2,1,2\nb,3,4,3,4\n")
    run = _evaluation(path)
    run.from_predictions()
    run.summaries |= {"guarded": run.summaries["theirs"], "other": run.summaries["theirs"]}
    found = run.result()
    assert found["acc_at_1km"] == found["guarded"]["acc_at_1km"] == 100.0
    assert set(found["baselines"]) == {"other"}
    assert "curves" in found["guarded"]
    assert "curves" not in found["baselines"]["other"]
    assert found["about"] == {"command": "c"}


def test_what_is_read_must_be_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        _evaluation(tmp_path / "none.csv").from_predictions()
