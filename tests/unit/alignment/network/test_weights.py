import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed")

from geotoken.alignment.config import FORMAT_VERSION, KIND  # noqa: E402
from geotoken.alignment.network import load_alignment, save_alignment  # noqa: E402
from geotoken.errors import ArtifactError  # noqa: E402
from geotoken.manifest import write_manifest  # noqa: E402


def test_it_comes_back_the_same(network, folder):
    loaded = load_alignment(folder)
    assert loaded.config == network.config
    assert not loaded.training
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert sorted(path.name for path in folder.iterdir()) == [
        "align.json",
        "align.safetensors",
        "manifest.json",
    ]


def test_damage_is_refused(folder):
    (folder / "align.safetensors").write_bytes(b"{}")
    with pytest.raises(ArtifactError, match=r"align\.safetensors has 2 bytes"):
        load_alignment(folder)
    write_manifest(folder, kind=KIND, format_version=FORMAT_VERSION)
    with pytest.raises(ArtifactError, match=r"does not hold the weights of its configuration") as caught:
        load_alignment(folder)
    assert "\n" not in str(caught.value)


def test_a_place_where_nothing_can_be_written(network, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written"):
        save_alignment(network, tmp_path / "file" / "align")
