import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from geotoken.errors import InputError
from geotoken.exports.columns import COLUMNS, flatten
from geotoken.exports.formats import FORMATS, KML_NAMESPACE, format_of

SUFFIXES = sorted(FORMATS)
NASTY = [
    "=1+1.jpg",
    "a,b\"c';d.jpg",
    "<&>]]>.jpg",
    "two\nlines\r\t\x1b.jpg",
    "\udcff.jpg",
    "Žižkov 東京 🗺.jpg",
    "'.jpg",
]


@pytest.fixture
def answers(make_answer):
    return [
        make_answer(),
        make_answer("bad.jpg", 'cannot read bad.jpg: it is <no> photo, "really"'),
        *(make_answer(name, (float(i), -0.0)) for i, name in enumerate(NASTY)),
    ]


def write(path, answers):
    with format_of(path)(path) as file:
        for answer in answers:
            file.add(answer)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_written_is_read_back(suffix, answers, tmp_path):
    path = write(tmp_path / f"out{suffix}", answers)
    found = list(format_of(path).read(path))
    assert found == (answers if format_of(path).complete else [flatten(answer) for answer in answers])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_read_back_is_written_the_same(suffix, answers, tmp_path):
    path = write(tmp_path / f"out{suffix}", answers)
    again = write(tmp_path / f"again{suffix}", format_of(path).read(path))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_answers_make_a_valid_file(suffix, tmp_path):
    path = write(tmp_path / f"out{suffix}", [])
    assert list(format_of(path).read(path)) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_such_file_is_refused(suffix, tmp_path):
    path = tmp_path / f"out{suffix}"
    for content in (b"neither\nnor", b"[1, 2]\n", b"\xff\xfe\x00"):
        path.write_bytes(content)
        with pytest.raises((ValueError, KeyError, TypeError)):
            list(format_of(path).read(path))


@pytest.mark.parametrize("suffix", [".geojson", ".json", ".kml"])
def test_a_file_that_was_cut_short_is_refused(suffix, answers, tmp_path):
    path = write(tmp_path / f"out{suffix}", answers)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))
    with pytest.raises(ValueError, match=r"."):
        list(format_of(path).read(path))


def test_csv_is_a_table_whose_text_no_spreadsheet_calculates(answers, tmp_path):
    path = write(tmp_path / "out.csv", answers)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(answers) + 1
    assert (float(rows[0]["lat"]), rows[0]["city"], rows[0]["admin1"]) == (-33.5, "Sydney", "")
    assert (rows[1]["status"], rows[1]["lat"]) == ("error", "")
    assert rows[2]["image"] == "'=1+1.jpg"
    assert not any(row[name].startswith(("=", "+", "@")) for row in rows for name in row)


def test_geojson_is_a_collection_of_points(answers, tmp_path):
    found = json.loads(write(tmp_path / "out.geojson", answers).read_text(encoding="utf-8"))
    assert found["type"] == "FeatureCollection"
    first, failed, *_ = found["features"]
    assert first["geometry"] == {"type": "Point", "coordinates": [151.25, -33.5]}
    assert first["properties"]["city"] == "Sydney"
    assert (failed["geometry"], failed["properties"]["status"]) == (None, "error")


def test_json_is_one_array(answers, tmp_path):
    assert json.loads(write(tmp_path / "out.json", answers).read_text(encoding="utf-8")) == answers


def test_json_lines_are_one_object_a_line(answers, tmp_path):
    lines = write(tmp_path / "out.jsonl", answers).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == answers


def test_kml_has_a_placemark_a_photo(answers, tmp_path):
    root = ElementTree.parse(write(tmp_path / "out.kml", answers)).getroot()
    space = f"{{{KML_NAMESPACE}}}"
    marks = root.findall(f"{space}Document/{space}Placemark")
    assert len(marks) == len(answers)
    assert marks[0].findtext(f"{space}Point/{space}coordinates") == "151.25,-33.5"
    assert "even odds within 0.3 km" in marks[0].findtext(f"{space}description")
    assert marks[1].find(f"{space}Point") is None
    assert marks[4].findtext(f"{space}name") == "<&>]]>.jpg"
    order = [child.tag.removeprefix(space) for child in marks[0]]
    assert order == ["name", "description", "ExtendedData", "Point"]  # as the schema of KML wants


def test_parquet_is_a_typed_table(answers, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = write(tmp_path / "out.parquet", answers)
    table = duckdb.sql(f"select * from '{path}'")
    names = {str: "VARCHAR", float: "DOUBLE", int: "BIGINT"}
    assert dict(zip(table.columns, map(str, table.types), strict=True)) == {
        name: names[kind] for name, (kind, _) in COLUMNS.items()
    }
    assert table.fetchall()[0][2:4] == (-33.5, 151.25)
    assert [file.name for file in tmp_path.iterdir()] == ["out.parquet"]


def test_a_strange_folder_name_is_no_pattern(answers, tmp_path):
    folder = tmp_path / "a[b]*? 'x'"
    folder.mkdir()
    path = write(folder / "out[1].parquet", answers)
    assert len(list(format_of(path).read(path))) == len(answers)


@pytest.mark.parametrize("name", ["out", "out.txt", "out.csv.gz", ".csv"])
def test_an_unknown_ending_is_refused(name):
    with pytest.raises(InputError, match=r"--out is .*\.csv, \.geojson, \.json, \.jsonl, \.kml, \.parquet"):
        format_of(Path(name))


def test_endings_may_be_capitals():
    assert format_of(Path("OUT.CSV")) is FORMATS[".csv"]
