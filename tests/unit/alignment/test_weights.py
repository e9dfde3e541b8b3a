import json
import struct

import numpy as np
import pytest

from geotoken.alignment.weights import read_weights
from geotoken.errors import ArtifactError

safetensors = pytest.importorskip("safetensors.numpy", reason="the extra train is not installed")


def test_arrays_are_those_of_the_library(tmp_path):
    random = np.random.default_rng(0)
    arrays = {"a.b": random.normal(size=(3, 4)), "c": random.normal(size=5), "d": random.normal(size=())}
    arrays = {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()}
    safetensors.save_file(arrays, tmp_path / "w.safetensors", metadata={"format": "pt"})
    found = read_weights(tmp_path / "w.safetensors")
    assert found.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)


def entry(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


def packed(header, data=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 1 << 40) + b"{}",
        packed(b"["),
        packed([1]),
        packed({"a": 1}),
        packed(entry(dtype="F16")),
        packed(entry(shape=[3])),
        packed(entry(shape=[-2])),
        packed(entry(shape=[10**30])),
        packed(entry(data_offsets=[4, 12])),
        packed(entry(data_offsets=[-8, 0])),
        packed(entry(), b"\0" * 7),
        packed(b"[" * 100_000),
        packed(entry(), struct.pack("<2f", 1.0, float("nan"))),
    ],
)
def test_damage_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"w\.safetensors.*again") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
