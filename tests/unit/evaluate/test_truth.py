import numpy as np
import pytest

from geotoken.errors import InputError
from geotoken.evaluate.evidence_table import EvidenceTable
from geotoken.evaluate.truth import cases_of_evidence, cases_of_images, read_truth
from geotoken.evidence import Evidence


@pytest.fixture
def write(tmp_path):
    def make(text):
        path = tmp_path / "truth.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def test_the_columns_of_im2gps3k(write):
    path = write(
        "IMG_ID,AUTHOR,LAT,LON,S3_Label\n1_a_2_24311489@N00.jpg,24311489@N00,10.5,-20,3\nb.jpg,,0,190,1\n"
    )
    first, second = read_truth(path)
    assert (first.image, first.owner, first.lat, first.lng) == (
        "1_a_2_24311489@N00.jpg",
        "24311489@N00",
        10.5,
        -20.0,
    )
    assert (second.owner, second.lng) == ("", -170.0)
    assert read_truth(path, limit=1) == [first]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,91,0\n", r"line 2: .*latitude 91"),
        ("a,1,2\nb,,2\n", "line 3: .*empty"),
        ("a,x,2\n", "line 2: .*'x'"),
        (",1,2\n", "line 2: .*empty"),
        ("a,1,2\na,1,2\n", "'a' again in line 3"),
    ],
)
def test_bad_rows_are_named(write, rows, words):
    with pytest.raises(InputError, match=words):
        read_truth(write("image,lat,lng\n" + rows))


def test_photos_are_matched_and_missing_ones_are_cases_that_failed(write, tmp_path):
    folder = tmp_path / "photos" / "00"
    folder.mkdir(parents=True)
    for name in ("a.jpg", "7.jpg", "extra.jpg"):
        (folder / name).write_bytes(b"x")
    truths = read_truth(write("id,latitude,longitude\n00/a.jpg,1,2\n7,3,4\ngone.jpg,5,6\n"))
    cases, num_unused = cases_of_images(tmp_path / "photos", truths)
    assert [case.path for case in cases] == [str(folder / "a.jpg"), str(folder / "7.jpg"), None]
    assert [bool(case.error) for case in cases] == [False, False, True]
    assert "gone.jpg" in cases[2].error
    assert num_unused == 1


def test_a_file_whose_name_is_no_photo_is_tried_all_the_same(write, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    (folder / "a.dat").write_bytes(b"x")
    cases, _ = cases_of_images(
        folder, read_truth(write("image,lat,lng\na.jpg,1,2\nb/../a.dat,1,2\na.dat,1,2\n"))
    )
    assert cases[0].path == str(folder / "a.jpg")
    assert cases[2].path == str(folder / "a.dat")


def test_a_folder_that_is_none_is_refused(write, tmp_path):
    with pytest.raises(InputError, match="--images"):
        cases_of_images(tmp_path / "none", read_truth(write("image,lat,lng\na,1,2\n")))


def test_evidence_becomes_cases_in_order():
    table = EvidenceTable(
        image=["a", "b"],
        owner=["x", ""],
        lat=np.array([1.0, 2]),
        lng=np.array([3.0, 4]),
        cases=[Evidence()] * 2,
    )
    assert [(c.image, c.owner, c.lat, c.lng, c.evidence) for c in cases_of_evidence(table)] == [
        ("a", "x", 1.0, 3.0, table.cases[0]),
        ("b", "", 2.0, 4.0, table.cases[1]),
    ]
