import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from geotoken import hub
from geotoken.artifact import bundled_models
from geotoken.backbones import load_backbone, load_encoder
from geotoken.backbones.load import check_files, find_backbone, weight_files
from geotoken.errors import ArtifactError, InputError
from geotoken.images.embed import Encoder

SOURCE = Path(__file__).parents[3] / "src"


def test_the_bundled_encoder_is_opened_as_before():
    assert isinstance(load_encoder(bundled_models()["mini"] / "encoder", num_threads=1), Encoder)


def test_a_backbone_is_found_by_its_folder(tiny_clip):
    assert find_backbone(tiny_clip) == tiny_clip
    assert load_backbone(str(tiny_clip)).dim == 24


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_missing_file_is_named(tiny_clip, tmp_path, name):
    folder = shutil.copytree(tiny_clip, tmp_path / "clip")
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"has no {name}"):
        find_backbone(folder)


def test_pickles_are_not_read(tiny_clip, tmp_path):
    folder = shutil.copytree(tiny_clip, tmp_path / "clip")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="no weights as safetensors"):
        check_files(folder)


def test_weights_in_several_files_must_all_be_there(tiny_clip, tmp_path):
    folder = shutil.copytree(tiny_clip, tmp_path / "clip")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert weight_files(folder) == []
    for name in names:
        (folder / name).touch()
    assert [path.name for path in weight_files(folder)] == names


def test_what_is_no_backbone_is_told_the_choices():
    with pytest.raises(InputError, match="clip, siglip2, streetclip, dinov2, dinov3"):
        find_backbone("nonsense")


def test_offline_asks_nobody(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants", reason="the extra hub is not installed")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ArtifactError, match=r"openai/clip-vit-large-patch14 is not whole.*offline"):
        find_backbone("clip", offline=True)


def test_a_name_is_looked_up_on_the_hub(monkeypatch, tiny_clip):
    asked = []

    def download(hub_id, patterns, *, is_whole, offline):
        asked.append((str(hub_id), is_whole(tiny_clip), is_whole(tiny_clip.parent)))
        return tiny_clip

    monkeypatch.setattr(hub, "download_files", download)
    assert find_backbone("dinov2") == find_backbone("owner/name@v1") == tiny_clip
    assert asked == [("facebook/dinov2-large", True, False), ("owner/name@v1", True, False)]


def test_without_the_extra_the_message_names_it(tiny_clip):
    code = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'transformers' else real(name, *a)\n"
        "import geotoken.backbones as b\n"
        "from geotoken.errors import DependencyError\n"
        "try: b.load_backbone(sys.argv[1])\n"
        "except DependencyError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tiny_clip)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(SOURCE)}
    )
    assert "pip install 'geotoken[backbones]'" in done.stdout


def test_opening_the_bundled_encoder_imports_no_torch():
    code = (
        "import sys, geotoken.backbones as b; from geotoken.artifact import bundled_models\n"
        "b.load_encoder(bundled_models()['mini'] / 'encoder', num_threads=1); print('torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(SOURCE)}
    )
    assert done.stdout == "False\n"
