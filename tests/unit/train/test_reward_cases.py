import dataclasses
import shutil

import numpy as np
import pytest

from geotoken.errors import ArtifactError, ConfigError, InputError
from geotoken.evidence import Evidence
from geotoken.geo import haversine_km
from geotoken.model import ModelConfig, collate
from geotoken.reward import RewardConfig
from geotoken.train import reward_cases
from geotoken.train.reward_cases import CandidateOptions, CaseEvidence, RewardCases, make_cases, to_evidence
from reward_world import make_world

OPTIONS = CandidateOptions(num_samples=3, temperatures=(0.5, 1.5), max_candidates=12, epsilon=0.02)


@pytest.fixture
def few(monkeypatch):
    """Four photos a file, three decoded together, so that both end within ten."""
    monkeypatch.setattr(reward_cases, "SHARD_CASES", 4)
    monkeypatch.setattr(reward_cases, "DECODED_TOGETHER", 3)
    evidence, lat, lng, owner = make_world(10, 0)
    return evidence, (lat, lng, owner)


def same(one, other):
    for field in dataclasses.fields(one.batch):
        np.testing.assert_array_equal(getattr(one.batch, field.name), getattr(other.batch, field.name))
    np.testing.assert_array_equal(one.distance_km, other.distance_km)
    np.testing.assert_array_equal(one.owner, other.owner)


def test_candidates_are_distinct_and_hold_the_neighbors_and_the_decoders_own(tiny_mixture, few, tmp_path):
    evidence, truth = few
    options = dataclasses.replace(OPTIONS, max_candidates=100)
    cases = make_cases(tiny_mixture, evidence, truth, tmp_path, options=options)
    assert len(cases) == 10
    for photo, one in enumerate(evidence):
        mask = cases.batch.mask[photo]
        places = set(zip(cases.batch.lat[photo, mask], cases.batch.lng[photo, mask], strict=True))
        near = set(zip(one.neighbor_lat, one.neighbor_lng, strict=True))
        leaves = tiny_mixture.scheme.encode(cases.batch.lat[photo, mask], cases.batch.lng[photo, mask])
        assert len(np.unique(leaves, axis=0)) == mask.sum() > len(near) + 3
        assert near <= places
        expected = haversine_km(
            cases.batch.lat[photo, mask], cases.batch.lng[photo, mask], truth[0][photo], truth[1][photo]
        )
        np.testing.assert_array_equal(cases.distance_km[photo, mask], expected)
    assert (cases.batch.mask.sum(axis=1) <= 100).all()
    assert np.isfinite(cases.batch.log_prob).all()


def test_no_more_candidates_than_asked_for(tiny_mixture, few, tmp_path):
    cases = make_cases(tiny_mixture, *few, tmp_path, options=dataclasses.replace(OPTIONS, max_candidates=5))
    assert (cases.batch.mask.sum(axis=1) == 5).all()


def test_a_killed_call_goes_on_and_gives_the_same(tiny_mixture, few, tmp_path, monkeypatch):
    done = []
    whole = make_cases(
        tiny_mixture,
        *few,
        tmp_path / "whole",
        options=OPTIONS,
        progress=lambda n, total: done.append((n, total)),
    )
    assert done == [(4, 10), (8, 10), (10, 10)]

    class Killed(Exception):
        pass

    def kill(number, total):
        if number == 8:
            raise Killed

    with pytest.raises(Killed):
        make_cases(tiny_mixture, *few, tmp_path / "part", options=OPTIONS, progress=kill)
    with pytest.raises(ArtifactError):
        RewardCases.open(tmp_path / "part")
    before = (tmp_path / "part" / "00001.npz").stat().st_mtime_ns
    again = make_cases(tiny_mixture, *few, tmp_path / "part", options=OPTIONS)
    assert (tmp_path / "part" / "00001.npz").stat().st_mtime_ns == before
    same(again, whole)
    same(RewardCases.open(tmp_path / "part"), whole)


def test_other_candidates_and_other_folders_are_left_alone(tiny_mixture, few, tmp_path):
    make_cases(tiny_mixture, *few, tmp_path / "cases", options=OPTIONS)
    for changes in (
        {"options": dataclasses.replace(OPTIONS, seed=1)},
        {"options": OPTIONS, "source": "another model"},
        {"options": OPTIONS, "config": RewardConfig(num_neighbors=3)},
    ):
        with pytest.raises(InputError, match="of another model, other photos or other options"):
            make_cases(tiny_mixture, *few, tmp_path / "cases", **changes)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="exists and holds no candidates"):
        make_cases(tiny_mixture, *few, tmp_path / "mine", options=OPTIONS)


def test_a_damaged_file_is_named(tiny_mixture, few, tmp_path):
    make_cases(tiny_mixture, *few, tmp_path / "cases", options=OPTIONS)
    shutil.copytree(tmp_path / "cases", tmp_path / "copy")
    for folder in ("cases", "copy"):
        path = tmp_path / folder / "00001.npz"
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ArtifactError, match=r"00001\.npz is damaged"):
        make_cases(tiny_mixture, *few, tmp_path / "cases", options=OPTIONS)
    with pytest.raises(ArtifactError, match=r"00001\.npz"):
        RewardCases.open(tmp_path / "copy")


def test_evidence_and_truth_must_be_as_many(tiny_mixture, few, tmp_path):
    evidence, (lat, lng, owner) = few
    for wrong in ((lat[1:], lng[1:], owner), (lat, lng, owner[1:])):
        with pytest.raises(InputError, match="give one of each"):
            make_cases(tiny_mixture, evidence, wrong, tmp_path / "cases")
    with pytest.raises(InputError, match="give one of each"):
        make_cases(tiny_mixture, [], (lat[:0], lng[:0], owner[:0]), tmp_path / "cases")
    assert not (tmp_path / "cases").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_photos": 0}, "num_photos is 0"),
        ({"beam_width": 0}, "beam_width is 0"),
        ({"max_candidates": 0}, "max_candidates is 0"),
        ({"temperatures": (1.0, 0.0)}, "temperature"),
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_options_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        CandidateOptions(**changes)


@pytest.fixture
def config():
    size = {"width": 8, "num_encoder_layers": 1, "num_decoder_layers": 1, "num_heads": 2, "feed_forward": 8}
    return ModelConfig(**size, num_neighbors=6, num_guesses=2, modalities=(("image", 4), ("text", 3)))


def test_a_batch_is_read_as_the_evidence_it_was_made_of(config):
    rng = np.random.default_rng(0)
    full = Evidence(
        neighbor_lat=rng.uniform(-60, 60, 3),
        neighbor_lng=rng.uniform(-170, 170, 3),
        neighbor_rank=np.array([1.0, 2.0, 4.0]),
        neighbor_similarity=rng.uniform(0, 1, 3),
        guess_lat=np.array([4.0]),
        guess_lng=np.array([5.0]),
        guess_weight=np.array([2.5]),
        query_vectors={"image": rng.normal(size=4)},
        neighbor_vectors={"text": rng.normal(size=(3, 3))},
    )
    bare = dataclasses.replace(full, neighbor_similarity=None, query_vectors={}, neighbor_vectors={})
    photos = [full, bare, Evidence()]
    for before, after in zip(photos, to_evidence(collate(photos, config), config.scheme), strict=True):
        for name in ("neighbor", "guess"):
            places = [getattr(one, f"{name}_{axis}") for one in (before, after) for axis in ("lat", "lng")]
            assert haversine_km(*places).max(initial=0) < 0.01
        np.testing.assert_array_equal(after.neighbor_rank, before.neighbor_rank)
        np.testing.assert_allclose(after.guess_weight, before.guess_weight, rtol=1e-6)
        if before.neighbor_similarity is None or not len(before.neighbor_lat):
            assert after.neighbor_similarity is None
        else:
            np.testing.assert_allclose(after.neighbor_similarity, before.neighbor_similarity, rtol=1e-6)
        for kind in ("query_vectors", "neighbor_vectors"):
            ours, theirs = getattr(before, kind), getattr(after, kind)
            assert list(ours) == list(theirs)
            for name in ours:
                np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-6)


def test_evidence_of_cases_is_read_when_it_is_asked_for(config):
    evidence = make_world(9, 3)[0]

    class Cases:
        def __init__(self):
            self.asked = []

        def evidence(self, rows, rng):
            assert rng is None
            self.asked.append(rows.tolist())
            return collate([evidence[row] for row in rows], config)

    cases = Cases()
    some = CaseEvidence(cases, np.array([8, 1, 4, 2]), config.scheme)
    assert len(some) == 4
    assert len(some[1:3]) == 2
    assert cases.asked == []
    found = list(some[1:3])
    assert cases.asked == [[1, 4]]
    np.testing.assert_allclose(found[1].neighbor_lat, evidence[4].neighbor_lat, atol=1e-4)
    np.testing.assert_allclose(some[0].neighbor_lat, evidence[8].neighbor_lat, atol=1e-4)
