"""`locate` and `embed --engine ray` on a real local cluster, against the same commands without it."""

import json
import os
import shutil

import duckdb
import numpy as np
import pytest
from typer.testing import CliRunner

ray = pytest.importorskip("ray", reason="the extra scale (Ray) is not installed")

from geotoken.cli import app  # noqa: E402
from geotoken.features import FeatureStore  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def photos(examples, tmp_path, monkeypatch):
    """Three photos and one that is none, in the folder "photos" of the current one."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("photos")
    for path in sorted(examples.glob("*.jpg"))[:3]:
        shutil.copy(path, "photos")
    with open("photos/bad.jpg", "wb") as file:
        file.write(b"no photo")
    return "photos"


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_locate_writes_the_rows_of_a_file(photos):
    alone = run("locate", photos, "--out", "rows.parquet", "--within", "bbox=-30,-60,180,80")
    assert alone.exit_code == 4
    command = ["locate", photos, "--engine", "ray", "--workers", 2, "--out", "answers"]
    done = run(*command, "--within", "bbox=-30,-60,180,80")
    assert done.exit_code == 4, done.output
    assert done.stdout == "3 photos located, 1 failed; written to answers\n"
    assert "bad.jpg" in done.stderr
    rows = [
        duckdb.sql(f"select * from '{name}' order by image").fetchall()
        for name in ("rows.parquet", "answers/*.parquet")
    ]
    assert len(rows[0]) == 4
    assert rows[0] == rows[1]
    with open("answers/manifest.json", encoding="utf-8") as file:
        manifest = json.load(file)
    assert (manifest["format"], manifest["num_rows"], manifest["num_failures"]) == ("geotoken-answers", 4, 1)
    assert run(*command, "--within", "bbox=-30,-60,180,80", "--resume").exit_code == 4
    refused = run(*command, "--resume")
    assert refused.exit_code == 2
    assert "made of other photos" in refused.stderr


def test_embed_writes_the_store_of_the_other_engine(photos, examples, tmp_path):
    table = (examples / "attribution.csv").read_text(encoding="utf-8").splitlines()
    kept = [table[0], *(line for line in table[1:] if os.path.exists(f"photos/{line.split(',')[0]}"))]
    with open("photos/list.csv", "w", encoding="utf-8") as file:
        file.write("\n".join(kept))
    assert len(kept) == 4
    common = ["photos/list.csv", "--split", "train", "--shard-size", 2]
    assert run("embed", *common, "--out", "plain").exit_code == 0
    uri = f"fsspec+file://{tmp_path}/store"
    done = run("embed", *common, "--engine", "ray", "--workers", 2, "--out", uri, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"folder": uri, "num_rows": 3, "dims": {"image": 384}, "errors": []}
    plain, store = FeatureStore.open("plain"), FeatureStore.open("store")
    rows = np.arange(3)
    for name, values in plain.table(rows).items():
        assert store.table(rows)[name].tolist() == values.tolist()
    np.testing.assert_array_equal(store.batch(rows)["image"], plain.batch(rows)["image"])


def test_what_ray_does_not_read():
    refused = run("embed", "photos", "--engine", "ray", "--layout", "osv5m", "--out", "store")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: --engine ray reads folders, manifests and tars")
    refused = run("embed", "photos", "--workers", 2, "--out", "store")
    assert refused.exit_code == 2
    assert "--workers is for --engine ray" in refused.stderr
