import json
import shutil
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from geotoken.artifact import save_artifact
from geotoken.decoding import DECODERS
from geotoken.errors import ArtifactError, ImageError, InputError
from geotoken.evidence import Evidence
from geotoken.gallery import Exclusion
from geotoken.geo import haversine_km
from geotoken.images.read import read
from geotoken.manifest import write_manifest
from geotoken.pipeline import Failure, LocateOptions, Locator
from geotoken.regions import Region
from geotoken.selection import within_km
from geotoken.tokens import TokenScheme

HIMEJI = (34.8394, 134.6939)


@pytest.fixture(scope="module")
def locator(tiny_model):
    return Locator.from_pretrained(tiny_model)


@pytest.fixture
def photo(examples):
    return examples / "himeji-castle.jpg"


def distance_km(prediction, point):
    return float(haversine_km(prediction.lat, prediction.lng, *point))


def test_a_photo_of_the_gallery_is_found_where_it_was_taken(locator, photo):
    found = locator.locate(photo)
    assert distance_km(found, HIMEJI) < 5
    assert found.place.country_code == "JP"
    assert found.neighbors.similarity[0] > 0.99  # not 1: gallery photos have views of their own
    assert found.image == str(photo)


def test_the_content_of_a_file_gives_the_same_answer(locator, photo):
    from_path, from_bytes = locator.locate(photo), locator.locate(photo.read_bytes())
    assert (from_path.lat, from_path.lng) == (from_bytes.lat, from_bytes.lng)
    assert "bytes" in from_bytes.image


def test_what_is_excluded_is_no_evidence(locator, photo):
    without = locator.locate(photo, exclude=Exclusion(within_km=50, lat=HIMEJI[0], lng=HIMEJI[1]))
    assert haversine_km(without.neighbors.lat, without.neighbors.lng, *HIMEJI).min() > 50
    assert distance_km(without, HIMEJI) > 50


def test_a_guess_moves_the_answer_as_far_as_it_is_trusted(locator, photo):
    there = (-22.9, -43.2)
    alone, believed = locator.locate(photo), locator.locate(photo, guesses=((*there, 100.0),))
    assert distance_km(believed, there) < 5 < distance_km(alone, there)


def test_utility_decides_what_mbr_aims_at(locator, photo):
    near, far = (locator.locate(photo, utility=within_km(radius_km)) for radius_km in (1.0, 9_000.0))

    def held(answer, radius_km):
        return near.posterior.probability_within_km(answer.lat, answer.lng, radius_km)

    assert held(near, 1.0) > held(far, 1.0)
    assert held(far, 9_000.0) > held(near, 9_000.0)


def test_evidence_without_similarities_has_a_utility_of_its_own(locator):
    ranked = Evidence(
        neighbor_lat=np.array([10.0, 52.0, 53.0, 54.0]),
        neighbor_lng=np.array([10.0, 20.0, 21.0, 20.0]),
        neighbor_rank=np.arange(1.0, 5),
    )
    own = copy(locator)
    own.ranked_utility = far = within_km(2_000.0)
    answer = own.locate_evidence(ranked)
    assert answer.lat == locator.locate_evidence(ranked, LocateOptions(utility=far)).lat
    assert answer.lat != locator.locate_evidence(ranked).lat
    similar = replace(ranked, neighbor_similarity=np.full(4, 0.6))
    assert own.locate_evidence(similar).lat == locator.locate_evidence(similar).lat


def test_evidence_is_located_as_the_photo_it_is_of(locator, photo):
    whole = locator.locate(photo)
    alone = locator.locate_evidence(whole.neighbors.to_evidence(), name="elsewhere")
    assert (alone.lat, alone.lng, alone.place) == (whole.lat, whole.lng, whole.place)
    np.testing.assert_array_equal(alone.posterior.probability, whole.posterior.probability)
    assert (alone.image, len(alone.neighbors), alone.warnings) == ("elsewhere", 0, ())


def test_a_copy_of_a_photo_is_no_further_evidence(locator, photo, tmp_path):
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(photo.read_bytes())
    alone, twice = locator.locate(photo), locator.locate_together([photo, copy])
    assert [p.radius_km(0.5) for p in twice] == pytest.approx([alone.radius_km(0.5)] * 2)


def test_one_photo_is_no_list_of_photos(locator, photo):
    for single in (photo, str(photo), photo.read_bytes()):
        with pytest.raises(InputError, match="give a list"):
            next(locator.locate_many(single))
        with pytest.raises(InputError, match="give a list"):
            locator.locate_together(single)


@pytest.mark.parametrize("decoder", ["greedy", "beam", "sample", "best_first"])
@pytest.mark.parametrize("select", ["log_prob", "medoid", "mbr"])
def test_every_decoder_works_with_every_selection(locator, photo, decoder, select):
    found = locator.locate(photo, decoder=decoder, select=select, num_samples=5)
    assert -90 <= found.lat <= 90
    assert found.log_prob < 0


def test_a_batch_equals_its_photos_one_by_one_and_goes_on_past_a_bad_one(locator, examples, tmp_path):
    bad = tmp_path / "text.jpg"
    bad.write_text("no photo")
    photos = [*sorted(examples.glob("*.jpg"))[:3], bad, examples / "himeji-castle.jpg"]
    found = list(locator.locate_many(photos))
    assert [f.image for f in found] == [str(p) for p in photos]
    assert isinstance(found[3], Failure)
    for photo, prediction in zip(photos, found, strict=True):
        if not isinstance(prediction, Failure):
            alone = locator.locate(photo)
            np.testing.assert_allclose([prediction.lat, prediction.lng], [alone.lat, alone.lng], atol=1e-6)


def test_batches_are_read_as_they_are_needed(locator, photo):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield photo

    found = locator.locate_many(endless())
    next(found)
    assert len(taken) <= 48
    found.close()


def test_together_gives_one_answer_and_keeps_each_photos_neighbors(locator, examples, tmp_path):
    bad = tmp_path / "empty.jpg"
    bad.touch()
    found = locator.locate_together([examples / "himeji-castle.jpg", bad, examples / "great-sphinx-giza.jpg"])
    assert isinstance(found[1], Failure)
    assert (found[0].lat, found[0].lng, found[0].log_prob) == (found[2].lat, found[2].lng, found[2].log_prob)
    assert found[0].neighbors.id[0] != found[2].neighbors.id[0]
    assert all(isinstance(f, Failure) for f in locator.locate_together([bad]))


def test_an_answer_can_be_moved_to_any_point(locator, photo):
    own = locator.locate(photo)
    moved = locator.answer_at(own, -33.9, 18.4)
    assert (moved.lat, moved.lng, moved.place.country) == (-33.9, 18.4, "South Africa")
    assert moved.posterior is own.posterior
    assert moved.log_prob < own.log_prob
    back = locator.answer_at(moved, own.lat, own.lng)
    assert (back.tokens, back.levels, back.place) == (own.tokens, own.levels, own.place)


def test_a_point_held_impossible_has_a_finite_log_probability(locator, photo, monkeypatch):
    own = locator.locate(photo)
    impossible = np.full((1, 1, 11), -np.inf)
    monkeypatch.setattr("geotoken.pipeline.score_prefixes", lambda *arguments: impossible)
    assert locator.answer_at(own, 0.0, 0.0).log_prob == pytest.approx(-708.4, abs=0.1)


def test_a_region_that_the_photo_speaks_against_is_a_remark(locator, photo):
    far = locator.locate(photo, within=Region.near(-75, 0, 100))
    assert far.region_probability < 0.02
    (remark,) = far.warnings
    assert remark.startswith("the photo alone gives the region asked for ")
    assert locator.locate(photo, within=Region.bbox(-180, -90, 180, 90)).warnings == ()


def test_gps_in_the_file_is_a_remark_and_no_evidence(locator, photo, tmp_path):
    with Image.open(photo) as image:
        exif = image.getexif()
        gps = exif.get_ifd(0x8825)
        gps[1], gps[2], gps[3], gps[4] = "S", (10.0, 0.0, 0.0), "W", (20.0, 0.0, 0.0)
        copy = tmp_path / "gps.jpg"
        image.save(copy, exif=exif, quality=95)
    found = locator.locate(copy)
    assert distance_km(found, HIMEJI) < 5
    (remark,) = found.warnings
    assert "this file already carries GPS (-10.00000, -20.00000)" in remark
    assert "not used as evidence" in remark
    assert f"{distance_km(found, (-10.0, -20.0)):,.1f} km" in remark


def test_errors_are_those_of_the_parts(locator, photo, tmp_path, tiny_model):
    with pytest.raises(ImageError, match="absent"):
        locator.locate(tmp_path / "absent.jpg")
    with pytest.raises(InputError, match="beam_width"):
        locator.locate(photo, beam_width=0)
    with pytest.raises(InputError, match="unknown option 'colour'"):
        locator.locate(photo, colour="red")
    with pytest.raises(InputError, match="--select"):
        locator.locate(photo, select="best")
    with pytest.raises(InputError, match="--head"):
        Locator.from_pretrained(tiny_model, head="transformer")
    with pytest.raises(ArtifactError):
        Locator.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "guess", [(91.0, 0.0), (0.0, float("nan")), (0.0, 0.0, 0.0), (0.0, 0.0, float("inf"))]
)
def test_guesses_are_checked_before_work_begins(guess):
    with pytest.raises(InputError):
        LocateOptions(guesses=(guess,))


def test_no_photos_give_no_answers(locator):
    assert list(locator.locate_many([])) == []
    assert locator.locate_together([]) == []


@pytest.fixture(scope="module")
def with_transformer(tiny_transformer):
    return Locator.from_pretrained(tiny_transformer, num_threads=1)


def test_a_transformer_locates_as_any_head_does(with_transformer, photo, examples):
    assert with_transformer.num_neighbors == 5
    for decoder in DECODERS:
        found = with_transformer.locate(photo, decoder=decoder, guesses=[HIMEJI])
        assert len(found.tokens) == 11
        assert all(log_prob <= 0 for log_prob in found.candidates.log_prob)
    inside = with_transformer.locate(photo, within=Region.country("JP"))
    assert inside.place.country_code == "JP"
    both = with_transformer.locate_many([photo, examples / "taj-mahal-agra.jpg"])
    assert next(iter(both)).tokens == with_transformer.locate(photo).tokens


def test_a_head_that_the_model_lacks_is_named_with_those_it_has(tiny_model, tiny_transformer):
    with pytest.raises(InputError, match="'transformer'; the model tiny has mixture"):
        Locator.from_pretrained(tiny_model, head="transformer")
    with pytest.raises(InputError, match="'mixture'; the model tiny-transformer has transformer"):
        Locator.from_pretrained(tiny_transformer, head="mixture")


def test_a_transformer_of_another_scheme_is_refused(tmp_path, tiny_transformer):
    folder = shutil.copytree(tiny_transformer, tmp_path / "other")
    save_artifact(folder, name="other", scheme=TokenScheme(18, 2), head="transformer")
    with pytest.raises(ArtifactError, match="token scheme"):
        Locator.from_pretrained(folder)


def test_a_transformer_without_its_graphs_says_how_to_make_them(tmp_path, tiny_transformer):
    folder = shutil.copytree(tiny_transformer, tmp_path / "bare")
    (folder / "transformer" / "decoder_step.onnx").unlink()
    save_artifact(folder, name="bare", scheme=TokenScheme(), head="transformer")
    with pytest.raises(ArtifactError, match="geotoken export"):
        Locator.from_pretrained(folder)


def test_a_model_without_its_own_head_is_not_whole(tmp_path, tiny_transformer):
    folder = shutil.copytree(tiny_transformer, tmp_path / "headless")
    shutil.rmtree(folder / "transformer")
    save_artifact(folder, name="headless", scheme=TokenScheme(), head="transformer")
    with pytest.raises(ArtifactError, match="lacks the folder transformer"):
        Locator.from_pretrained(folder)


@pytest.fixture(scope="module")
def aligned_model(tmp_path_factory, tiny_transformer):
    """A transformer that reads vectors of three kinds, and the alignment that gives them; random weights."""
    torch = pytest.importorskip("torch", reason="the extra train is not installed")
    from geotoken.alignment import AlignmentConfig
    from geotoken.alignment.network import AlignmentNetwork, save_alignment
    from geotoken.model import ModelConfig
    from geotoken.model.network import GeoTokenModel, export_onnx, save_network

    folder = shutil.copytree(tiny_transformer, tmp_path_factory.mktemp("models") / "aligned")
    encoder = Locator.from_pretrained(folder, num_threads=1).encoder
    torch.manual_seed(0)
    size = {"width": 32, "num_encoder_layers": 1, "num_decoder_layers": 1, "num_heads": 4, "feed_forward": 48}
    modalities = (("image", encoder.dim), ("location", 8), ("text", 5))
    network = GeoTokenModel(ModelConfig(**size, num_neighbors=3, modalities=modalities))
    save_network(network, folder / "transformer")
    export_onnx(network, folder / "transformer")
    config = AlignmentConfig(
        image_encoder=encoder.name, image_dim=encoder.dim, dim=8, text_dim=5, num_buckets=9
    )
    save_alignment(AlignmentNetwork(config), folder / "align")
    save_artifact(folder, name="aligned", scheme=TokenScheme(), head="transformer")
    return folder


@pytest.fixture(scope="module")
def aligned(aligned_model):
    return Locator.from_pretrained(aligned_model, num_threads=1)


def test_a_head_that_reads_vectors_gets_them(aligned, photo, monkeypatch):
    seen = []
    encode = aligned.model.encode
    monkeypatch.setattr(aligned.model, "encode", lambda evidence: seen.extend(evidence) or encode(evidence))
    found = aligned.locate(photo, guesses=[HIMEJI])
    (evidence,) = seen
    image = evidence.query_vectors["image"]
    np.testing.assert_allclose(
        evidence.neighbor_vectors["image"] @ image, found.neighbors.similarity, atol=1e-5
    )
    expected = aligned.alignment.project(image[None])
    for name in ("location", "text"):
        np.testing.assert_allclose(evidence.query_vectors[name], expected[name][0], atol=1e-6)
        assert evidence.neighbor_vectors[name].shape == (3, len(expected[name][0]))
    seen.clear()
    aligned.locate_together([photo, photo.with_name("taj-mahal-agra.jpg")])
    assert seen[0].neighbor_vectors["text"].shape == (6, 5)


def test_similarity_takes_the_candidate_whose_place_fits_the_photo(aligned, photo):
    found = aligned.locate(photo, select="similarity", decoder="sample", num_samples=10, seed=3)
    assert len(found.candidates.lat) > 2
    vector = aligned.encoder.embed([read(photo, min_side=aligned.encoder.min_side).pixels])
    places = aligned.alignment.embed_places(found.candidates.lat, found.candidates.lng)
    best = int(np.argmax(places @ aligned.alignment.project(vector)["location"][0]))
    assert (found.lat, found.lng) == (found.candidates.lat[best], found.candidates.lng[best])


def test_similarity_without_an_alignment_is_refused_before_a_photo_is_read(locator):
    options = LocateOptions(select="similarity")
    message = "needs an alignment, and the model tiny has none; choose one of log_prob, medoid, mbr, or"
    for call in (locator.locate_one, lambda photo, options: next(locator.locate_many([photo], options))):
        with pytest.raises(InputError, match=message):
            call("no such file", options)
    with pytest.raises(InputError, match=message):
        locator.locate_together(["no such file"], options)


def test_a_head_whose_alignment_is_gone_or_of_another_encoder_is_refused(aligned_model, tmp_path):
    folder = shutil.copytree(aligned_model, tmp_path / "bare")
    shutil.rmtree(folder / "align")
    save_artifact(folder, name="bare", scheme=TokenScheme(), head="transformer")
    with pytest.raises(ArtifactError, match="the head of bare reads location vectors"):
        Locator.from_pretrained(folder)
    other = shutil.copytree(aligned_model, tmp_path / "other")
    config = json.loads((other / "align" / "align.json").read_text())
    (other / "align" / "align.json").write_text(json.dumps(config | {"image_encoder": "another"}))
    write_manifest(other / "align", kind="geotoken-alignment", format_version=1)
    save_artifact(other, name="other", scheme=TokenScheme(), head="transformer")
    with pytest.raises(ArtifactError, match='trained on vectors of encoder "another"'):
        Locator.from_pretrained(other)


@pytest.fixture(scope="module")
def rewarded(tmp_path_factory, tiny_model):
    """The tiny model with a reward model of random weights."""
    torch = pytest.importorskip("torch", reason="the extra train is not installed")
    from geotoken.reward import RewardConfig
    from geotoken.reward.network import RewardNetwork, export_reward

    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("models") / "rewarded")
    torch.manual_seed(0)
    network = RewardNetwork(RewardConfig(width=16, num_layers=1, num_heads=2, feed_forward=16))
    torch.nn.init.normal_(network.head.weight, std=2.0)
    (folder / "reward").mkdir()
    export_reward(network, folder / "reward")
    save_artifact(folder, name="rewarded", scheme=TokenScheme(), head="mixture")
    return Locator.from_pretrained(folder, num_threads=1)


def test_reward_takes_the_best_of_candidates_and_evidence(rewarded, photo, monkeypatch):
    seen = []
    score = rewarded.reward.score

    def remember(evidence, proposals, utility):
        seen.append((proposals, score(evidence, proposals, utility)))
        return seen[-1][1]

    monkeypatch.setattr(rewarded.reward, "score", remember)
    guess = (-20.0, 30.0)
    found = rewarded.locate(photo, select="reward", guesses=[guess])
    proposals, rewards = seen[0]
    num = len(found.candidates.lat)
    np.testing.assert_array_equal(proposals.lat[:num], found.candidates.lat)
    np.testing.assert_array_equal(proposals.lat[num:-1], found.neighbors.lat)
    assert (proposals.lat[-1], proposals.lng[-1]) == guess
    best = int(np.argmax(rewards))
    assert (found.lat, found.lng) == (proposals.lat[best], proposals.lng[best])
    assert found.levels[-1].probability == pytest.approx(np.exp(proposals.log_prob[best]), rel=1e-6)


def test_reward_serves_the_utility_and_stays_in_the_region(rewarded, photo):
    region = Region.parse("near=48.9,2.3,300")
    found = rewarded.locate(photo, select="reward", within=region, guesses=[(48.85, 2.35)])
    assert region.contains(np.array([found.lat]), np.array([found.lng]))[0]
    answers = {rewarded.locate(photo, select="reward", utility=within_km(r)).lat for r in (1.0, 2500.0)}
    assert all(np.isfinite(list(answers)))


def test_reward_without_a_reward_model_is_refused_and_told_what_there_is(locator, rewarded, photo):
    with pytest.raises(
        InputError, match="needs a reward model, and the model tiny has none; choose one of log_prob"
    ):
        locator.locate(photo, select="reward")
    with pytest.raises(InputError, match=r"one of log_prob, medoid, mbr, reward, or take .*train align"):
        rewarded.locate(photo, select="similarity")
