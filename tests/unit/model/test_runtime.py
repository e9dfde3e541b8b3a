"""The graphs on ONNX Runtime against the same weights in PyTorch."""

import shutil

import numpy as np
import pytest

from geotoken.decoding import DECODERS, DecodingOptions, RegionModel, decode, score_prefixes
from geotoken.errors import ArtifactError
from geotoken.model import OnnxModel
from geotoken.model.runtime import CONFIG_FILE, DECODER_FILE, ENCODED_TOGETHER, ENCODER_FILE, OnnxStore
from geotoken.regions import Region


@pytest.mark.parametrize("decoder", DECODERS)
def test_both_backends_find_the_same(pair, evidence, decoder):
    ours, theirs = pair
    photos = evidence(ours.config, seed=5)
    options = DecodingOptions(decoder=decoder, temperature=0.5, seed=2)
    answers = zip(decode(ours, photos, options), decode(theirs, photos, options), strict=True)
    for one, other in answers:
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_allclose(one.log_prob, other.log_prob, atol=1e-4)


def test_log_probs_agree_on_every_prefix_of_ragged_evidence(pair, evidence):
    ours, theirs = pair
    photos = evidence(ours.config, seed=6)
    random = np.random.default_rng(0)
    sizes = ours.scheme.vocabulary_sizes
    tokens = np.stack([random.integers(0, size, (5, 40)) for size in sizes], axis=-1)
    np.testing.assert_allclose(
        score_prefixes(ours, photos, tokens), score_prefixes(theirs, photos, tokens), atol=1e-4
    )


def test_a_photo_alone_is_answered_as_in_a_batch(pair, evidence):
    _, model = pair
    photos = evidence(model.config)
    for photo, found in zip(photos, decode(model, photos), strict=True):
        alone = decode(model, [photo])[0]
        np.testing.assert_array_equal(found.tokens, alone.tokens)
        np.testing.assert_allclose(found.log_prob, alone.log_prob, atol=1e-5)


def test_photos_may_be_more_than_are_encoded_together(pair, evidence):
    ours, theirs = pair
    photos = [*evidence(ours.config, seed=1), *evidence(ours.config, seed=2)]
    assert len(photos) > ENCODED_TOGETHER
    for one, other in zip(decode(ours, photos), decode(theirs, photos), strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_allclose(one.log_prob, other.log_prob, atol=1e-4)


def test_a_region_constrains_it(pair, evidence):
    _, model = pair
    region = Region.bbox(west=-10, south=-40, east=80, north=60)
    inside = RegionModel(model, region)
    memory = inside.encode(evidence(model.config))
    for i, found in enumerate(decode(inside, memory, DecodingOptions(beam_width=8))):
        placed = inside.place(found, memory.posteriors[i])
        assert region.contains(placed.lat, placed.lng).all()


@pytest.mark.parametrize("name", [CONFIG_FILE, ENCODER_FILE, DECODER_FILE])
@pytest.mark.parametrize("change", ["absent", "cut"])
def test_a_missing_or_damaged_part_is_an_artifact_error(tmp_path, folders, make_config, name, change):
    _, folder = folders("pointer", make_config("pointer"))
    copy = shutil.copytree(folder, tmp_path / "copy")
    if change == "absent":
        (copy / name).unlink()
    else:
        (copy / name).write_bytes((copy / name).read_bytes()[:200])
    with pytest.raises(ArtifactError, match=name):
        OnnxModel.load(copy)


@pytest.mark.parametrize("changes", [{"width": 64}, {"num_decoder_layers": 3}, {"head": "generator"}])
def test_graphs_of_another_configuration_are_an_artifact_error(tmp_path, folders, make_config, changes):
    _, folder = folders("pointer", make_config("pointer"))
    copy = shutil.copytree(folder, tmp_path / "copy")
    make_config("pointer", **changes).save(copy / CONFIG_FILE)
    with pytest.raises(ArtifactError, match="geotoken export"):
        OnnxModel.load(copy)


def test_a_store_keeps_what_it_has_when_it_grows():
    store = OnnxStore(1, 2)
    first = store.reserve(2, 1)
    store.data[:, first] = 5.0
    second = store.reserve(7, 3)
    assert (first, second) == (slice(0, 2), slice(2, 9))
    assert (store.data[:, :2] == 5).all()
    assert store.data.shape[1] >= 23
    assert store.new().num_nodes == 0
