"""`geotoken locate --mllm` and `geotoken eval --mllm` as a user runs them, against the server on loopback."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from jsonschema import Draft202012Validator
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from geotoken.cli import app
from mllm_server import MllmServer, faulty

DOCS = Path(__file__).parents[2] / "docs"
LOCATED, EVALUATED = (
    Draft202012Validator(json.loads((DOCS / f"{name}.schema.json").read_text(encoding="utf-8")))
    for name in ("locate", "evaluation")
)
KEY = "sk-very-secret-key-of-ours"


@pytest.fixture
def server():
    with MllmServer() as running:
        yield running


@pytest.fixture
def words(tiny_model, server, tmp_path):
    """The words of the command."""
    return [
        *("--model", str(tiny_model), "--mllm-url", server.url, "--mllm-model", "test"),
        *("--mllm-cache", str(tmp_path / "cache")),
    ]


@pytest.fixture
def locate(words, monkeypatch):
    """Run the command; the exit code is checked."""
    monkeypatch.setattr("geotoken.mllm.ask.FIRST_WAIT_S", 0.01)

    def run(*arguments, code=0, **env):
        found = CliRunner(env={"OPENAI_API_KEY": "", **env}).invoke(
            app, ["locate", *words, *map(str, arguments)]
        )
        assert found.exit_code == code, found.output
        return found

    return run


@pytest.mark.parametrize("mode", ["pool", "free", "fuse"])
def test_json_marks_the_source_and_keeps_geotokens_own_answer(locate, server, examples, mode):
    if mode == "pool":
        server.answer = lambda body: '{"reason": "it fits", "candidate": 1}'
    found = locate(examples / "himeji-castle.jpg", "--mllm", mode, "--json")
    rows = json.loads(found.stdout)
    LOCATED.validate(rows)
    (row,) = rows
    assert row["source"] == "mllm"
    assert row["own"]["place"]["country"] == "Japan"
    assert row["mllm"]["mode"] == mode
    assert row["mllm"]["num_requests"] == 1
    assert (row["place"]["country"] == "Japan") == (mode == "pool")
    sending, account = found.stderr.splitlines()
    assert sending.startswith(f"mllm: sending to test at {server.url}, unencrypted: each photo")
    assert account == "mllm: 1 request, 0 answers known before"


def test_a_panel_says_who_answered(locate, examples):
    text = locate(examples / "himeji-castle.jpg", "--mllm", "free").stdout
    assert "Answered with test (free)" in text
    assert "Himeji" in text


def test_a_refusal_leaves_the_own_answer_and_says_so_everywhere(locate, server, examples, tmp_path):
    server.answer = lambda body: "I'm sorry, I can't do that."
    out = tmp_path / "answers.csv"
    (row,) = json.loads(
        locate(examples / "himeji-castle.jpg", "--mllm", "free", "--json", "--out", out).stdout
    )
    assert (row["source"], row["mllm"]["reason"]) == ("geotoken", "it declined to answer")
    assert (row["lat"], row["lng"]) == (row["own"]["lat"], row["own"]["lng"])
    (written,) = csv.DictReader(io.StringIO(out.read_text(encoding="utf-8-sig")))
    assert "did not decide this answer: it declined" in written["warnings"]


def test_requests_hold_no_name_metadata_or_key_of_the_photo(locate, server, tmp_path, examples):
    """A photo full of metadata, in a telling folder; what the server got is searched for all of it."""
    folder = tmp_path / "Ann Owner" / "trip-to-SECRETVILLE"
    folder.mkdir(parents=True)
    with Image.open(examples / "himeji-castle.jpg") as image:
        exif = image.getexif()
        exif[0x010E], exif[0x013B], exif[0x8298] = "DESCRIPTIONTEXT", "ARTISTNAME", "COPYRIGHTTEXT"
        exif[0x010F], exif[0x0110] = "MAKERNAME", "MODELNAME"
        gps = exif.get_ifd(0x8825)
        gps[1], gps[2], gps[3], gps[4] = "N", (12.0, 34.0, 56.0), "E", (98.0, 76.0, 54.0)
        xmp = b"<x:xmpmeta><dc:creator>XMPCREATOR</dc:creator></x:xmpmeta>"
        photo = folder / "IMG_PRIVATENAME.jpg"
        image.save(photo, exif=exif, comment=b"COMMENTTEXT", xmp=xmp, icc_profile=b"ICCPROFILETEXT" * 20)
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", "PNGAUTHOR")
        image.save(folder / "other.png", pnginfo=text)
    secrets = [
        *(b"Ann", b"SECRETVILLE", b"PRIVATENAME", b"DESCRIPTIONTEXT", b"ARTISTNAME", b"COPYRIGHTTEXT"),
        *(b"MAKERNAME", b"MODELNAME", b"XMPCREATOR", b"COMMENTTEXT", b"ICCPROFILETEXT", b"PNGAUTHOR"),
        *(b"Exif", b"http://ns.adobe.com", b"12.58", b"98.28", str(tmp_path).encode(), KEY.encode()),
    ]
    content = photo.read_bytes()
    assert [secret for secret in secrets[1:11] if secret in content] == list(secrets[3:11])
    for mode in ("pool", "free", "fuse"):
        found = locate(folder, "--mllm", mode, "--json", GEOTOKEN_MLLM_API_KEY=KEY)
        assert KEY not in found.output
    assert len(server.sent) == 6
    for sent in server.sent:
        assert sent.headers.pop("authorization") == f"Bearer {KEY}"
        (message,) = sent.body["messages"]
        import base64

        jpeg = base64.b64decode(message["content"][1]["image_url"]["url"].partition(",")[2])
        everything = b"\n".join([sent.path.encode(), json.dumps(sent.headers).encode(), sent.raw, jpeg])
        assert [secret for secret in secrets if secret in everything] == []
        with Image.open(io.BytesIO(jpeg)) as image:
            assert not image.getexif()
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_the_key_is_nowhere_when_the_server_repeats_it(locate, server, examples):
    server.key = "another"
    found = locate(examples / "himeji-castle.jpg", "--mllm", "free", "--json", code=2, OPENAI_API_KEY=KEY)
    assert "401" in found.stderr
    assert KEY not in found.output
    assert json.loads(found.stdout) == []


def test_a_dry_run_writes_requests_and_needs_no_key(locate, server, examples, tmp_path):
    found = locate(examples, "--mllm", "free", "--mllm-dry-run", tmp_path / "dry", "--json")
    assert len(list((tmp_path / "dry").iterdir())) == len(list(examples.glob("*.jpg")))
    assert {row["source"] for row in json.loads(found.stdout)} == {"geotoken"}
    assert server.sent == []
    assert not (tmp_path / "cache").exists()


def test_a_wrong_server_or_model_is_one_line(locate, server, examples):
    photo = examples / "himeji-castle.jpg"
    error = locate(photo, "--mllm", "free", "--mllm-url", "http://127.0.0.1:9/v1", code=2).stderr
    assert "error: the multimodal model cannot be asked: http://127.0.0.1:9/v1 cannot be reached" in error
    server.model = "real"
    error = locate(photo, "--mllm", "free", code=2).stderr
    assert "404 (model 'test' not found); check --mllm-url" in error


def test_a_model_that_reads_no_images_leaves_own_answers(locate, server, examples):
    server.refusal_of = lambda body: "this model does not support images"
    (row,) = json.loads(locate(examples / "himeji-castle.jpg", "--mllm", "free", "--json").stdout)
    assert row["mllm"]["reason"] == "the server says 400 (this model does not support images)"


def test_a_limit_of_requests_leaves_own_answers(locate, server, examples):
    rows = json.loads(locate(examples, "--mllm", "free", "--max-requests", 3, "--json").stdout)
    assert [row["source"] for row in rows].count("mllm") == 3
    assert len(server.sent) == 3
    again = json.loads(locate(examples, "--mllm", "free", "--max-requests", 0, "--json").stdout)
    assert [row["source"] for row in again] == [row["source"] for row in rows]  # those were kept


def test_another_mode_is_not_joined_with_an_unfinished_run(locate, examples, tmp_path):
    out = tmp_path / "answers.jsonl"
    photo = examples / "himeji-castle.jpg"
    locate(photo, "--mllm", "free", "--out", out)
    error = locate(photo, "--mllm", "fuse", "--out", out, "--resume", code=2).stderr
    assert "other options" in error
    locate(photo, "--mllm", "free", "--out", out, "--resume", "--mllm-concurrency", 3)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_goes_on_without_a_repeated_paid_call(words, tmp_path, end):
    """A true process against a faulty server: ended midway and resumed; the server counts."""
    photos, out = tmp_path / "photos", tmp_path / "answers.jsonl"
    photos.mkdir()
    for i in range(24):
        Image.new("RGB", (48, 36), (10 * i, 100, 255 - 10 * i)).save(photos / f"{i:02d}.png")
    with MllmServer(faults=faulty(0.3), latency_s=0.1, stall_s=20.0) as server:
        command = [
            *(sys.executable, "-m", "geotoken", "locate", str(photos), *words, "--mllm-url", server.url),
            *("--mllm", "free", "--out", str(out), "--mllm-timeout", "1", "--mllm-concurrency", "4"),
        ]
        quiet = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.PIPE,
            "env": os.environ | {"OPENAI_API_KEY": ""},
        }
        with subprocess.Popen(command, **quiet) as first:
            while sum(server.paid.values()) < 8 and first.poll() is None:
                time.sleep(0.01)
            first.send_signal(end)
            told = first.communicate()[1].decode()
        assert first.returncode == 128 + end
        assert "--resume goes on from there" in told
        subprocess.run([*command, "--resume"], check=True, **quiet)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert len({row["image"] for row in rows}) == 24
        assert all(row["status"] == "ok" and row["mllm"]["used"] for row in rows)
        assert set(server.paid.values()) == {1}
        assert len(server.paid) == 24
        assert max(server.attempts.values()) <= 5
        assert server.most_under_way <= 4


@pytest.fixture
def table(tmp_path):
    """An evidence table with recorded answers, one of which is missing."""
    path = tmp_path / "evidence.parquet"
    rows = ", ".join(
        f"('p{i}', 'o{i % 3}', {10.0 + i}, {20.0 + i}, [{9.0 + i}, 50.0], [{21.0 + i}, 10.0], "
        f"{'null' if i == 4 else 10.5 + i}, {'null' if i == 4 else 20.5 + i}, 'gemini')"
        for i in range(6)
    )
    columns = "image_id, owner, lat, lng, neighbor_lat, neighbor_lng, guess_lat, guess_lng, guess_source"
    duckdb.sql(f"copy (select * from (values {rows}) t({columns})) to '{path}' (format parquet)")
    return path


@pytest.fixture
def evaluate(table, tmp_path):
    """Evaluate the table; what is printed, the figures and the predictions."""

    def run(*arguments, code=0, source=("--evidence",)):
        names = [tmp_path / "figures.json", tmp_path / "predictions.csv"]
        words = ["eval", *source, table, *arguments, "--json", names[0], "--predictions", names[1]]
        found = CliRunner().invoke(app, [*map(str, words), "--resamples", "20"])
        assert found.exit_code == code, found.output
        if code:
            return found, None, None
        figures = json.loads(names[0].read_text())
        EVALUATED.validate(figures)
        return found, figures, names[1].read_bytes()

    return run


def test_replayed_fuse_is_the_model_with_the_guess_to_the_last_byte(evaluate, table):
    _, expected, with_guess = evaluate()
    _, figures, fused = evaluate("--mllm", "fuse", "--replay", table)
    assert fused == with_guess
    assert figures["nll"] == expected["nll"]
    assert figures["about"]["mllm"] == {
        "mode": "fuse", "models": ["gemini"], "weight": 1.0, "num_recorded": 6, "simulated": False,
    }  # fmt: skip
    assert figures["notes"] == []


@pytest.mark.parametrize("mode", ["pool", "free"])
def test_replayed_pool_and_free_are_labelled_simulated(evaluate, table, mode):
    found, figures, predictions = evaluate("--mllm", mode, "--replay", table)
    assert f"mini + {mode} (simulated)" in found.stdout
    assert f"note: {mode} is simulated" in found.stderr
    assert figures["about"]["mllm"]["simulated"] is True
    assert figures["num_failed"] == 0  # the one without an answer counts as geotoken's own
    _, _, alone = evaluate("--no-guess")
    rows, own = (list(csv.DictReader(io.StringIO(p.decode("utf-8-sig")))) for p in (predictions, alone))
    assert (rows[4]["lat"], rows[4]["lng"]) == (own[4]["lat"], own[4]["lng"])
    if mode == "free":
        assert [float(row["lat"]) for row in rows[:4]] == [10.5, 11.5, 12.5, 13.5]


@pytest.mark.parametrize("arguments", [("--mllm", "fuse"), ("--replay", "x.parquet")])
def test_eval_asks_no_server(evaluate, arguments):
    found, _, _ = evaluate(*arguments, code=2)
    assert "--mllm and --replay FILE go together" in found.stderr
