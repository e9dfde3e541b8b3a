import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra backbones is not installed")
pytest.importorskip("transformers", reason="the extra backbones is not installed")

from geotoken.backbones import load_encoder  # noqa: E402
from geotoken.backbones.network import BackboneEncoder, ProjectionHead, write_encoder  # noqa: E402
from geotoken.backbones.preprocess import Preprocessing  # noqa: E402
from geotoken.errors import ArtifactError, InputError  # noqa: E402


@pytest.fixture
def folder(tiny_clip, tmp_path):
    """A folder to change."""
    return shutil.copytree(tiny_clip, tmp_path / "encoder")


def test_vectors_are_those_of_the_whole_model(make_backbone, some_photos):
    folder, model = make_backbone("clip")
    preprocessing = Preprocessing.load(folder / "preprocessor_config.json")
    views = torch.from_numpy(np.stack([preprocessing.apply(photo) for photo in some_photos]))
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(
            model.get_image_features(pixel_values=views).pooler_output, dim=1
        )
    encoder = BackboneEncoder.load(folder)
    vectors = encoder.embed(some_photos)
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, encoder.dim)
    np.testing.assert_allclose(vectors, expected.numpy(), atol=1e-6)


def test_batches_do_not_matter(tiny_clip, some_photos):
    photos = some_photos * 3
    together = BackboneEncoder.load(tiny_clip, batch_size=9).embed(photos)
    for batch_size in (1, 4):
        encoder = BackboneEncoder.load(tiny_clip, batch_size=batch_size)
        np.testing.assert_allclose(encoder.embed(photos, for_gallery=True), together, atol=1e-6)
    assert encoder.embed([]).shape == (0, 24)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_close(tiny_clip, some_photos, dtype):
    whole = BackboneEncoder.load(tiny_clip, dtype="float32").embed(some_photos)
    encoder = BackboneEncoder.load(tiny_clip, dtype=dtype)
    assert encoder.dtype == dtype
    half = encoder.embed(some_photos)
    assert half.dtype == np.float32
    assert np.sum(whole * half, axis=1).min() > 0.999
    assert not np.array_equal(whole, half)


def test_a_head_is_applied(folder, some_photos):
    plain = torch.from_numpy(BackboneEncoder.load(folder).embed(some_photos))
    head = ProjectionHead([24, 5])
    torch.nn.init.zeros_(head.layers[0].bias)  # then the length of what it gets does not matter
    head.save(folder / "head.safetensors")
    encoder = BackboneEncoder.load(folder)
    assert encoder.dim == 5
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(head(plain), dim=1).numpy()
    np.testing.assert_allclose(encoder.embed(some_photos), expected, atol=1e-6)


def test_a_head_for_another_backbone_is_refused(folder):
    ProjectionHead([23, 5]).save(folder / "head.safetensors")
    with pytest.raises(ArtifactError, match="takes vectors of 23 numbers, but the backbone gives 24"):
        BackboneEncoder.load(folder)


def test_a_folder_describes_itself(folder, some_photos):
    bare = BackboneEncoder.load(folder)
    assert bare.name.startswith("encoder-")
    config = write_encoder(folder, source="somewhere", license_name="MIT", label="mine")
    encoder = load_encoder(folder, num_threads=1)
    assert (encoder.name, encoder.dim, encoder.source, encoder.license) == (
        config.name,
        24,
        "somewhere",
        "MIT",
    )
    assert config.name == "mine-" + bare.name.rsplit("-", 1)[1]
    np.testing.assert_array_equal(encoder.embed(some_photos), bare.embed(some_photos))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"sha256": "0" * 64}, "does not describe the weights"),
        ({"dim": 25}, "does not describe the weights"),
        ({"dim": "24"}, "dim is of the wrong type"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_description_of_something_else_is_refused(folder, change, word):
    write_encoder(folder, source="somewhere", license_name="MIT", label="mine")
    path = folder / "encoder.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(ArtifactError, match=word):
        load_encoder(folder)


def test_other_weights_give_another_name(make_backbone, folder):
    torch.manual_seed(8)
    other, _ = make_backbone("siglip")
    assert BackboneEncoder.load(folder).name[-8:] != BackboneEncoder.load(other).name[-8:]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"dtype": "int8"}, "choose one of float32, bfloat16, float16"),
        ({"device": "abacus"}, "device is 'abacus'"),
    ],
)
def test_options_out_of_range(tiny_clip, options, word):
    with pytest.raises(InputError, match=word):
        BackboneEncoder.load(tiny_clip, **options)


def test_photos_of_another_kind_are_refused(tiny_clip):
    with pytest.raises(InputError, match="photo 0 has shape"):
        BackboneEncoder.load(tiny_clip).embed([np.zeros((4, 4), dtype=np.uint8)])


def test_photos_are_read_large_enough(tiny_clip):
    assert BackboneEncoder.load(tiny_clip).min_side == 64
