import csv

import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.evaluate.records import (
    COLUMNS,
    column,
    failed_row,
    name_places,
    read_predictions,
    write_predictions,
)
from geotoken.evaluate.truth import Truth


@pytest.fixture
def write(tmp_path):
    def make(text):
        path = tmp_path / "p.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def _truth(image, lat, lng, owner=""):
    return Truth(image=image, owner=owner, lat=lat, lng=lng)


def test_rows_are_read_as_they_were_written(tmp_path, make_row):
    path = tmp_path / "p.csv"
    rows = [
        make_row("=a,b\n.jpg", 3.0, "me@N00", nll=1.25, credible_low=0.5, true_country_code="NA"),
        failed_row("b", "", -1.5, 2.0, "no\nphoto"),
    ]
    write_predictions(path, rows)
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file).fieldnames) == list(COLUMNS)
    first, second = read_predictions(path).rows
    assert first["image"] == r"=a,b\n.jpg"
    for name in ("lat", "lng", "nll", "credible_low", "true_lat", "owner", "status"):
        assert first[name] == rows[0][name]
    assert first["credible_high"] is None
    assert (second["status"], second["error"], second["true_lng"]) == ("error", "no photo", 2.0)


def test_answers_of_others_are_joined_with_the_truth(write):
    path = write("filename,pred_lat,pred_lon,score\nx/b.jpg,1,190,0.5\na,,,\nother,5,5,1\n")
    truths = [_truth("a.jpg", 0, 0, "me"), _truth("b.jpg", 1, 2), _truth("c", 3, 4)]
    found = read_predictions(path, truths)
    assert [row["image"] for row in found.rows] == ["a.jpg", "b.jpg", "c"]
    assert [row["status"] for row in found.rows] == ["error", "ok", "error"]
    assert found.num_unused == 1
    assert (found.rows[1]["lng"], found.rows[1]["confidence"], found.rows[1]["true_lng"]) == (-170.0, 0.5, 2)
    assert found.rows[0]["owner"] == "me"
    assert found.rows[2]["error"] == "there is no answer for it"


def test_the_files_of_locate_are_understood(write):
    head = "image,status,lat,lng,radius_50_km,radius_90_km,error\n"
    path = write(f"{head}a.jpg,ok,1.0,2.0,10,100,\nb.jpg,error,,,,,it is no photo\n")
    first, second = read_predictions(path, [_truth("a.jpg", 0, 0), _truth("b.jpg", 0, 0)]).rows
    assert first["radius_50_km"] == 10
    assert second["error"] == "it is no photo"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,lat\na,1\n", "needs one named"),
        ("image,lat,lng\na,1,2\na,1,2\n", "line 3 is about 'a' again"),
        ("image,lat,lng\na,95,2\n", "line 2: .*latitude 95"),
        ("image,lat,lng\na,1,\n", "line 2: .*without"),
        ("image,lat,lng\na,north,2\n", "line 2: .*'north'"),
        ("image,lat,lng\nz,1,2\n", "none of the photos of the truth"),
    ],
)
def test_bad_predictions_are_named(write, text, words):
    with pytest.raises(InputError, match=words):
        read_predictions(write(text), [_truth("a", 0, 0)])


def test_predictions_without_any_truth_are_refused(write):
    with pytest.raises(InputError, match="--truth"):
        read_predictions(write("image,lat,lng\na,1,2\n"))
    with pytest.raises(InputError, match="no truth"):
        read_predictions(write("image,lat,lng,true_lat,true_lng\na,1,2,,\n"))


def test_columns_and_places(make_row):
    rows = [make_row("a", 0.0, nll=2.0), make_row("b", None)]
    rows[0] |= {"true_lat": 48.8566, "true_lng": 2.3522, "lat": 35.6762, "lng": 139.6503}
    np.testing.assert_array_equal(column(rows, "nll"), [2.0, np.nan])
    name_places(rows)
    assert (rows[0]["true_country_code"], rows[0]["country_code"]) == ("FR", "JP")
    assert rows[1].get("country_code") is None
    rows[0]["country_code"] = "XX"
    name_places(rows)
    assert rows[0]["country_code"] == "XX", "what is known is kept"


def test_a_folder_cannot_be_written_as_a_file(tmp_path, make_row):
    with pytest.raises(InputError, match="--predictions"):
        write_predictions(tmp_path / "none" / "p.csv", [make_row("a", 1.0)])
