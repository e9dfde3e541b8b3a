"""`geotoken locate` by Typer's runner on the tiny model, whose gallery holds the example photos."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from typer.testing import CliRunner

from geotoken.cli import app
from geotoken.geo import haversine_km

SCHEMA = json.loads(Path(__file__).parents[2].joinpath("docs/locate.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


@pytest.fixture
def locate(tiny_model):
    """Run the command on the tiny model; the exit code is checked."""

    def run(*arguments: object, code: int = 0, **env: str):
        result = CliRunner(env=env).invoke(app, ["locate", "--model", str(tiny_model), *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def rows(locate):
    """Run the command with --json; what it prints is checked against the schema."""

    def run(*arguments: object, code: int = 0):
        found = json.loads(locate(*arguments, "--json", code=code).stdout)
        VALIDATOR.validate(found)
        return found

    return run


@pytest.fixture
def no_photo(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("this is no photo", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def truth(examples):
    with (examples / "attribution.csv").open(encoding="utf-8") as file:
        return {row["image"]: (float(row["lat"]), float(row["lng"])) for row in csv.DictReader(file)}


def test_the_schema_is_valid_and_strict(rows, examples):
    Draft202012Validator.check_schema(SCHEMA)
    (row,) = rows(examples / "taj-mahal-agra.jpg")
    assert VALIDATOR.is_valid([row | {"region_probability": 0.03}])
    for wrong in (
        row | {"extra": 1},
        row | {"lat": 91.0},
        row | {"log_prob": 0.5},
        row | {"status": "error"},
        row | {"status": "fine"},
        row | {"radius_km": {"50": 1.0}},
        {name: value for name, value in row.items() if name != "levels"},
    ):
        assert not VALIDATOR.is_valid([wrong])


def test_a_folder_is_located_in_order(rows, examples, truth):
    found = rows(examples)
    assert [Path(row["image"]).name for row in found] == sorted(truth)
    for row in found:  # each photo is in the gallery
        assert haversine_km(row["lat"], row["lng"], *truth[Path(row["image"]).name]) < 25
        assert row["neighbors"][0]["similarity"] > 0.98


def test_a_row_is_consistent(rows, examples, tiny_mixture):
    (row,) = rows(examples / "taj-mahal-agra.jpg")
    scheme = tiny_mixture.scheme
    assert row["tokens"] == scheme.encode(row["lat"], row["lng"]).tolist()
    assert row["cell"] == {"hex": row["levels"][-1]["cell_hex"], "level": 20}
    assert [level["level"] for level in row["levels"]] == list(range(0, 21, 2))
    probabilities = [level["probability"] for level in row["levels"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert row["radius_km"]["50"] <= row["radius_km"]["90"]
    assert row["place"]["country_code"] == "IN"
    assert "error" not in row


def test_some_failures_are_rows_and_exit_code_4(locate, examples, no_photo):
    missing = no_photo.with_name("missing.jpg")
    photo = examples / "taj-mahal-agra.jpg"
    result = locate(no_photo, photo, missing, "--json", code=4)
    found = json.loads(result.stdout)
    VALIDATOR.validate(found)
    assert [row["image"] for row in found] == [str(no_photo), str(photo), str(missing)]
    assert [row["status"] for row in found] == ["error", "ok", "error"]
    errors = result.stderr.splitlines()
    assert errors == [f"error: {row['error']}" for row in found if row["status"] == "error"]


def test_only_failures_are_rows_and_exit_code_2(rows, no_photo):
    assert [row["status"] for row in rows(no_photo, no_photo.with_name("no.jpg"), code=2)] == ["error"] * 2
    assert rows(no_photo, "--together", code=2)[0]["status"] == "error"


def test_a_strange_file_name_is_no_trouble(rows, locate, examples, tmp_path):
    path = tmp_path / "a [bold]\x1b[2J\n\udcff é.jpg"
    try:
        shutil.copy(examples / "taj-mahal-agra.jpg", path)
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    assert rows(path)[0]["image"] == str(path)
    text = locate(path, COLUMNS="300").stdout  # wide enough for the longest folder of temporary files
    assert "[bold]" in text
    assert "\x1b" not in text


def test_top_k_limits_candidates_and_neighbors(rows, examples):
    photo = examples / "taj-mahal-agra.jpg"
    (row,) = rows(photo, "--top-k", 2)
    assert (len(row["candidates"]), len(row["neighbors"])) == (2, 2)
    (row,) = rows(photo, "--decoder", "best_first", "--top-k", 7)
    assert len(row["candidates"]) == 7
    log_probs = [candidate["log_prob"] for candidate in row["candidates"]]
    assert log_probs == sorted(log_probs, reverse=True)


def test_samples_follow_the_seed(rows, examples):
    def sampled(*arguments):
        flags = ("--decoder", "sample", "--samples", 12, "--top-k", 12, *arguments)
        return rows(examples / "taj-mahal-agra.jpg", *flags)[0]["candidates"]

    assert sampled("--seed", 1) == sampled("--seed", 1) != sampled("--seed", 2)
    assert sum(candidate["num_samples"] for candidate in sampled("--temperature", 0.5)) == 12
    greedy = rows(examples / "taj-mahal-agra.jpg", "--decoder", "greedy")[0]["candidates"]
    assert [one["tokens"] for one in sampled("--sample-top-k", 1)] == [one["tokens"] for one in greedy]


@pytest.mark.parametrize("method", ["log_prob", "medoid", "mbr"])
def test_every_selection_method_answers(rows, examples, method):
    assert rows(examples / "taj-mahal-agra.jpg", "--select", method)[0]["place"]["country_code"] == "IN"


def test_a_guess_is_evidence(rows, examples):
    photo = examples / "waiheke-gravel-road.jpg"
    cape_town = {"lat1": -33.9, "lng1": 18.4}
    (without,) = rows(photo)
    (with_guess,) = rows(photo, "--guess", "-33.9,18.4,1000")
    assert haversine_km(**cape_town, lat2=without["lat"], lng2=without["lng"]) > 1000
    assert haversine_km(**cape_town, lat2=with_guess["lat"], lng2=with_guess["lng"]) < 50


def test_photos_together_get_one_answer(rows, locate, examples, no_photo):
    photos = [examples / "taj-mahal-agra.jpg", no_photo, examples / "himeji-castle.jpg"]
    found = rows(*photos, "--together", code=4)
    assert [row["status"] for row in found] == ["ok", "error", "ok"]
    for name in ("lat", "lng", "tokens", "log_prob", "levels", "radius_km", "candidates"):
        assert found[0][name] == found[2][name]
    assert found[0]["neighbors"] != found[2]["neighbors"]
    result = locate(*photos, "--together", code=4)
    assert result.stdout.count("╭") == 1
    assert "2 photos of one place" in result.stdout
    assert result.stderr.count("error: ") == 1


def test_another_gallery_is_searched(rows, locate, examples, tmp_path, tiny_model):
    table = tmp_path / "photos.csv"
    table.write_text(f"image,lat,lng,id\n{examples / 'taj-mahal-agra.jpg'},10,20,mine\n", encoding="utf-8")
    built = CliRunner().invoke(
        app, ["gallery", "build", str(table), "--out", str(tmp_path / "gallery"), "--model", str(tiny_model)]
    )
    assert built.exit_code == 0, built.output
    (row,) = rows(examples / "taj-mahal-agra.jpg", "--gallery", tmp_path / "gallery")
    assert [neighbor["id"] for neighbor in row["neighbors"]] == ["mine"]
    assert haversine_km(row["lat"], row["lng"], 10, 20) < 25


def test_gps_in_the_file_is_a_warning_and_no_evidence(rows, locate, examples, tmp_path):
    exif = Image.Exif()
    exif[0x8825] = {1: "S", 2: (33.0, 51.0, 0.0), 3: "E", 4: (151.0, 12.0, 0.0)}
    photo = tmp_path / "gps.png"  # no loss: the pixels stay those of the example
    with Image.open(examples / "taj-mahal-agra.jpg") as image:
        image.save(photo, exif=exif)
    (row,) = rows(photo)
    assert row["place"]["country_code"] == "IN"
    assert len(row["warnings"]) == 1
    assert "already carries GPS (-33.85000, 151.20000)" in row["warnings"][0]
    assert "Note: this file already carries GPS" in locate(photo).stdout


def test_a_person_reads_a_panel(locate, examples):
    result = locate(examples / "taj-mahal-agra.jpg")
    assert result.stderr == ""
    for part in (
        "Near Agra, Uttar Pradesh, India",
        "Even odds within",
        "Narrowing down",
        "Looks like",
        "0.98",
    ):
        assert part in result.stdout
    assert {len(line) for line in result.stdout.splitlines()} == {80}
    assert "\x1b" not in result.stdout


def test_the_panel_uses_the_width_of_the_terminal(locate, examples):
    result = locate(examples / "taj-mahal-agra.jpg", COLUMNS="120")
    assert {len(line) for line in result.stdout.splitlines()} == {120}


def test_many_photos_get_short_panels_and_a_count_of_failures(locate, examples, no_photo):
    result = locate(examples, no_photo, code=4)
    assert result.stdout.count("╭") == 8
    assert "Narrowing down" not in result.stdout
    assert result.stderr.splitlines()[-1] == "error: 1 of 9 photos could not be located"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--head", "transformer"], 2, "the model tiny has mixture"),
        (["--model", "nope"], 3, "there is no model 'nope'"),
        (["--gallery", "nope"], 3, "nope is not a folder"),
    ],
)
def test_what_cannot_work_is_one_line(locate, examples, arguments, code, message):
    result = locate(examples / "taj-mahal-agra.jpg", "--json", *arguments, code=code)
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_tampered_model_is_refused(locate, examples, tiny_model, tmp_path):
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    file = copy / "mixture" / "mixture.json"
    file.write_text(file.read_text(encoding="utf-8").replace("500.0", "501.0"), encoding="utf-8")
    result = locate("--model", copy, examples / "taj-mahal-agra.jpg", code=3)
    assert "mixture.json was changed" in result.stderr


def test_a_bug_asks_for_a_report_and_debug_shows_it(locate, examples, monkeypatch):
    def fail(*arguments, **options):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("geotoken.pipeline.select", fail)
    result = locate(examples / "taj-mahal-agra.jpg", "--json", code=1)
    assert json.loads(result.stdout) == []
    assert result.stderr.startswith("error: this is a bug in geotoken (ZeroDivisionError: oh)")
    assert "Traceback" not in result.stderr
    result = locate(examples / "taj-mahal-agra.jpg", "--debug", code=1)
    assert "Traceback" in result.stderr


def test_an_answer_within_a_region(rows, locate, examples, tmp_path):
    photo = examples / "himeji-castle.jpg"
    (anywhere,) = rows(photo)
    (japan,) = rows(photo, "--within", "country=JP")
    (peru,) = rows(photo, "--within", "country=peru", "--within", "near=-17.6,-69.5,200")
    assert "region_probability" not in anywhere
    assert japan["place"]["country_code"] == "JP"
    assert peru["place"]["country_code"] in ("PE", "BO", "CL")
    assert 0 < peru["region_probability"] < 0.05 < japan["region_probability"] <= 1
    assert japan["levels"][-1]["probability"] > anywhere["levels"][-1]["probability"]
    text = locate(photo, "--within", "country=PE").stdout
    assert "Hardly Peru: the photo alone says" in text
    triangle = tmp_path / "triangle.geojson"
    ring = [[10, 10], [20, 10], [15, 20], [10, 10]]
    triangle.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}), encoding="utf-8")
    for decoder in ("greedy", "beam", "sample", "best_first"):
        (row,) = rows(photo, "--within", triangle, "--decoder", decoder)
        for one in (row, *row["candidates"]):
            assert 10 < one["lat"] < 20
            assert 10 < one["lng"] < 20
