"""`geotoken embed` from photos to a store, and what it says when something is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from geotoken.artifact import bundled_models
from geotoken.cli import app
from geotoken.features import FeatureStore
from geotoken.images.embed import Encoder
from geotoken.images.read import read

ROOT = Path(__file__).parents[2]


def run(*arguments):
    return CliRunner().invoke(app, ["embed", *map(str, arguments)])


def test_the_examples_as_a_store(examples, tmp_path):
    done = run(examples / "attribution.csv", "--out", tmp_path / "store", "--split", "train")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("8 photos in the feature store")
    store = FeatureStore.open(tmp_path / "store")
    encoder = Encoder.load(bundled_models()["mini"] / "encoder")
    assert store.encoders == {"image": encoder.name}
    photo = read(examples / store.table(np.array([2]))["id"][0], min_side=encoder.min_side)
    expected = encoder.embed([photo.pixels])[0]  # as a query, not with the views of a gallery
    np.testing.assert_allclose(store.batch(np.array([2]))["image"][0], expected, atol=2e-3)
    assert len(store.rows_of("train")) == 8


def test_failures_are_told_and_end_in_4(examples, tmp_path):
    table = tmp_path / "photos.csv"
    table.write_text(
        f"image,lat,lng\n{examples}/himeji-castle.jpg,34.8,134.7\nabsent.jpg,1,2\n", encoding="utf-8"
    )
    done = run(table, "--out", tmp_path / "store", "--json")
    assert done.exit_code == 4
    assert json.loads(done.stdout)["num_rows"] == 1
    assert "error: absent.jpg" in done.stderr
    assert run(table, "--out", tmp_path / "store").exit_code == 2
    assert run(table, "--out", tmp_path / "store", "--resume").exit_code == 4


def test_backbones_by_folder(examples, tmp_path):
    torch = pytest.importorskip("torch", reason="the extra backbones is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra backbones is not installed")
    torch.manual_seed(1)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(tmp_path / "dino")
    pixels = {
        "size": {"height": 28, "width": 28},
        "resample": 3,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (tmp_path / "dino" / "preprocessor_config.json").write_text(json.dumps(pixels), encoding="utf-8")
    flags = [
        "--model",
        "mini",
        "--backbone",
        f"look={tmp_path / 'dino'}",
        "--dtype",
        "bfloat16",
        "--device",
        "cpu",
    ]
    done = run(examples / "attribution.csv", "--out", tmp_path / "store", *flags)
    assert done.exit_code == 0, done.output
    assert FeatureStore.open(tmp_path / "store").dims == {"image": 384, "look": 32}


def test_a_corrupted_shard_is_named(examples, tmp_path):
    run(examples / "attribution.csv", "--out", tmp_path / "store", "--shard-size", 3)
    path = tmp_path / "store" / "00001.image.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Exception, match=r"00001\.image\.safetensors was changed"):
        FeatureStore.open(tmp_path / "store")


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_kill_9_and_resume_give_the_same_store(examples, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    arguments = [examples / "attribution.csv", "--shard-size", 1]
    command = [
        sys.executable,
        "-m",
        "geotoken",
        "embed",
        *map(str, arguments),
        "--out",
        str(tmp_path / "killed"),
    ]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    progress = tmp_path / "killed.partial" / ".progress"
    while process.poll() is None and len(list(progress.glob("0*.json"))) < 2:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = run(*arguments, "--out", tmp_path / "killed", "--resume")
    assert done.exit_code == 0, done.output
    run(*arguments, "--out", tmp_path / "whole")
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == names
    for name in names:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere", "--out", "x"], "nowhere"),
        (["nowhere", "--out", "x", "--layout", "mp16"], "MP16_Pro_filtered.csv"),
        (["nowhere", "--out", "x", "--layout", "odd"], "--layout"),
    ],
)
def test_usage_errors_are_one_line(arguments, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2
    assert word in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
