import pytest
import torch
from torch import nn

from geotoken.errors import ArtifactError
from geotoken.tensors import load_weights, save_weights


def test_weights_come_back_as_they_were(tmp_path):
    network, other = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(network, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors", "train again")
    torch.testing.assert_close(other.state_dict(), network.state_dict(), atol=0, rtol=0)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_a_missing_or_damaged_file_is_named_with_what_to_do(tmp_path, content):
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"w\.safetensors .*; train again"):
        load_weights(nn.Linear(3, 2), path, "train again")


def test_weights_of_another_network_are_refused(tmp_path):
    save_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")
    with pytest.raises(ArtifactError, match="does not hold the weights of its configuration"):
        load_weights(nn.Linear(4, 2), tmp_path / "w.safetensors", "train again")
