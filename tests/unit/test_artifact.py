import json
import shutil

import pytest

from geotoken.artifact import CONFIG_NAME, bundled_models, find_model, load_artifact, save_artifact
from geotoken.errors import ArtifactError
from geotoken.manifest import write_manifest
from geotoken.tokens import TokenScheme


@pytest.fixture
def model(tmp_path):
    """A small folder that passes for a model; its parts are not loaded here."""
    folder = tmp_path / "model"
    (folder / "mixture").mkdir(parents=True)
    (folder / "mixture" / "prior.npz").write_bytes(b"0123456789")
    (folder / "MODEL_CARD.md").write_text("# small\n")
    save_artifact(
        folder, name="small", scheme=TokenScheme(12, 3), head="mixture", threshold_weights=(1, 2, 3, 4, 5)
    )
    return folder


def test_a_saved_artifact_loads(model):
    artifact = load_artifact(model)
    assert (artifact.name, artifact.scheme, artifact.head) == ("small", TokenScheme(12, 3), "mixture")
    assert artifact.threshold_weights == artifact.ranked_threshold_weights == (1, 2, 3, 4, 5)
    assert artifact.card() == "# small\n"
    assert artifact.num_bytes == sum(
        f.stat().st_size
        for f in model.rglob("*")
        if f.name in artifact.manifest["files"] or f.name == "prior.npz"
    )


def test_weights_of_thresholds_for_evidence_by_rank_can_differ(model):
    weights = {"threshold_weights": (1, 2, 3, 4, 5), "ranked_threshold_weights": (1, 1, 2, 2, 2)}
    save_artifact(model, name="small", scheme=TokenScheme(12, 3), head="mixture", **weights)
    artifact = load_artifact(model)
    assert {name: getattr(artifact, name) for name in weights} == weights


def test_mini_is_bundled_and_whole():
    artifact = load_artifact("mini")
    assert find_model("mini") == bundled_models()["mini"] == artifact.folder
    for part in (
        "encoder/encoder.onnx",
        "gallery/index.faiss",
        "mixture/prior.npz",
        "MODEL_CARD.md",
        "config.json",
    ):
        assert part in artifact.manifest["files"]


def test_an_unknown_model_is_named_with_what_there_is(tmp_path):
    with pytest.raises(ArtifactError, match=r"neither bundled .*mini.* nor a folder"):
        load_artifact(tmp_path / "absent")


def test_a_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        load_artifact(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(b"01234"), "bytes"),
        (lambda path: path.write_bytes(b"0123456780"), "sha256|changed"),
    ],
)
def test_missing_truncated_and_tampered_files_are_named(model, damage, message):
    damage(model / "mixture" / "prior.npz")
    with pytest.raises(ArtifactError, match=rf"(?s)prior\.npz.*({message})|({message}).*prior\.npz"):
        load_artifact(model)


def reseal(model, change):
    config = json.loads((model / CONFIG_NAME).read_text())
    (model / CONFIG_NAME).write_text(json.dumps(change(config)))
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").unlink()
    write_manifest(model, kind=manifest["format"], format_version=manifest["format_version"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {k: v for k, v in c.items() if k != "scheme"}, "scheme"),
        (lambda c: c | {"scheme": {"level": 20, "group_size": 3}}, "group size|group_size|install the model"),
        (lambda c: c | {"head": "oracle"}, "upgrade geotoken"),
        (lambda c: c | {"threshold_weights": "many"}, "config.json"),
        (lambda c: c | {"threshold_weights": [1, 2]}, "threshold_weights"),
        (lambda c: c | {"ranked_threshold_weights": [1, 2]}, "threshold_weights"),
        (lambda c: c | {"threshold_weights": [0, 0, 0, 0, 0]}, "threshold_weights"),
        (lambda c: c | {"threshold_weights": [1, 1, 1, 1, -1]}, "threshold_weights"),
        (lambda c: [], "config.json"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused(model, change, message):
    reseal(model, change)
    with pytest.raises(ArtifactError, match=message):
        load_artifact(model)


def test_a_newer_format_asks_for_an_upgrade(model):
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    with pytest.raises(ArtifactError, match="newer geotoken"):
        load_artifact(model)


def test_a_copy_of_mini_works_from_anywhere(tmp_path):
    shutil.copytree(bundled_models()["mini"], tmp_path / "copy")
    assert load_artifact(tmp_path / "copy").name == "mini"
