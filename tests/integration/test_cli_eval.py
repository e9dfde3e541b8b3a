"""`geotoken eval` by Typer's runner on the tiny model: every kind of input, every file it writes."""

import csv
import html
import json
import shutil
import signal
from pathlib import Path

import duckdb
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from geotoken.cli import app
from geotoken.evaluate.run import Case
from geotoken.geo import haversine_km
from geotoken.pipeline import Locator

SCHEMA = json.loads(
    Path(__file__).parents[2].joinpath("docs/evaluation.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = Draft202012Validator(SCHEMA)
CONTRACT = [
    *(f"acc_at_{r}km" for r in (1, 25, 200, 750, 2500)),
    "median_error_km",
    "mean_error_km",
    "geoscore",
]
CONTRACT += ["nll", "coverage_50", "coverage_90"]
NUM_ROWS = 8
FEW = ("--resamples", 20)


def _run(*arguments, code=0):
    result = CliRunner().invoke(app, ["eval", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def run():
    """Run the command; the exit code is checked."""
    return _run


@pytest.fixture(scope="module")
def done(evidence, tiny_model, tmp_path_factory):
    """A folder with all that one run writes, and what it printed; not to be changed."""
    folder = tmp_path_factory.mktemp("done")
    files = ("--json", folder / "b.json", "--predictions", folder / "b.csv", "--report", folder / "report")
    output = _run("--evidence", evidence, "--model", tiny_model, "--baselines", *files).output
    (folder / "output.txt").write_text(output, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def result(done):
    """The figures of that run."""
    return json.loads((done / "b.json").read_text())


@pytest.fixture
def figures(run, tmp_path):
    """Run the command with --json; what it writes is checked against the schema."""

    def call(*arguments, code=0):
        path = tmp_path / "figures.json"
        run(*arguments, "--json", path, code=code)
        found = json.loads(path.read_text())
        VALIDATOR.validate(found)
        return found

    return call


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    """Twelve photos by four people: three neighbors each, one near the truth; half have a guess at it."""
    path = tmp_path_factory.mktemp("evidence") / "evidence.parquet"
    rng = np.random.default_rng(0)
    rows = []
    for i in range(NUM_ROWS):
        lat, lng = (float(x) for x in (rng.uniform(-50, 60), rng.uniform(-170, 170)))
        lats, lngs = (
            [lat + 0.01, *rng.uniform(-50, 60, 2).tolist()],
            [lng, *rng.uniform(-170, 170, 2).tolist()],
        )
        guess = f"{lat}, {lng}" if i % 2 else "null, null"
        rows.append(f"('p{i}', 'o{i % 4}', {lat}, {lng}, {lats}, {lngs}, {guess}, 'x')")
    names = "image_id, owner, lat, lng, neighbor_lat, neighbor_lng, guess_lat, guess_lng, guess_source"
    with duckdb.connect() as connection:
        connection.sql(f"select * from (values {', '.join(rows)}) t({names})").write_parquet(str(path))
    return path


@pytest.fixture
def truth(tmp_path, examples):
    """The example photos, of which one has no file, as a table of Im2GPS3k."""
    path = tmp_path / "truth.csv"
    with (examples / "attribution.csv").open(encoding="utf-8") as file:
        rows = [(row["image"], "me", row["lat"], row["lng"]) for row in csv.DictReader(file)][:3]
    lines = ["IMG_ID,AUTHOR,LAT,LON", *(",".join(row) for row in rows), "gone.jpg,you,1,2"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_schema_is_valid_and_strict(result):
    Draft202012Validator.check_schema(SCHEMA)
    found = result
    VALIDATOR.validate(found)
    for wrong in (
        found | {"extra": 1},
        found | {"acc_at_1km": 101},
        {k: v for k, v in found.items() if k != "nll"},
    ):
        assert not VALIDATOR.is_valid(wrong)


def test_evidence_is_evaluated_with_every_key_of_the_contract(result, done):
    found = result
    assert found["n"] == found["num_with_posterior"] == NUM_ROWS
    for name in CONTRACT:
        low, high = found["ci95"][name]
        assert low <= found[name] <= high, name
    assert found["bootstrap"]["num_clusters"] == 4
    assert len(found["about"]["data_sha256"][0]) == len(found["about"]["model_sha256"]) == 64
    rows = _rows(done / "b.csv")
    assert [row["image"] for row in rows] == [f"p{i}" for i in range(NUM_ROWS)]
    column = {
        name: np.array([float(row[name]) for row in rows]) for name in ("lat", "lng", "true_lat", "true_lng")
    }
    error_km = haversine_km(column["lat"], column["lng"], column["true_lat"], column["true_lng"])
    np.testing.assert_allclose([float(row["error_km"]) for row in rows], error_km)
    assert found["acc_at_25km"] == pytest.approx(100 * np.mean(error_km <= 25))
    assert found["nll"] == pytest.approx(np.mean([float(row["nll"]) for row in rows]))
    assert not list(done.glob("*.partial.jsonl"))


def test_rows_are_those_of_the_library(done, evidence, tiny_model):
    from geotoken.evaluate import cases_of_evidence, examine, load_evidence_table
    from geotoken.pipeline import LocateOptions

    (case,) = cases_of_evidence(load_evidence_table(evidence, guesses=True, limit=1))
    assert isinstance(case, Case)
    expected = examine(Locator.from_pretrained(tiny_model), LocateOptions(), (case, None))
    row = _rows(done / "b.csv")[0]
    for name in ("lat", "lng", "nll", "credible_low", "region_90_km2", "probability_200km"):
        assert float(row[name]) == pytest.approx(expected[name])


def test_a_transformer_is_evaluated_like_any_head(figures, evidence, tiny_transformer):
    found = figures("--evidence", evidence, "--model", tiny_transformer, "--limit", 2, *FEW)
    assert found["num_with_posterior"] == 2
    assert found["nll"] > 0


def test_processes_find_what_one_finds(run, done, evidence, tiny_model, tmp_path):
    run(
        "--evidence",
        evidence,
        "--model",
        tiny_model,
        "--predictions",
        tmp_path / "two.csv",
        "--workers",
        2,
        *FEW,
    )
    assert (tmp_path / "two.csv").read_text() == (done / "b.csv").read_text()


def test_baselines_stand_beside(result, done):
    assert set(result["baselines"]) == {
        "nearest_neighbor",
        "five_scale_vote",
        "guess",
        "five_scale_vote_with_guess",
    }
    assert result["baselines"]["nearest_neighbor"]["acc_at_25km"] == 100.0
    assert result["baselines"]["guess"]["num_failed"] == NUM_ROWS / 2
    text = " ".join((done / "output.txt").read_text(encoding="utf-8").split())
    assert "nearest" in text
    assert f"{NUM_ROWS // 2} photos without an answer" in text


def test_photos_are_evaluated_and_a_missing_one_is_wrong(figures, run, truth, examples, tiny_model, tmp_path):
    common = ("--images", examples, "--truth", truth, "--model", tiny_model)
    found = figures(*common, code=4)
    assert (found["n"], found["num_failed"]) == (4, 1)
    assert found["acc_at_25km"] == 75.0, "each photo is in the gallery"
    assert found["coverage_90"] <= 75.0
    assert found["failures"][0]["image"] == "gone.jpg"
    assert "gone.jpg" in run(*common, code=4).output
    assert any("no truth" in note for note in found["notes"])


def test_when_every_photo_failed_the_exit_code_is_2(run, examples, tiny_model, tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("image,lat,lng\ngone.jpg,1,2\n")
    run("--images", examples, "--truth", path, "--model", tiny_model, code=2)


def test_leakage_is_shown_side_by_side(figures, truth, examples, tiny_model, tmp_path):
    out = tmp_path / "p.csv"
    common = ("--images", examples, "--truth", truth, "--model", tiny_model)
    found = figures(*common, "--leakage-check", "--predictions", out, code=4)
    assert found["acc_at_25km"] == 75.0
    assert found["guarded"]["acc_at_25km"] == 0.0, "what it knew, it knew from the photos themselves"
    assert found["about"]["guard"] == {"owner": True, "near_km": 0.05, "duplicate_similarity": 0.98}
    assert len(_rows(out)) == len(_rows(tmp_path / "p-guarded.csv")) == 4
    alone = figures(*common, "--exclude-near", 1, code=4)
    assert alone["acc_at_25km"] == 0.0
    assert "guarded" not in alone


def test_predictions_of_any_system_are_evaluated(figures, truth, tmp_path):
    path = tmp_path / "theirs.csv"
    name, _, lat, lng = truth.read_text().splitlines()[1].split(",")
    path.write_text(f"file,pred_lat,pred_lon,score\nfolder/{name},{lat},{lng},0.9\nother.jpg,1,1,0.1\n")
    found = figures("--from", path, "--truth", truth)
    assert (found["n"], found["num_failed"]) == (4, 3)
    assert found["acc_at_1km"] == 25.0
    assert found["nll"] is None
    assert "1km" in found["curves"]["selective"]
    assert any("1 predictions" in note for note in found["notes"])


def test_our_own_predictions_give_the_same_figures_again(figures, result, done):
    again = figures("--from", done / "b.csv")
    for name in CONTRACT:
        assert again[name] == pytest.approx(result[name])
    for name in ("num_failed", "ci95", "curves"):
        assert again[name] == result[name]


def test_guesses_help_and_two_systems_are_compared(figures, run, done, evidence, tiny_model, tmp_path):
    run(
        "--evidence", evidence, "--model", tiny_model, "--no-guess", "--predictions", tmp_path / "a.csv", *FEW
    )
    pair = ("--compare", tmp_path / "a.csv", done / "b.csv")
    found = figures(*pair)
    assert found["names"] == ["a", "b"]
    assert found["difference"]["nll"] == pytest.approx(found["b"]["nll"] - found["a"]["nll"])
    assert found["difference"]["nll"] < 0
    text = run(*pair).output
    assert "difference" in text
    assert "over 4 owners" in text


def test_formulas_and_comparisons_are_chosen(figures, tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("image,lat,lng,true_lat,true_lng\na,1,0,0,0\n")
    plain = figures("--from", path)
    assert plain["median_error_km"] == pytest.approx(111.195, abs=1e-3)
    assert plain["distance"] == {"formula": "haversine", "radius_km": 6371.0088, "comparison": "<="}
    wide = figures("--from", path, "--distance", "haversine-6378", "--strict")
    assert wide["median_error_km"] == pytest.approx(111.319, abs=1e-3)
    assert wide["distance"]["comparison"] == "<"
    exact = figures("--from", path, "--distance", "geodesic")
    assert exact["median_error_km"] == pytest.approx(110.574, abs=1e-3)


def test_an_interrupted_run_is_resumed(run, done, evidence, tiny_model, tmp_path, monkeypatch):
    out = tmp_path / "p.csv"
    common = ("--evidence", evidence, "--model", tiny_model, "--predictions", out)
    whole, calls = Locator.locate_evidence, []

    def stopping(self, *given, **named):
        calls.append(1)
        if len(calls) == 6:
            signal.raise_signal(signal.SIGINT)
        return whole(self, *given, **named)

    monkeypatch.setattr(Locator, "locate_evidence", stopping)
    assert f"5 of {NUM_ROWS} photos are done" in run(*common, code=130).output
    assert not out.exists()
    assert "add --resume" in run(*common, code=2).output
    assert "now" in run(*common, "--resume", "--seed", 5, code=2).output
    run(*common, "--resume")
    assert len(calls) == 6 + NUM_ROWS - 5
    assert out.read_text() == (done / "b.csv").read_text()


def test_a_report_is_written_with_the_figures_beside_it(run, result, done, tmp_path):
    assert json.loads((done / "report" / "evaluation.json").read_text()) == result
    page = (done / "report" / "index.html").read_text(encoding="utf-8")
    about = result["about"]
    for text in (html.escape(about["command"]), about["model_sha256"], *about["data_sha256"]):
        assert text in page
    assert page.count("<tr id=") == NUM_ROWS
    folder = tmp_path / "report"
    for limit in (4, 2):  # the second time over the first
        run("--from", done / "b.csv", "--report", folder, "--limit", limit, *FEW)
        assert (folder / "index.html").read_text(encoding="utf-8").count("<tr id=") == limit


def test_from_the_command_in_the_figures_they_can_be_made_again(figures, evidence, tiny_model):
    flags = ("--evidence", evidence, "--model", tiny_model, "--limit", 1, "--no-guess", "--decoder", "greedy")
    words = figures(*flags)["about"]["command"].split()
    assert words[:2] == ["geotoken", "eval"]
    assert {"--no-guess", "--limit", "1", "--decoder", "greedy"} <= set(words)
    assert "--seed" not in words


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "nothing to evaluate"),
        (("--evidence", "{e}", "--images", "."), "--evidence and --images"),
        (("--images", "."), "--truth FILE.csv"),
        (("--images", ".", "--truth", "{e}", "--no-guess"), "--no-guess does not go with --images"),
        (("--evidence", "{e}", "--exclude-owner"), "--exclude-owner does not go with --evidence"),
        (("--from", "{e}", "--model", "mini"), "--model does not go with --from"),
        (("--compare", "{e}", "{e}", "--report", "r"), "--report does not go with --compare"),
        (("--evidence", "{e}", "--resume"), "--predictions FILE.csv"),
        (("--evidence", "{e}", "--limit", "0"), "--limit is 0"),
        (("--evidence", "{e}", "--workers", "0"), "--workers"),
        (("--evidence", "{e}", "--distance", "flat"), "--distance"),
        (("--evidence", "{e}", "--resamples", "1"), "--resamples"),
        (("--evidence", "{e}", "--utility", "best"), "--utility is 'best'"),
        (("--evidence", "{e}", "--select", "best"), "--select"),
        (("--evidence", "{e}", "--head", "best"), "--head"),
        (("--evidence", "{e}", "--json", __file__), "ends in .json"),
        (("--evidence", "none.parquet"), "cannot be read"),
        (("--from", "none.csv"), "cannot be read"),
    ],
)
def test_mistakes_are_one_line(run, evidence, tiny_model, flags, words):
    model = () if "--from" in flags or "--compare" in flags else ("--model", str(tiny_model))
    output = run(*(flag.format(e=evidence) for flag in flags), *model, code=2).output
    assert words in " ".join(output.split())
    assert output.count("\n") == 1
    assert output.startswith("error: ")


def test_inputs_are_not_overwritten(run, tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("image,lat,lng,true_lat,true_lng\na,1,0,0,0\n")
    before = path.read_text()
    assert "one of the files to be read" in run("--from", path, "--predictions", path, code=2).output
    assert path.read_text() == before


def test_a_photo_is_found_wherever_the_truth_says(figures, examples, tiny_model, tmp_path):
    folder = tmp_path / "photos" / "00"
    folder.mkdir(parents=True)
    shutil.copy(examples / "himeji-castle.jpg", folder / "1.jpg")
    path = tmp_path / "t.csv"
    path.write_text("id,latitude,longitude\n1,34.8394,134.6939\n")
    found = figures("--images", tmp_path / "photos", "--truth", path, "--model", tiny_model)
    assert found["acc_at_25km"] == 100.0
