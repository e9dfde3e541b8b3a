"""`geotoken train reward` from a store and a trained model to an answer by `--select reward`."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from geotoken import Locator
from geotoken.artifact import bundled_models, load_artifact
from geotoken.cli import app
from geotoken.features import FeatureStore
from geotoken.features.write import Modality, StoreWriter
from geotoken.images.embed import Encoder
from geotoken.train.config import read_sections
from geotoken.train.neighbor_lists import NeighborLists
from geotoken.train.reward_cases import RewardCases
from geotoken.train.reward_settings import SECTIONS
from geotoken.train.splits import owner_codes, owner_hash

DECODER = """
[model]
width = 16
num_encoder_layers = 1
num_decoder_layers = 1
num_heads = 2
feed_forward = 16
num_neighbors = 4

[loop]
epochs = 1
batch_size = 64
accelerator = "cpu"

[decoder]
validation_share = 0.2
greedy_rows = 0
"""
REWARD = """
[network]
width = 16
num_layers = 1
num_heads = 2
feed_forward = 16

[candidates]
num_samples = 2
temperatures = [1.0]
max_candidates = 8
epsilon = 0.01

[loop]
steps = 3
batch_size = 8
log_every = 1
accelerator = "cpu"
"""


def run(command, *arguments):
    result = CliRunner().invoke(app, ["train", command, *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def write_store(folder, num_photos):
    """A store of random vectors under the name of the bundled encoder: ten towns, three photos an owner."""
    encoder = Encoder.load(bundled_models()["mini"] / "encoder")
    rng = np.random.default_rng(0)
    town = np.arange(num_photos) % 10
    vectors = rng.normal(size=(10, encoder.dim))[town] + 0.3 * rng.normal(size=(num_photos, encoder.dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places = rng.uniform([-60, -180], [60, 180], (10, 2))[town] + 0.01 * rng.normal(size=(num_photos, 2))
    rows = [
        {"id": f"p{n}", "lat": lat, "lng": lng, "owner": f"o{n % (num_photos // 3)}"}
        for n, (lat, lng) in enumerate(places)
    ]
    kinds = {"image": Modality(encoder.dim, encoder.name)}
    writer = StoreWriter.open(folder, kinds, "test", resume=False)
    writer.append(rows, {"image": vectors.astype(np.float16)}, num_items=num_photos, failures=[])
    writer.finish()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a store, a model trained on it, and settings."""
    folder = tmp_path_factory.mktemp("reward")
    write_store(folder / "store", 120)
    (folder / "decoder.toml").write_text(DECODER, encoding="utf-8")
    (folder / "reward.toml").write_text(REWARD, encoding="utf-8")
    code, _, stderr = run(
        "decoder", folder / "store", "--out", folder / "model", "--config", folder / "decoder.toml"
    )
    assert code == 0, stderr
    return folder


@pytest.fixture(scope="module")
def trained(place):
    """What the command printed as JSON, and the model."""
    code, stdout, stderr = run(
        "reward", place / "store", "--model", place / "model", "--config", place / "reward.toml", "--json"
    )
    assert code == 0, stderr
    return json.loads(stdout), place / "model"


def test_the_model_answers_by_reward_and_its_card_says_how_good_that_is(trained, examples):
    facts, folder = trained
    load_artifact(folder)  # every file is as the manifest says
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.count("## Reward model") == 1
    assert f"| {facts['validation']['reward']:.1f} | {facts['validation']['log_prob']:.1f} |" in card
    found = CliRunner().invoke(
        app,
        [
            "locate",
            str(examples / "himeji-castle.jpg"),
            "--model",
            str(folder),
            "--select",
            "reward",
            "--json",
        ],
    )
    assert found.exit_code == 0, found.stderr
    answer = json.loads(found.stdout)[0]
    locator = Locator.from_pretrained(folder)
    expected = locator.locate(examples / "himeji-castle.jpg", select="reward")
    assert (answer["lat"], answer["lng"]) == (expected.lat, expected.lng)


def test_only_photos_that_the_model_was_not_trained_on_give_candidates(trained, place):
    _, folder = trained
    store = FeatureStore.open(place / "store")
    work = folder.with_name("model.training")
    lists = NeighborLists.open(work / "neighbors" / "lists", store)
    owners = owner_codes(store, lists.query_rows)
    cases = RewardCases.open(work / "reward" / "candidates")
    assert sorted(set(cases.owner)) == sorted(set(owners[owner_hash(owners) < 0.2]))
    assert len(cases) == (owner_hash(owners) < 0.2).sum() > 0


def test_a_second_training_asks_for_resume_and_replaces_the_first(trained, place, tmp_path):
    folder = shutil.copytree(place / "model", tmp_path / "model")
    shutil.copytree(place / "model.training", tmp_path / "model.training")
    arguments = [place / "store", "--model", folder, "--config", place / "reward.toml"]
    code, _, stderr = run("reward", *arguments)
    assert code == 2
    assert "holds a training run; give --resume" in stderr
    code, _, stderr = run("reward", *arguments, "--folds", 2)
    assert code == 2
    assert "holds a training run; give --resume" in stderr
    assert not (tmp_path / "model.training" / "reward" / "fold-0").exists()  # before the long work
    code, _, stderr = run("reward", *arguments, "--seed", 4, "--resume")
    assert code == 2
    assert "seed 0 (now 4)" in stderr
    saved = tmp_path / "model.training" / "reward" / "settings.toml"
    assert read_sections(saved, SECTIONS)["loop"]["seed"] == 0  # as it was
    shutil.rmtree(tmp_path / "model.training" / "reward" / "run")
    before = (folder / "reward" / "reward.onnx").read_bytes()
    code, stdout, stderr = run("reward", *arguments, "--seed", 4)
    assert code == 0, stderr
    assert "reward model in" in stdout
    assert (folder / "reward" / "reward.onnx").read_bytes() != before
    assert (folder / "MODEL_CARD.md").read_text(encoding="utf-8").count("## Reward model") == 1
    load_artifact(folder)


def test_folds_decode_all_photos(place, tmp_path):
    folder = shutil.copytree(place / "model", tmp_path / "model")
    shutil.copytree(place / "model.training" / "neighbors", tmp_path / "model.training" / "neighbors")
    settings = tmp_path / "folds.toml"
    settings.write_text(f"{REWARD}\n[folds]\nsteps = 2\n", encoding="utf-8")
    code, stdout, stderr = run(
        "reward", place / "store", "--model", folder, "--config", settings, "--folds", 2, "--json"
    )
    assert code == 0, stderr
    assert json.loads(stdout)["steps"] == 3
    folds = [
        RewardCases.open(folder.with_name("model.training") / "reward" / f"fold-{n}" / "candidates")
        for n in (0, 1)
    ]
    assert sum(map(len, folds)) == 120
    assert not set(folds[0].owner) & set(folds[1].owner)
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "in 2 folds, each decoded by a decoder trained on the others" in card


def test_a_head_that_was_not_trained_on_photos_decodes_all_of_them(place, tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    write_store(tmp_path / "store", 24)
    arguments = [tmp_path / "store", "--model", folder, "--config", place / "reward.toml"]
    code, _, stderr = run("reward", *arguments, "--folds", 2)
    assert code == 2
    assert "its head mixture was not trained on photos; leave --folds out" in stderr
    code, _, stderr = run("reward", *arguments)
    assert code == 0, stderr
    cases = RewardCases.open(tmp_path / "model.training" / "reward" / "candidates")
    assert len(cases) == 24
    assert cases.batch.item_mask.sum(axis=1).max() == 5  # as many neighbors as the mixture reads
    assert Locator.from_pretrained(folder).reward is not None


def test_no_more_photos_are_decoded_than_asked_for(place, tmp_path):
    folder = shutil.copytree(place / "model", tmp_path / "model")
    shutil.copytree(place / "model.training" / "neighbors", tmp_path / "model.training" / "neighbors")
    settings = tmp_path / "few.toml"
    settings.write_text(REWARD.replace("[candidates]", "[candidates]\nnum_photos = 7"), encoding="utf-8")
    code, _, stderr = run("reward", place / "store", "--model", folder, "--config", settings)
    assert code == 0, stderr
    assert len(RewardCases.open(tmp_path / "model.training" / "reward" / "candidates")) == 7


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--config", "no.toml"], "no.toml cannot be read as TOML", 2),
        (["--folds", "1"], "num_folds is 1; give 0, or at least 2", 2),
        (["--learning-rate", "-1"], "learning_rate is -1.0", 2),
        (["--gallery", "elsewhere"], "elsewhere does not hold the gallery", 2),
        (["--model", "missing"], "there is no model folder missing", 2),
    ],
)
def test_mistakes(place, arguments, message, code):
    found, _, stderr = run("reward", place / "store", "--model", place / "model", *arguments)
    assert (found, message in stderr) == (code, True), stderr
    assert stderr.count("\n") == 1
