"""A real local cluster of two workers; skipped where Ray is not installed."""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="the extra scale (Ray) is not installed")

from PIL import Image  # noqa: E402

from geotoken.errors import ArtifactError, InputError  # noqa: E402
from geotoken.features import FeatureStore, embed_source, open_items  # noqa: E402
from geotoken.scale import EmbedJob, embed_on_ray, plan_photos  # noqa: E402
from geotoken.scale.run import PROGRESS, Job, _Actor, _raise_again, run_job  # noqa: E402

NUM_PHOTOS = 24


class Mean:
    """The mean colour: a vector that tells photos apart. Each call takes a while and is written down."""

    source, license, dtype = "a test", "none", "float32"
    name, dim, min_side = "mean", 3, 8

    def __init__(self, folder, seconds):
        self.folder, self.seconds = folder, seconds
        (folder / str(os.getpid())).touch()

    def embed(self, photos, *, for_gallery=False):
        time.sleep(self.seconds)
        return np.stack([photo.reshape(-1, 3).mean(axis=0) / 255 for photo in photos]).astype(np.float32)


@dataclass
class MakeEncoders:
    """Loads encoders in a worker and leaves its process id."""

    folder: Path
    seconds: float = 0.0

    def __call__(self):
        return {"image": Mean(self.folder, self.seconds)}


def job_of(tmp_path, seconds=0.0, **options):
    return EmbedJob(make_encoders=MakeEncoders(tmp_path / "pids", seconds), **options)


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def photos(tmp_path):
    """A manifest of photos of one colour each; the ninth is missing, the eleventh nowhere, the last again."""
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = ["image,lat,lng,owner,split"]
    for number in range(NUM_PHOTOS):
        if number != 8:
            Image.new("RGB", (10, 12), (number * 10, number, 255 - number)).save(folder / f"{number:02}.png")
        lat = 100 if number == 10 else number
        lines.append(f"{number:02}.png,{lat},{-number},o{number % 3},{'val' if number % 5 == 0 else ''}")
    lines.append("00.png,1,1,,")
    (folder / "photos.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "pids").mkdir()
    return folder / "photos.csv"


def test_a_killed_worker_loses_nothing_and_doubles_nothing(cluster, photos, tmp_path):
    plan = plan_photos([photos], block_photos=2)
    assert len(plan.blocks) == 13
    progress, killed = tmp_path / "store" / PROGRESS, []

    def kill_one():
        until = time.monotonic() + 60
        while len(list(progress.glob("0*.json"))) < 3:
            assert time.monotonic() < until
            time.sleep(0.01)
        pids = {int(path.name) for path in (tmp_path / "pids").iterdir()} - {os.getpid()}
        killed.append(min(pids))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    report = embed_on_ray(
        plan,
        job_of(tmp_path, 0.2, split="train"),
        tmp_path / "store",
        num_workers=2,
    )
    killer.join()
    assert len({path.name for path in (tmp_path / "pids").iterdir()} - {str(os.getpid())}) >= 2
    with pytest.raises(ProcessLookupError):
        os.kill(killed[0], 0)
    embed_source(open_items(photos), {"image": Mean(tmp_path / "pids", 0)}, tmp_path / "plain", split="train")
    expected, store = FeatureStore.open(tmp_path / "plain"), FeatureStore.open(tmp_path / "store")
    rows = np.arange(NUM_PHOTOS - 2)
    assert report.num_rows == len(store) == len(expected) == len(rows)
    for name, values in expected.table(rows).items():
        assert store.table(rows)[name].tolist() == values.tolist()
    np.testing.assert_array_equal(store.batch(rows)["image"], expected.batch(rows)["image"])
    assert [one.image for one in report.failures] == ["08.png", "10.png", "00.png"]
    assert report.failures[2].reason == "its id came before; ids must be unique"
    assert not list((tmp_path / "store").glob("*.part"))
    assert not progress.exists()


def test_a_rerun_does_only_what_is_missing(cluster, photos, tmp_path):
    plan = plan_photos([photos], block_photos=6)
    make = job_of(tmp_path)
    embed_on_ray(plan, make, tmp_path / "store", num_workers=2)
    with pytest.raises(InputError, match="already there"):
        embed_on_ray(plan, make, tmp_path / "store", num_workers=2)
    again = embed_on_ray(plan, make, tmp_path / "store", num_workers=2, resume=True)
    assert (again.num_rows, len(again.failures)) == (NUM_PHOTOS - 2, 3)
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text(encoding="utf-8"))
    # As it was before the last shards: the manifest not there, their records neither.
    half = tmp_path / "half"
    half.mkdir()
    (half / PROGRESS).mkdir()
    state = {"kind": manifest["format"], "fingerprint": manifest["fingerprint"]}
    (half / PROGRESS / "build.json").write_text(json.dumps(state), encoding="utf-8")
    for number in (0, 2):
        names = [name for name in manifest["files"] if name.startswith(f"{number:05}")]
        for name in names:
            (half / name).write_bytes((tmp_path / "store" / name).read_bytes())
        record = manifest["records"][number] | {"files": {name: manifest["files"][name] for name in names}}
        (half / PROGRESS / f"{number:05}.json").write_text(json.dumps(record), encoding="utf-8")
    kept = (half / "00002.image.safetensors").stat().st_mtime_ns
    with pytest.raises(InputError, match="--resume"):
        embed_on_ray(plan, make, half, num_workers=2)
    with pytest.raises(InputError, match="by the same command"):
        embed_on_ray(plan, replace(make, split="other"), half, num_workers=2, resume=True)
    seen = []
    embed_on_ray(plan, make, half, num_workers=2, resume=True, progress=lambda *done: seen.append(done))
    assert seen == [(2, 5), (3, 5), (4, 5), (5, 5)]
    assert (half / "00002.image.safetensors").stat().st_mtime_ns == kept
    whole = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()}
    assert {path.name: path.read_bytes() for path in half.iterdir()} == whole


@dataclass
class Refusing:
    """A worker that finds its model damaged, or ends its process."""

    kind: type | None
    attempts: Path

    def __call__(self):
        return self

    def do(self, content, folder, stem):
        (self.attempts / str(os.getpid())).touch()
        if self.kind is None:
            os._exit(1)
        raise self.kind("the model is damaged; fetch it again")


def test_what_a_worker_refuses_is_told_here(cluster, photos, tmp_path):
    plan = plan_photos([photos], block_photos=100)
    worker = Refusing(ArtifactError, tmp_path / "pids")
    job = Job(kind="test", format_version=1, make_worker=worker, settings={})
    with pytest.raises(ArtifactError, match=r"^the model is damaged; fetch it again$"):
        run_job(plan, job, tmp_path / "out", num_workers=1)


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (InputError, InputError, "^the model is damaged"),
        (OSError, ArtifactError, r"^a worker failed \(the model is damaged"),
        (ValueError, RuntimeError, "^ValueError in a worker: the model is damaged"),
    ],
)
def test_errors_keep_their_kind(tmp_path, raised, kind, message):
    job = Job(kind="test", format_version=1, make_worker=Refusing(raised, tmp_path), settings={})
    actor = _Actor(job, str(tmp_path / "out"), "run")
    found = actor({"number": np.array([3]), "content": [b""]})
    (told,), (trace,) = found["error"], found["trace"]
    with pytest.raises(kind, match=message) as caught:
        _raise_again(told, trace)
    assert ("test_run.py" in "".join(getattr(caught.value, "__notes__", ()))) == (kind is RuntimeError)


@pytest.mark.slow
def test_a_block_that_ends_every_process_is_given_up(cluster, photos, tmp_path):
    plan = plan_photos([photos], block_photos=100)
    worker = Refusing(None, tmp_path / "pids")
    job = Job(kind="test", format_version=1, make_worker=worker, settings={})
    with pytest.raises(InputError, match=r"the worker died 4 times at block 0;.*--resume"):
        run_job(plan, job, tmp_path / "out", num_workers=1)
    assert len(list((tmp_path / "pids").iterdir())) == 4


@pytest.mark.slow
def test_nothing_usable(cluster, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no photo")
    (tmp_path / "pids").mkdir()
    plan = plan_photos([tmp_path / "a.png"], block_photos=4)
    with pytest.raises(
        InputError, match=r"none of the 1 photos of the source can be used; the first.*a\.png"
    ):
        embed_on_ray(plan, job_of(tmp_path), tmp_path / "store", num_workers=1)
    assert not (tmp_path / "store").exists()


def test_a_folder_of_other_things_is_left_alone(cluster, photos, tmp_path):
    plan = plan_photos([photos], block_photos=100)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "note.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="not of an unfinished run"):
        embed_on_ray(plan, job_of(tmp_path), tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["note.txt"]
    with pytest.raises(InputError, match="--workers"):
        embed_on_ray(plan, job_of(tmp_path), tmp_path / "new", num_workers=0)
