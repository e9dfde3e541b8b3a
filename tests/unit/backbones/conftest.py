"""Tiny randomly initialised models in the hub's own format, and GeoCLIP's package where it is at hand."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra backbones is not installed")
transformers = pytest.importorskip("transformers", reason="the extra backbones is not installed")

SMALL = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "patch_size": 8}
VISION = {**SMALL, "intermediate_size": 48, "image_size": 32}
TEXT = {
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 48,
    "vocab_size": 64,
}
CLIP_PIXELS = {
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "rescale_factor": 1 / 255,
    "resample": 3,
    "crop_size": {"height": 32, "width": 32},
    "size": {"shortest_edge": 32},
}
HALF = [0.5, 0.5, 0.5]
SQUARE_PIXELS = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": HALF,
    "image_std": HALF,
    "rescale_factor": 1 / 255,
    "resample": 2,
    "size": {"height": 32, "width": 32},
}


def clip(projection_dim=24):
    config = transformers.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=projection_dim)
    return transformers.CLIPModel(config), CLIP_PIXELS


def siglip():
    config = transformers.SiglipConfig(vision_config=VISION, text_config=TEXT)
    return transformers.SiglipModel(config), SQUARE_PIXELS


def dinov2():
    config = transformers.Dinov2Config(**SMALL, mlp_ratio=2, image_size=32)
    return transformers.Dinov2Model(config), CLIP_PIXELS | {"size": {"shortest_edge": 36}}


def dinov3():
    config = transformers.DINOv3ViTConfig(**VISION, num_register_tokens=2)
    return transformers.DINOv3ViTModel(config), SQUARE_PIXELS


MAKERS = {"clip": clip, "siglip": siglip, "dinov2": dinov2, "dinov3": dinov3}


def save(model, pixels, folder):
    """Write a model as its authors would publish it."""
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def make_backbone(tmp_path_factory):
    """Make a tiny model, saved and in memory: (folder, model)."""

    def make(name, **options):
        torch.manual_seed(7)
        model, pixels = MAKERS[name](**options)
        return save(model, pixels, tmp_path_factory.mktemp("backbones") / f"tiny-{name}"), model.eval()

    (tmp_path_factory.getbasetemp() / "backbones").mkdir(exist_ok=True)
    return make


@pytest.fixture(scope="session")
def tiny_clip(make_backbone):
    """A CLIP folder. Not to be changed."""
    return make_backbone("clip")[0]


@pytest.fixture(scope="session")
def some_photos():
    """Three photos of different shapes, (H, W, 3), uint8."""
    random = np.random.default_rng(3)
    shapes = ((70, 111), (64, 64), (133, 50))
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


@pytest.fixture(scope="session")
def geoclip_files():
    """GeoCLIP's package: its wheel, if GEOCLIP_PACKAGE says where, or the installed one."""
    given = os.environ.get("GEOCLIP_PACKAGE")
    if given:
        return Path(given)
    spec = find_spec("geoclip")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(
            "GeoCLIP's weights are not here: pip download --no-deps geoclip==1.3.0, set GEOCLIP_PACKAGE"
        )
    return Path(next(iter(spec.submodule_search_locations))).parent
