import dataclasses
import re
from pathlib import Path

import pytest
import torch

from geotoken.artifact import bundled_models, load_artifact, load_head
from geotoken.backbones import load_encoder
from geotoken.errors import ArtifactError, InputError
from geotoken.model.network import GeoTokenModel
from geotoken.train.loop import Outcome
from geotoken.train.neighbors import NeighborRule
from geotoken.train.publish import Trained, check_encoder, check_free, publish
from geotoken.train.settings import DecoderSettings
from training_cases import TINY

MINI = "mini"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "log.csv").write_text("step,loss\n1,2.0\n", encoding="utf-8")
    settings = DecoderSettings.resolve(None, {"model": TINY})
    rule = NeighborRule(num_neighbors=20, same_file=False, within_km=2.5)
    outcome = Outcome(
        step=40, num_steps=40, best_step=30, best={"loss": 7.25, "acc_at_1km": 12.5}, signal=0, rows_per_s=9.0
    )
    torch.manual_seed(0)
    return Trained(
        network=GeoTokenModel(settings.model).eval(),
        settings=dataclasses.replace(settings, neighbors=rule),
        outcome=outcome,
        folder=folder,
        gallery=bundled_models()[MINI] / "gallery",
        num_gallery=1646,
        alignment=None,
        store=Path("photos/store"),
        num_train=1234,
        num_validation=56,
        has_split=False,
    )


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    return publish(trained, tmp_path_factory.mktemp("models") / "mine", model=None, backbone=None)


def test_the_folder_is_a_whole_model(model):
    assert (model.name, model.head) == ("mine", "transformer")
    head, num_neighbors = load_head(load_artifact(model.folder), num_threads=1)
    assert num_neighbors == 20
    assert head.scheme == model.scheme
    names = set(model.manifest["files"])
    assert {"transformer/model.safetensors", "transformer/encoder.onnx", "encoder/encoder.onnx"} <= names
    assert {"training.toml", "training.csv", "MODEL_CARD.md", "config.json"} <= names


def test_the_card_says_what_was_done_and_measured(model):
    card = model.card()
    for text in (
        "1,234 photos of the feature store `store`; validated with 56 others, all of other owners",
        "never the photo itself, by the same owner or nearer than 2.5 km",
        "step\n30,",
        "| loss | 7.25 |",
        "| acc_at_1km | 12.5 |",
        "| gallery | 1,646 photos |",
        "**Not measured**",
    ):
        assert text in card or text.replace("\n", " ") in card
    assert DecoderSettings.resolve(model.folder / "training.toml").neighbors.within_km == 2.5


def test_nothing_is_overwritten_and_nothing_is_left(trained, model):
    with pytest.raises(InputError, match="exists; give another --out"):
        publish(trained, model.folder, model=None, backbone=None)
    broken = dataclasses.replace(trained, gallery=trained.gallery / "none")
    with pytest.raises(ArtifactError, match="cannot be written"):
        publish(broken, model.folder.with_name("broken"), model=None, backbone=None)
    assert [one.name for one in model.folder.parent.iterdir()] == ["mine"]


def test_an_empty_folder_is_free(tmp_path):
    check_free(tmp_path)
    check_free(tmp_path / "new")


def test_the_encoder_must_be_the_store_s():
    name = load_encoder(bundled_models()[MINI] / "encoder").name
    check_encoder(name, model=None, backbone=None)
    check_encoder(name, model=MINI, backbone=None)
    with pytest.raises(InputError, match=re.escape(f"encoder other, not {name}")):
        check_encoder("other", model=MINI, backbone=None)
    with pytest.raises(InputError, match="both name an encoder"):
        check_encoder(name, model=MINI, backbone="clip")


def test_a_backbone_is_copied_whole(trained, tmp_path):
    transformers = pytest.importorskip("transformers")
    from geotoken.backbones import load_backbone

    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "patch_size": 8}
    network = transformers.Dinov2Model(transformers.Dinov2Config(**small, mlp_ratio=2, image_size=16))
    backbone = tmp_path / "tiny-dino"
    network.save_pretrained(backbone)
    (backbone / "preprocessor_config.json").write_text(PIXELS, encoding="utf-8")
    name = load_backbone(backbone, device="cpu").name
    check_encoder(name, model=None, backbone=str(backbone))
    model = publish(trained, tmp_path / "model", model=None, backbone=str(backbone))
    assert load_encoder(model.folder / "encoder").name == name
    assert name in model.card()


PIXELS = """{"do_resize": true, "size": {"height": 16, "width": 16}, "resample": 2, "do_rescale": true,
"rescale_factor": 0.00392156862745098, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5],
"image_std": [0.5, 0.5, 0.5]}"""
