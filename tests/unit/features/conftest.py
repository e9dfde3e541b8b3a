"""A cheap encoder, photos and tars."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image


class Mean:
    """The mean colour and its square: a vector that tells photos apart."""

    source, license, dtype = "a test", "none", "float32"

    def __init__(self, name="mean", scale=1.0):
        self.name = name
        self.dim = 6
        self.min_side = 8
        self.scale = scale
        self.num_calls = 0

    def embed(self, photos, *, for_gallery=False):
        assert not for_gallery, "rows are embedded as queries are"
        self.num_calls += 1
        means = np.stack([photo.reshape(-1, 3).mean(axis=0) / 255 for photo in photos])
        return (np.concatenate([means, means**2], axis=1) * self.scale).astype(np.float32)


def png(number):
    """A photo of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (10, 12), (number % 256, number * 7 % 256, number * 31 % 256)).save(stream, "PNG")
    return stream.getvalue()


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def make_encoder():
    return Mean


@pytest.fixture
def make_png():
    return png


@pytest.fixture
def photos_csv(tmp_path):
    """Twenty photos in a CSV, with owners and splits; one is missing, one has no possible position."""
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = ["image,lat,lng,owner,split"]
    for number in range(20):
        if number != 7:
            (folder / f"{number}.png").write_bytes(png(number))
        lat = 999 if number == 11 else number
        lines.append(f"{number}.png,{lat},{-number},owner-{number % 3},{'val' if number % 5 == 0 else ''}")
    (folder / "photos.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "photos.csv"


@pytest.fixture
def make_tar(tmp_path):
    """Write a tar of (name, content): content is bytes, or JSON to be."""

    def make(name, files):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for member, content in files:
                add(tar, member, content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return make
