"""What a worker makes of a block; the integration tests have whole folders from a cluster."""

import tarfile

import pytest

pytest.importorskip("ray", reason="the extra scale (Ray) is not installed")

from geotoken.exports.formats import format_of
from geotoken.pipeline import LocateOptions, Locator
from geotoken.scale.locate import LocateJob
from geotoken.scale.plan import plan_photos

JOB = LocateJob(
    options=LocateOptions(),
    loaded={"model": "mini", "gallery": None, "head": None, "offline": True},
    settings={"--model": "mini"},
    describe=lambda error: f"told: {error}",
)


@pytest.fixture(scope="module")
def worker():
    return JOB()


def rows_of(worker, plan, folder):
    folder.mkdir()
    record = worker.do(plan.blocks[0].content, folder, "00000")
    (path,) = folder.iterdir()
    assert path.name == "00000.parquet"
    return record, list(format_of(path).read(path))


def test_rows_are_those_of_an_export(worker, examples, tmp_path):
    photo = examples / "himeji-castle.jpg"
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    plan = plan_photos([photo, tmp_path / "bad.jpg"], block_photos=9, full_names=True)
    record, (good, bad) = rows_of(worker, plan, tmp_path / "shard")
    assert record["num_rows"] == 2
    assert record["failures"] == [{"image": str(tmp_path / "bad.jpg"), "reason": bad["error"]}]
    assert bad["error"].startswith(f"told: cannot read {tmp_path / 'bad.jpg'}: ")
    assert (bad["status"], bad["source_bytes"], bad["lat"]) == ("error", 8, None)
    expected = Locator.from_pretrained("mini", num_threads=1).locate(photo)
    assert (good["image"], good["status"]) == (str(photo), "ok")
    assert (good["lat"], good["lng"]) == pytest.approx((expected.lat, expected.lng))
    assert good["city"] == expected.place.city
    assert good["source_bytes"] == photo.stat().st_size
    assert good["source_mtime_us"] == photo.stat().st_mtime_ns // 1000
    assert len(good["settings"]) == 12


def test_tars_and_photos_that_are_gone(worker, examples, tmp_path):
    photo = examples / "himeji-castle.jpg"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(photo, "x.jpg")
        tar.add(examples / "attribution.csv", "y.txt")
    plan = plan_photos([tmp_path / "a.tar"], block_photos=9)
    record, (good, bad) = rows_of(worker, plan, tmp_path / "shard")
    assert (good["image"], good["status"], good["source_bytes"]) == ("a/x", "ok", photo.stat().st_size)
    assert (bad["image"], bad["status"]) == ("a/y", "error")
    assert "no photo" in bad["error"]
    assert record["num_rows"] == 2
    copy = tmp_path / "gone.jpg"
    copy.write_bytes(photo.read_bytes())
    plan = plan_photos([f"fsspec+file://{copy}"], block_photos=9, full_names=True)
    copy.unlink()
    _, (row,) = rows_of(worker, plan, tmp_path / "other")
    assert (row["status"], row["image"]) == ("error", f"fsspec+file://{copy}")
