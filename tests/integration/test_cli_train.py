"""`geotoken train decoder` from a store to a model that locates a photo."""

import json
import os
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from geotoken import Locator
from geotoken.artifact import bundled_models
from geotoken.cli import app
from geotoken.features.write import Modality, StoreWriter
from geotoken.images.embed import Encoder
from geotoken.train.config import read_sections
from geotoken.train.log import read_log
from geotoken.train.settings import SECTIONS

CONFIG = """
[model]
width = 16
num_encoder_layers = 1
num_decoder_layers = 1
num_heads = 2
feed_forward = 16
num_neighbors = 4

[loop]
epochs = 2
batch_size = 64
log_every = 1
accelerator = "cpu"

[decoder]
validation_share = 0.2
greedy_rows = 8
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a store of random vectors under the name of the bundled encoder, and settings."""
    folder = tmp_path_factory.mktemp("train")
    encoder = Encoder.load(bundled_models()["mini"] / "encoder")
    rng = np.random.default_rng(0)
    towns = rng.uniform([-60, -180], [60, 180], (10, 2))
    looks = rng.normal(size=(10, encoder.dim))
    writer = StoreWriter.open(
        folder / "store", {"image": Modality(encoder.dim, encoder.name)}, "test", resume=False
    )
    rows, vectors = [], []
    for number in range(160):
        town = number % 10
        lat, lng = towns[town] + 0.01 * rng.normal(size=2)
        rows.append({"id": f"p{number}", "lat": lat, "lng": lng, "owner": f"o{number % 40}"})
        vectors.append(looks[town] + 0.3 * rng.normal(size=encoder.dim))
    image = np.array(vectors)
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    writer.append(rows, {"image": image.astype(np.float16)}, num_items=160, failures=[])
    writer.finish()
    (folder / "tiny.toml").write_text(CONFIG, encoding="utf-8")
    return folder


def run(*arguments):
    result = CliRunner().invoke(app, ["train", "decoder", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def trained(place):
    """A whole training, its output and the model."""
    code, stdout, stderr = run(
        place / "store", "--out", place / "model", "--config", place / "tiny.toml", "--epochs", 3, "--json"
    )
    assert code == 0, stderr
    return json.loads(stdout), place / "model"


def test_the_model_locates_a_photo(trained, examples):
    facts, folder = trained
    locator = Locator.from_pretrained(folder)
    answer = locator.locate(examples / "himeji-castle.jpg", decoder="beam", beam_width=3)
    assert -90 <= answer.lat <= 90
    assert len(answer.neighbors.lat) == 4
    assert facts["validation"]["loss"] > 0


def test_the_model_says_how_it_was_made(trained):
    facts, folder = trained
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"| loss | {facts['validation']['loss']:.4g} |" in card
    assert "160 photos" in card
    assert "by the same owner" in card
    sections = read_sections(folder / "training.toml", SECTIONS)
    assert sections["loop"]["epochs"] == 3
    assert sections["model"]["modalities"] == [["image", 384]]
    log = read_log(folder.with_name("model.training"))
    assert (folder / "training.csv").read_text() == (
        folder.with_name("model.training") / "log.csv"
    ).read_text()
    validations = {line["step"]: float(line["validation_loss"]) for line in log if line["validation_loss"]}
    assert validations[str(facts["best_step"])] == min(validations.values())
    assert validations["0"] > facts["validation"]["loss"]


def test_a_finished_model_is_not_overwritten(trained, place):
    code, _, stderr = run(
        place / "store", "--out", place / "model", "--config", place / "tiny.toml", "--resume"
    )
    assert code == 2
    assert "exists; give another --out" in stderr


def test_an_interrupted_training_is_resumed(trained, place):
    facts, model = trained
    out = place / "again"
    shutil.copytree(model.with_name("model.training"), out.with_name("again.training"))
    code, _, stderr = run(place / "store", "--out", out, "--config", place / "tiny.toml", "--epochs", 3)
    assert code == 2
    assert "holds a training run; give --resume" in stderr
    code, _, stderr = run(
        place / "store", "--out", out, "--config", place / "tiny.toml", "--epochs", 4, "--resume"
    )
    assert code == 2
    assert "epochs 3 (now 4)" in stderr
    saved = out.with_name("again.training") / "settings.toml"
    assert read_sections(saved, SECTIONS)["loop"]["epochs"] == 3  # as it was
    arguments = [place / "store", "--out", out, "--config", place / "tiny.toml", "--epochs", 3]
    code, stdout, stderr = run(*arguments, "--resume", "--json")
    assert code == 0, stderr
    assert json.loads(stdout)["validation"] == facts["validation"]


def test_a_dry_run_makes_nothing(place):
    before = sorted(os.listdir(place))
    arguments = [place / "store", "--out", place / "none", "--config", place / "tiny.toml", "--dry-run"]
    code, stdout, stderr = run(*arguments, "--machine-tflops", 2, "--json")
    assert code == 0, stderr
    plan = json.loads(stdout)
    assert plan["num_rows"] == 128
    assert plan["num_steps"] == 4
    assert plan["machine_tflops"] == 2
    code, stdout, _ = run(*arguments, "--machine-tflops", 2)
    assert code == 0
    assert f"{plan['num_parameters']:,}" in stdout
    assert sorted(os.listdir(place)) == before


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--config", "no.toml"], "no.toml cannot be read as TOML", 2),
        (["--learning-rate", "-1"], "learning_rate is -1.0", 2),
        (["--precision", "8"], "precision is '8'; choose one of 32-true, bf16-mixed", 2),
        (["--align", "nothing"], "nothing", 3),
        (["--model", "no-such-model"], "no-such-model", 3),
    ],
)
def test_mistakes(place, arguments, message, code):
    found, _, stderr = run(place / "store", "--out", place / "mistake", *arguments)
    assert (found, message in stderr) == (code, True), stderr
    assert stderr.count("\n") == 1
    assert not (place / "mistake").exists()


def test_another_encoder_is_refused(place, tmp_path):
    writer = StoreWriter.open(tmp_path / "store", {"image": Modality(8, "other")}, "x", resume=False)
    rows = [{"id": str(n), "lat": 1.0 * n, "lng": 2.0, "owner": str(n)} for n in range(9)]
    writer.append(rows, {"image": np.ones((9, 8), np.float16)}, num_items=9, failures=[])
    writer.finish()
    code, _, stderr = run(tmp_path / "store", "--out", tmp_path / "model", "--config", place / "tiny.toml")
    assert code == 2
    assert "the store was made with the encoder other, not" in stderr
    assert sorted(os.listdir(tmp_path)) == ["store"]


def test_with_an_alignment_the_model_reads_its_vectors(trained, place, examples):
    from geotoken.alignment import AlignmentConfig
    from geotoken.alignment.network import AlignmentNetwork, save_alignment

    encoder = Encoder.load(bundled_models()["mini"] / "encoder")
    size = {"dim": 8, "text_dim": 5, "hidden": (12,), "num_frequencies": 16, "width": 20}
    config = AlignmentConfig(
        image_encoder=encoder.name, image_dim=encoder.dim, num_buckets=64, bucket_width=4, **size
    )
    save_alignment(AlignmentNetwork(config).eval(), place / "align")
    arguments = [
        place / "store",
        "--align",
        place / "align",
        "--gallery",
        place / "model.training" / "neighbors",
    ]
    out = place / "aligned"
    code, _, stderr = run(*arguments, "--out", out, "--config", place / "tiny.toml", "--epochs", 1)
    assert code == 0, stderr
    sections = read_sections(out / "training.toml", SECTIONS)
    assert sections["model"]["modalities"] == [["image", 384], ["location", 8], ["text", 5]]
    assert not (place / "aligned.training" / "neighbors").exists()
    answer = Locator.from_pretrained(out).locate(examples / "himeji-castle.jpg", select="similarity")
    assert -90 <= answer.lat <= 90
