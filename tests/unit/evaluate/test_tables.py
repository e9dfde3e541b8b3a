import pytest

from geotoken.errors import InputError
from geotoken.evaluate.tables import (
    ANSWER_NAMES,
    IMAGE_NAMES,
    TRUTH_NAMES,
    Names,
    find_column,
    need_column,
    number_of,
    owner_of,
    read_table,
)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_are_found(tmp_path, delimiter):
    path = tmp_path / "t.csv"
    path.write_text("\ufeff" + delimiter.join(("a", "b")) + "\n" + delimiter.join(("1", '"x y"')) + "\n2\n")
    assert read_table(path, "the table") == (["a", "b"], [{"a": "1", "b": "x y"}, {"a": "2", "b": ""}])


@pytest.mark.parametrize("content", [b"", b"image,lat,lng\n", b"\xff\xfe\x00"])
def test_what_is_no_table_is_refused(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"the truth .*t\.csv"):
        read_table(path, "the truth")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_table(tmp_path / "none.csv", "the truth")


@pytest.mark.parametrize(
    ("columns", "image", "lat"),
    [
        (["IMG_ID", "AUTHOR", "LAT", "LON"], "IMG_ID", "LAT"),  # Im2GPS3k, YFCC4k, IM2GPS
        (["id", "latitude", "longitude", "creator_username"], "id", "latitude"),  # OSV-5M
        (["panoID", "Latitude", "Longitude"], "panoID", "Latitude"),  # GWS15k
        (["image", "lat", "lng", "true_lat"], "image", "true_lat"),
    ],
)
def test_columns_of_benchmarks_are_understood(columns, image, lat):
    assert find_column(columns, IMAGE_NAMES) == image
    assert find_column(columns, TRUTH_NAMES[0]) == lat


def test_answers_are_preferred_to_truths_in_tables_of_answers():
    assert find_column(["image", "LAT", "pred lat"], ANSWER_NAMES[0]) == "pred lat"
    assert find_column(["image", "longitude_pred", "LON"], ANSWER_NAMES[1]) == "longitude_pred"


def test_a_column_that_is_needed_is_named():
    with pytest.raises(InputError, match="the columns x, y; it needs one named"):
        need_column(["x", "y"], TRUTH_NAMES[0], "the truth")


def test_numbers():
    assert number_of(" -34.5 ") == -34.5
    assert [number_of(text) for text in ("", "NaN", "null", "None", "n/a", None)] == [None] * 6
    for text in ("inf", "12,5", "north"):
        with pytest.raises(ValueError, match=text):
            number_of(text)


def test_owners_are_read_from_the_table_or_the_name():
    flickr = "101220879_0a1be45b79_33_24311489@N00.jpg"
    assert owner_of({"AUTHOR": " me "}, "AUTHOR", flickr) == "me"
    assert owner_of({"AUTHOR": ""}, "AUTHOR", flickr) == "24311489@N00"
    assert owner_of({}, None, "x.jpg") == ""


def test_names_are_found_whole_then_without_folders_then_without_ending():
    names = Names(["a/x.jpg", "b/x.jpg", "b/y.png", "z"])
    assert names.find("b/x.jpg") == 1
    assert names.find("y.png") == 2
    assert names.find("elsewhere\\y.jpg") == 2
    assert names.find("z.jpg") == 3
    assert names.find("x.jpg") is None, "two are equally alike"
    assert names.find("w") is None
