import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed")

from geotoken.alignment.network.head import ProjectionHead  # noqa: E402
from geotoken.errors import ArtifactError  # noqa: E402


def test_equals_a_plain_perceptron(tmp_path):
    torch.manual_seed(1)
    head = ProjectionHead([4, 6, 3])
    (a, b), (c, d) = ((layer.weight, layer.bias) for layer in head.layers)
    vectors = torch.randn(5, 4)
    expected = torch.relu(vectors @ a.T + b) @ c.T + d
    torch.testing.assert_close(head(vectors), expected)
    head.save(tmp_path / "head.safetensors")
    loaded = ProjectionHead.load(tmp_path / "head.safetensors")
    assert loaded.widths == (4, 6, 3)
    torch.testing.assert_close(loaded(vectors), expected, rtol=0, atol=0)


@pytest.mark.parametrize("content", [b"", b"damaged", None])
def test_damage_is_named(tmp_path, content):
    path = tmp_path / "head.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"head\.safetensors is not a projection head"):
        ProjectionHead.load(path)


def test_other_weights_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"layers.0.weight": torch.zeros(2, 2), "other": torch.zeros(2)}, tmp_path / "head.safetensors")
    with pytest.raises(ArtifactError, match="other"):
        ProjectionHead.load(tmp_path / "head.safetensors")
