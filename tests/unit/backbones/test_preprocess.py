import json

import numpy as np
import pytest
from PIL import Image

from geotoken.backbones.preprocess import Preprocessing
from geotoken.errors import ArtifactError

torch = pytest.importorskip("torch", reason="the extra backbones is not installed")
transformers = pytest.importorskip("transformers", reason="the extra backbones is not installed")

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
COMMON = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255}
# As published, apart from entries that do not matter here.
CLIP_L14 = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
    "resample": 3,
    "size": 224,
}
STREETCLIP = COMMON | {
    "crop_size": {"height": 336, "width": 336},
    "do_center_crop": True,
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
    "resample": 3,
    "size": {"shortest_edge": 336},
}
DINOV2 = COMMON | {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "image_mean": IMAGENET_MEAN,
    "image_std": IMAGENET_STD,
    "resample": 3,
    "size": {"shortest_edge": 256},
}
SIGLIP2 = COMMON | {
    "do_convert_rgb": None,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "resample": 2,
    "size": {"height": 384, "width": 384},
}
DINOV3 = COMMON | {
    "crop_size": None,
    "do_center_crop": None,
    "image_mean": IMAGENET_MEAN,
    "image_std": IMAGENET_STD,
    "resample": 2,
    "size": {"height": 224, "width": 224},
}
PROCESSORS = {
    "clip": (CLIP_L14, "CLIPImageProcessorPil"),
    "streetclip": (STREETCLIP, "CLIPImageProcessorPil"),
    "dinov2": (DINOV2, "BitImageProcessorPil"),
    "siglip2": (SIGLIP2, "SiglipImageProcessorPil"),
}
SHAPES = ((480, 640), (640, 480), (301, 999), (224, 224), (100, 130))


def write(folder, entries):
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def photo(shape):
    """Something between noise and a smooth photo."""
    random = np.random.default_rng(shape[0])
    small = random.integers(0, 256, (shape[0] // 4, shape[1] // 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(shape[::-1], Image.Resampling.BICUBIC))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PROCESSORS)
def test_equals_the_processor_of_transformers(tmp_path, name, shape):
    entries, kind = PROCESSORS[name]
    path = write(tmp_path, entries)
    # The one on Pillow; early versions 5 call it by the bare name, which later means the one on torchvision.
    processor = getattr(transformers, kind, None) or getattr(transformers, kind.removesuffix("Pil"))
    processor = processor.from_pretrained(tmp_path)
    expected = processor(images=Image.fromarray(photo(shape)), return_tensors="np")["pixel_values"][0]
    actual = Preprocessing.load(path).apply(photo(shape))
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_is_within_one_step_of_dinov3s_floating_point_resize(tmp_path, shape):
    # Its processor needs torchvision; antialiased interpolation in torch is what that calls.
    pixels = torch.from_numpy(photo(shape).transpose(2, 0, 1).copy())[None].float() / 255
    resized = torch.nn.functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)[0].numpy()
    actual = Preprocessing.load(write(tmp_path, DINOV3)).apply(photo(shape))
    shown = actual * np.reshape(IMAGENET_STD, (3, 1, 1)) + np.reshape(IMAGENET_MEAN, (3, 1, 1))
    assert np.abs(shown - resized).max() <= 1.001 / 255


def test_the_ends_of_a_panorama_cost_nothing(tmp_path):
    preprocessing = Preprocessing.load(write(tmp_path, CLIP_L14))
    pixels = np.zeros((2, 60_000, 3), dtype=np.uint8)
    pixels[:, 29_000:31_000] = 255
    view = preprocessing.apply(pixels)
    assert view.shape == (3, 224, 224)
    white = (1 - np.array(CLIP_MEAN)) / CLIP_STD
    np.testing.assert_allclose(view, np.broadcast_to(white[:, None, None], view.shape), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"image_mean": None}, "NoneType"),
        ({"size": {"longest_edge": 224}}, "lacks 'height'"),
        ({"do_resize": False}, "do_resize"),
        ({"do_pad": True}, "do_pad"),
        ({"max_num_patches": 256}, "max_num_patches"),
        ({"resample": 9}, "resample"),
        ({"crop_size": 512}, "larger"),
        ({"size": 100_000, "crop_size": 100_000}, "2048"),
        ({"do_center_crop": False, "size": {"shortest_edge": 224}}, "aspect"),
    ],
)
def test_what_is_not_done_here_is_refused(tmp_path, change, word):
    path = write(tmp_path, CLIP_L14 | change)
    with pytest.raises(ArtifactError, match=word) as caught:
        Preprocessing.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_damaged_files_are_named(tmp_path, text):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"preprocessor_config\.json"):
        Preprocessing.load(path)
