import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed")

from geotoken.alignment import AlignmentConfig  # noqa: E402
from geotoken.alignment.config import FORMAT_VERSION, KIND  # noqa: E402
from geotoken.alignment.network import AlignmentNetwork, save_alignment  # noqa: E402
from geotoken.errors import ArtifactError  # noqa: E402
from geotoken.manifest import verify_manifest  # noqa: E402
from geotoken.tensors import load_weights  # noqa: E402


def test_it_comes_back_the_same(network, folder):
    verify_manifest(folder, KIND, FORMAT_VERSION)
    loaded = AlignmentNetwork(AlignmentConfig.load(folder / "align.json"))
    assert loaded.config == network.config
    load_weights(loaded, folder / "align.safetensors", "")
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert sorted(path.name for path in folder.iterdir()) == [
        "align.json",
        "align.safetensors",
        "manifest.json",
    ]


def test_a_place_where_nothing_can_be_written(network, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written"):
        save_alignment(network, tmp_path / "file" / "align")
