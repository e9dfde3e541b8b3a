import json
import logging
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra backbones is not installed")
transformers = pytest.importorskip("transformers", reason="the extra backbones is not installed")

from geotoken.backbones.network.tower import Tower  # noqa: E402
from geotoken.errors import ArtifactError  # noqa: E402

CPU = torch.device("cpu")
VIEWS = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 3, 32, 32)).astype(np.float32))


def reference(name, model):
    """What the model in memory says, by the way its own documentation takes."""
    with torch.inference_mode():
        if name in ("clip", "siglip"):
            return model.get_image_features(pixel_values=VIEWS).pooler_output
        return model(pixel_values=VIEWS).pooler_output


@pytest.mark.parametrize(("name", "dim"), [("clip", 24), ("siglip", 32), ("dinov2", 32), ("dinov3", 32)])
def test_equals_the_model_that_was_saved(make_backbone, name, dim):
    folder, model = make_backbone(name)
    tower = Tower.load(folder, device=CPU, dtype=torch.float32)
    assert tower.dim == dim
    with torch.inference_mode():
        torch.testing.assert_close(tower(VIEWS), reference(name, model), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_the_image_half_alone_is_saved_and_read(make_backbone, tmp_path, name):
    folder, model = make_backbone(name)
    Tower.load(folder, device=CPU, dtype=torch.float32).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == f"{name}_vision_model"
    assert (tmp_path / "model.safetensors").stat().st_size < (folder / "model.safetensors").stat().st_size
    again = Tower.load(tmp_path, device=CPU, dtype=torch.float32)
    with torch.inference_mode():
        torch.testing.assert_close(again(VIEWS), reference(name, model), rtol=0, atol=1e-6)


def test_old_files_give_the_width_at_the_top_only(make_backbone, tmp_path):
    folder = shutil.copytree(make_backbone("clip")[0], tmp_path / "clip")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["vision_config"].pop("projection_dim")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert Tower.load(folder, device=CPU, dtype=torch.float32).dim == 24


def test_missing_weights_are_never_made_up(make_backbone, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(make_backbone("dinov2")[0], tmp_path / "dinov2")
    weights = load_file(folder / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"lacks 1 weights.*layernorm\.weight"):
        Tower.load(folder, device=CPU, dtype=torch.float32)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_damage_is_one_line(make_backbone, tmp_path, name):
    folder = shutil.copytree(make_backbone("clip")[0], tmp_path / "clip")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match="cannot be loaded") as caught:
        Tower.load(folder, device=CPU, dtype=torch.float32)
    assert "\n" not in str(caught.value)


def test_other_architectures_are_refused(tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ArtifactError, match=r"is a bert model; the image models run here are clip, siglip"):
        Tower.load(tmp_path, device=CPU, dtype=torch.float32)


def test_the_level_of_the_log_is_put_back(make_backbone):
    level = logging.getLogger("transformers").level
    Tower.load(make_backbone("clip")[0], device=CPU, dtype=torch.float32)
    assert logging.getLogger("transformers").level == level


def test_a_size_that_does_not_fit_is_refused(make_backbone):
    make = {
        name: Tower.load(make_backbone(name)[0], device=CPU, dtype=torch.float32)
        for name in ("clip", "dinov2")
    }
    make["clip"].check_size((32, 32))
    make["dinov2"].check_size((64, 64))
    with pytest.raises(ArtifactError, match="takes photos of 32 x 32 pixels"):
        make["clip"].check_size((64, 64))
