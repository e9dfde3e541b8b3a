import random

import numpy as np
import pytest
import torch

from geotoken.errors import ArtifactError, InputError
from geotoken.train.checkpoint import (
    check_same,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)


def test_a_state_comes_back(tmp_path):
    path = tmp_path / "a.ckpt"
    save_checkpoint(path, {"step": 3, "weights": {"a": torch.arange(4.0)}, "names": ["x", ("y", 1)]})
    state = load_checkpoint(path)
    assert (state["step"], state["names"]) == (3, ["x", ("y", 1)])
    torch.testing.assert_close(state["weights"]["a"], torch.arange(4.0))
    assert [one.name for one in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.ckpt"
    save_checkpoint(path, {"step": 3})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, {"step": 4, "bad": lambda: None})
    assert load_checkpoint(path)["step"] == 3
    assert [one.name for one in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_full_disk_is_told_as_one(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.ckpt"
    save_checkpoint(path, {"step": 3})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_checkpoint(path, {"step": 4, "weights": torch.zeros(1 << 20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load_checkpoint(path)["step"] == 3
    assert [one.name for one in tmp_path.iterdir()] == ["a.ckpt"]


class Malicious:
    def __reduce__(self):
        return (print, ("run",))


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    path = tmp_path / "a.ckpt"
    torch.save({"format": 1, "bad": Malicious()}, path)
    with pytest.raises(ArtifactError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nothing", None])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "a.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"a\.ckpt cannot be read"):
        load_checkpoint(path)


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"format": 9}, path)
    with pytest.raises(ArtifactError, match="format 9"):
        load_checkpoint(path)


def test_what_differs_is_named(tmp_path):
    check_same(tmp_path, {"a": 1, "b": "x"}, {"b": "x", "a": 1})
    with pytest.raises(InputError, match=r"a 1 \(now 2\), c None \(now 3\)"):
        check_same(tmp_path, {"a": 1, "b": 0}, {"a": 2, "b": 0, "c": 3})


def test_random_states_come_back(tmp_path):
    save_checkpoint(tmp_path / "a.ckpt", {"random": random_state()})
    before = random.random(), np.random.rand(), torch.rand(()).item()
    restore_random_state(load_checkpoint(tmp_path / "a.ckpt")["random"])
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == before
