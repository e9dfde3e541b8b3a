import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra backbones is not installed")
transformers = pytest.importorskip("transformers", reason="the extra backbones is not installed")

from geotoken import assembly, hub  # noqa: E402
from geotoken.artifact import find_model, load_artifact  # noqa: E402
from geotoken.assembly import neighbor_trust, pull_geoclip  # noqa: E402
from geotoken.backbones.network import GeoClip, LocationEncoder, ProjectionHead  # noqa: E402
from geotoken.errors import ArtifactError, InputError  # noqa: E402
from geotoken.evidence import Evidence  # noqa: E402
from geotoken.gallery import Gallery  # noqa: E402
from geotoken.images.read import read  # noqa: E402
from geotoken.mixture.weights import weigh  # noqa: E402
from geotoken.pipeline import Locator  # noqa: E402

NUM_POINTS = 3000


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A tiny CLIP whose vectors are as long as those of ViT-L/14."""
    folder = tmp_path_factory.mktemp("hub") / "clip"
    torch.manual_seed(5)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    vision = {**small, "image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(
        vision_config=vision, text_config={**small, "vocab_size": 64}, projection_dim=768
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    pixels = {"crop_size": 32, "size": 32, "do_center_crop": True, "resample": 3}
    pixels |= {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels), encoding="utf-8")
    return folder


@pytest.fixture
def small_parts(monkeypatch, tmp_path):
    """Random parts in place of GeoCLIP's; some thousand places."""
    torch.manual_seed(6)
    encoder = LocationEncoder(num_frequencies=8, width=16, num_hidden=1, dim=24).eval()
    parts = GeoClip(encoder, ProjectionHead([768, 24]).eval(), 20.0)
    random = np.random.default_rng(1)
    points = np.stack([random.uniform(-60, 70, NUM_POINTS), random.uniform(-180, 180, NUM_POINTS)], axis=1)
    monkeypatch.setattr("geotoken.backbones.network.load_geoclip", lambda package: parts)
    monkeypatch.setattr(assembly, "read_points", lambda package: points)
    monkeypatch.setattr(hub, "assets_folder", lambda: tmp_path / "assets")
    return parts, points


def test_the_model_by_its_name_locates_photos(clip, small_parts, examples, tmp_path):
    parts, points = small_parts
    seen = []
    artifact = pull_geoclip(backbone=clip, heads=tmp_path, progress=lambda *done: seen.append(done))
    assert seen[-1] == (NUM_POINTS, NUM_POINTS)
    assert find_model("geoclip") == artifact.folder == tmp_path / "assets" / "geoclip"
    gallery = Gallery.load(artifact.folder / "gallery")
    np.testing.assert_array_equal(np.stack([gallery.table.lat, gallery.table.lng], axis=1), points)
    with torch.inference_mode():
        vectors = parts.location_encoder(torch.from_numpy(points).float())
    expected = torch.nn.functional.normalize(vectors, dim=1).numpy()
    np.testing.assert_allclose(gallery.vectors, expected, atol=1e-6)
    locator = Locator.from_pretrained("geoclip", num_threads=1)
    assert locator.encoder.name == gallery.encoder_name
    assert locator.encoder.name.startswith("geoclip-")
    photo = examples / "himeji-castle.jpg"
    for options in ({}, {"decoder": "beam", "select": "log_prob"}, {"decoder": "sample", "select": "medoid"}):
        answer = locator.locate(photo, **options)
        assert len(answer.neighbors) == assembly.NUM_NEIGHBORS
        assert np.isfinite([answer.lat, answer.lng]).all()
    alignment = locator.alignment
    assert alignment.config.modalities == {"location": 24}
    np.testing.assert_allclose(
        alignment.embed_places(*points.T), gallery.vectors, atol=2e-4
    )  # float32 phases
    answer = locator.locate(photo, select="similarity", decoder="sample", num_samples=8)
    vector = locator.encoder.embed([read(photo, min_side=locator.encoder.min_side).pixels])[0]
    scores = alignment.embed_places(answer.candidates.lat, answer.candidates.lng) @ vector
    best = int(np.argmax(scores))
    assert (answer.lat, answer.lng) == (answer.candidates.lat[best], answer.candidates.lng[best])
    card = artifact.card()
    assert "geoclip==1.3.0" in card
    assert "Not measured" in card
    assert "{" not in card


def test_what_is_there_stays_and_what_is_damaged_is_made_again(clip, small_parts, tmp_path):
    first = pull_geoclip(backbone=clip, heads=tmp_path)
    stamp = first.folder.stat().st_ino
    assert pull_geoclip(backbone="never looked at").folder.stat().st_ino == stamp
    (first.folder / "gallery" / "gallery.parquet").write_bytes(b"")
    again = pull_geoclip(backbone=clip, heads=tmp_path)
    assert load_artifact(again.folder).manifest == first.manifest
    assert sorted(path.name for path in again.folder.parent.iterdir()) == ["geoclip"]


def test_a_folder_of_ones_own(clip, small_parts, tmp_path):
    artifact = pull_geoclip(tmp_path / "mine", backbone=clip, heads=tmp_path)
    assert artifact.folder == tmp_path / "mine"
    with pytest.raises(InputError, match="mine exists"):
        pull_geoclip(tmp_path / "mine", backbone=clip, heads=tmp_path)
    with pytest.raises(ArtifactError, match="geotoken models pull geoclip"):
        find_model("geoclip")


def test_nothing_else_is_ever_replaced(clip, small_parts, tmp_path):
    place = tmp_path / "assets" / "geoclip"
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ArtifactError):
        pull_geoclip(backbone=clip, heads=tmp_path)
    assert [path.name for path in place.parent.rglob("*")] == ["geoclip", "thesis.txt"]


def test_another_backbone_is_refused_and_leaves_nothing(clip, small_parts, tmp_path):
    folder = shutil.copytree(clip, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["projection_dim"] = config["vision_config"]["projection_dim"] = 64
    transformers.CLIPModel(transformers.CLIPConfig(**config)).save_pretrained(folder)
    with pytest.raises(ArtifactError, match=r"vectors of 64 numbers.*the 768 of CLIP ViT-L/14"):
        pull_geoclip(tmp_path / "out", backbone=folder, heads=tmp_path)
    assert not (tmp_path / "out").exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_neighbors_weigh_as_in_geoclips_own_softmax(tiny_mixture):
    from dataclasses import replace

    from geotoken.artifact import bundled_models
    from geotoken.mixture import MixtureModel

    model = MixtureModel.load(bundled_models()["mini"] / "mixture")
    similarity = np.array([0.31, 0.30, 0.25, 0.1])
    evidence = Evidence(
        neighbor_lat=np.array([10.0, 20, 30, 40]),
        neighbor_lng=np.zeros(4),
        neighbor_rank=np.arange(1.0, 5),
        neighbor_similarity=similarity,
    )
    found = weigh(evidence, replace(model.config, with_similarity=neighbor_trust(39.687)), model.prior)
    mass = np.exp(39.687 * (similarity - 0.31))
    total = mass.sum() + assembly.PRIOR_SHARE
    np.testing.assert_allclose(found.weights.sum(axis=1), mass / total)
    np.testing.assert_allclose(found.prior_weight, assembly.PRIOR_SHARE / total)
    np.testing.assert_allclose(found.weights[2] / found.weights[2].sum(), assembly.SCALE_SHARES)
    assert len(assembly.SCALE_SHARES) == len(model.config.scales_km)
    assert sum(assembly.SCALE_SHARES) == pytest.approx(1)


def test_with_geoclips_real_weights(clip, monkeypatch, tmp_path):
    given, spec = os.environ.get("GEOCLIP_PACKAGE"), find_spec("geoclip")
    if not given and spec is None:
        pytest.skip(
            "GeoCLIP's weights are not here: pip download --no-deps geoclip==1.3.0, set GEOCLIP_PACKAGE"
        )
    points = np.array([[48.8584, 2.2945], [-33.8568, 151.2153], [40.6892, -74.0445]])
    monkeypatch.setattr(assembly, "read_points", lambda package: points)
    artifact = pull_geoclip(tmp_path / "geoclip", backbone=clip, heads=Path(given) if given else None)
    locator = Locator.from_pretrained(artifact.folder, num_threads=1)
    paris = locator.gallery.vectors[:1]
    assert locator.encoder.dim == 512
    assert locator.gallery.search(paris, 1)[0].to_evidence().neighbor_lat[0] == pytest.approx(48.8584)
