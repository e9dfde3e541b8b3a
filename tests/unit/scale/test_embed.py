"""What a worker makes of a block; test_run.py has whole stores from a cluster."""

import io
import tarfile

import pytest

pytest.importorskip("ray", reason="the extra scale (Ray) is not installed")

import numpy as np
from PIL import Image

from geotoken.errors import InputError
from geotoken.features.shard import FeatureFile, read_table
from geotoken.scale.embed import EmbedJob, embed_on_ray
from geotoken.scale.plan import plan_photos


class Mean:
    source, license, dtype, name, dim, min_side = "a test", "none", "float32", "mean", 3, 8

    def embed(self, photos, *, for_gallery=False):
        assert not for_gallery, "rows are embedded as queries are"
        return np.stack([photo.reshape(-1, 3).mean(axis=0) / 255 for photo in photos]).astype(np.float32)


def make_encoders():
    return {"image": Mean(), "look": Mean()}


def test_a_block_becomes_a_shard(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(40):  # more than are embedded at once
        Image.new("RGB", (9, 9), (number, 0, 0)).save(photos / f"{number:02}.png")
    (photos / "07.png").write_bytes(b"no photo")
    rows = "\n".join(f"{number:02}.png,{number},{-number},ann" for number in range(40))
    (photos / "list.csv").write_text(f"image,lat,lng,attribution\n{rows}\n", encoding="utf-8")
    (block,) = plan_photos([photos / "list.csv"], block_photos=64).blocks
    shard = tmp_path / "shard"
    shard.mkdir()
    record = EmbedJob(make_encoders=make_encoders, split="train")().do(block.content, shard, "00003")
    assert record["num_rows"] == 39
    (failure,) = record["failures"]
    assert failure["image"] == "07.png"
    assert failure["reason"].startswith("cannot read 07.png: ")
    assert sorted(path.name for path in shard.iterdir()) == [
        "00003.image.safetensors", "00003.look.safetensors", "00003.parquet",
    ]  # fmt: skip
    table = read_table(shard / "00003.parquet", ("key", "id", "split", "lat", "attribution"))
    features = FeatureFile(shard / "00003.look.safetensors")
    np.testing.assert_array_equal(features.keys, table["key"])
    np.testing.assert_allclose(features.vectors[:, 0] * 255, table["lat"], atol=0.1)
    assert table["id"].tolist() == [f"{number:02}.png" for number in range(40) if number != 7]
    assert set(table["split"]) == {"train"}
    assert set(table["attribution"]) == {"ann"}


def test_impossible_modalities_are_told_before_ray_is_started(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    plan = plan_photos([tmp_path], block_photos=1)
    with pytest.raises(InputError, match="modality"):
        embed_on_ray(plan, EmbedJob(make_encoders=lambda: {"Image": Mean()}), tmp_path / "out")


def test_tars_and_another_loader_here(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (9, 9), (10, 0, 0)).save(stream, "PNG")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        files = {"x.png": stream.getvalue(), "x.json": b'{"lat": 1, "lon": 2}', "y.png": stream.getvalue()}
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (block,) = plan_photos([tmp_path / "a.tar"], block_photos=9).blocks
    shard = tmp_path / "shard"
    shard.mkdir()
    record = EmbedJob(make_encoders=make_encoders)().do(block.content, shard, "00000")
    assert record["num_rows"] == 1
    assert record["failures"] == [
        {"image": "a/y", "reason": "no GPS position in its EXIF or beside it; give it in a CSV"}
    ]
    assert read_table(shard / "00000.parquet", ("id", "lat"))["id"].tolist() == ["a/x"]

    def refuse():
        raise InputError("loaded here")

    job = EmbedJob(make_encoders=make_encoders, make_here=refuse)
    with pytest.raises(InputError, match="loaded here"):
        embed_on_ray(plan_photos([tmp_path / "a.tar"], block_photos=9), job, tmp_path / "out")
