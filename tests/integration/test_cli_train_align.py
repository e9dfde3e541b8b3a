"""Stage 1 on a store where what is to be learnt is known, and its alignment in a model."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from feature_stores import make_located_store

pytest.importorskip("lightning_fabric", reason="the extra train is not installed")

from geotoken.alignment import Alignment
from geotoken.artifact import save_artifact
from geotoken.cli import app
from geotoken.geo import haversine_km
from geotoken.images.embed import Encoder
from geotoken.tokens import TokenScheme
from geotoken.train.log import read_log

SETTINGS = """
[network]
dim = 32
text_dim = 32
hidden = [64]
num_frequencies = 32
width = 64
num_hidden = 1
num_buckets = 1024
bucket_width = 16

[align]
validation_share = 0.15
queue_size = 64

[loop]
steps = 60
batch_size = 64
learning_rate = 4e-3
warmup_steps = 5
validate_every = 30
log_every = 5
accelerator = "cpu"
"""


def run(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A store and settings."""
    folder = tmp_path_factory.mktemp("stage-1")
    make_located_store(folder / "store", 1200, dim=24, num_towns=40)
    (folder / "align.toml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="module")
def trained(work):
    result = run(
        "train", "align", work / "store", "--out", work / "align", "--config", work / "align.toml", "--json"
    )
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_photos_of_held_out_owners_are_found_far_better_than_by_chance(work, trained):
    first = next(row for row in read_log(work / "align.training") if row["validation_loss"])
    assert float(first["validation_median_rank"]) > 30  # of some 180 photos
    best = trained["validation"]
    assert best["median_rank"] < 10  # there are several photos in each town
    assert best["acc_at_25km"] > 80
    assert best["median_error_km"] < 25 < float(first["validation_median_error_km"])


def test_new_photos_and_places_compare_in_numpy(work, trained):
    alignment = Alignment.load(work / "align")
    from geotoken.features import FeatureStore

    store = FeatureStore.open(work / "store")
    photos = alignment.project(store.batch(np.arange(200))["image"].astype(np.float32))["location"]
    random = np.random.default_rng(0)
    places = (
        np.concatenate([store.lat[200:], random.uniform(-60, 60, 500)]),
        np.concatenate([store.lng[200:], random.uniform(-180, 180, 500)]),
    )
    best = (photos @ alignment.embed_places(*places).T).argmax(axis=1)
    error_km = haversine_km(store.lat[:200], store.lng[:200], places[0][best], places[1][best])
    assert np.median(error_km) < 25


def test_done_is_done_and_a_dry_run_writes_nothing(work, trained, tmp_path):
    again = run("train", "align", work / "store", "--out", work / "align", "--config", work / "align.toml")
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    before = (work / "align" / "align.safetensors").stat().st_mtime_ns
    resumed = run(
        "train", "align", work / "store", "--out", work / "align", "--config", work / "align.toml", "--resume"
    )
    assert resumed.exit_code == 0, resumed.stderr
    assert "rank of the true place" in resumed.stdout
    assert (work / "align" / "align.safetensors").stat().st_mtime_ns >= before
    dry = run(
        "train",
        "align",
        work / "store",
        "--out",
        tmp_path / "x",
        "--config",
        work / "align.toml",
        "--dry-run",
    )
    assert dry.exit_code == 0, dry.stderr
    assert "60 steps" in dry.stdout
    as_json = run(
        "train",
        "align",
        work / "store",
        "--out",
        tmp_path / "x",
        "--config",
        work / "align.toml",
        "--dry-run",
        "--json",
    )
    assert json.loads(as_json.stdout)["num_steps"] == 60
    assert list(tmp_path.iterdir()) == []


def test_two_processes_learn_the_same_as_one(work, trained):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "geotoken", "train", "align", work / "store", "--out", work / "two", "--steps", "10"]
    done = subprocess.run(
        [*map(str, command), "--config", str(work / "align.toml"), "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["steps"] == 10  # printed once
    one = run(
        "train",
        "align",
        work / "store",
        "--out",
        work / "one",
        "--config",
        work / "align.toml",
        "--steps",
        "10",
    )
    assert one.exit_code == 0, one.stderr
    curves = [
        [float(row["loss"]) for row in read_log(work / f"{name}.training") if row["loss"]]
        for name in ("one", "two")
    ]
    assert len(curves[0]) == 2
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)


@pytest.fixture
def aligned_model(tiny_model, work, tmp_path):
    """The tiny model with an alignment of its own encoder's vectors, trained on nothing much."""
    encoder = Encoder.load(tiny_model / "encoder")
    store = make_located_store(tmp_path / "store", 60, dim=encoder.dim, num_towns=5, encoder=encoder.name)
    settings = work / "align.toml"
    result = run(
        "train", "align", store.folder, "--out", tmp_path / "align", "--config", settings, "--steps", "2"
    )
    assert result.exit_code == 0, result.stderr
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    shutil.copytree(tmp_path / "align", folder / "align")
    save_artifact(folder, name="aligned", scheme=TokenScheme(), head="mixture")
    return folder


def test_an_alignment_selects_by_similarity(aligned_model, tiny_model, examples):
    photo = examples / "himeji-castle.jpg"
    result = run("locate", photo, "--model", aligned_model, "--select", "similarity", "--json")
    assert result.exit_code == 0, result.stderr
    (answer,) = json.loads(result.stdout)
    places = [(one["lat"], one["lng"]) for one in answer["candidates"]]
    assert (answer["lat"], answer["lng"]) in places
    without = run("locate", photo, "--model", tiny_model, "--select", "similarity")
    assert (without.exit_code, without.stdout) == (2, "")
    assert without.stderr == (
        "error: select (--select) 'similarity' needs an alignment, and the model tiny has none; choose one "
        "of log_prob, medoid, mbr, or take a model with one (geotoken train align)\n"
    )
