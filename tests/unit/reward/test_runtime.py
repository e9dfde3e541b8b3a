import numpy as np
import pytest

from geotoken.errors import ArtifactError
from geotoken.metrics import THRESHOLDS_KM
from geotoken.reward import RewardModel, collate, describe
from geotoken.reward.runtime import GRAPH_FILE
from geotoken.selection import weighted_thresholds, within_km


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch = pytest.importorskip("torch", reason="the extra train is not installed")
    from geotoken.reward import RewardConfig
    from geotoken.reward.network import RewardNetwork, export_reward

    folder = tmp_path_factory.mktemp("reward")
    torch.manual_seed(0)
    network = RewardNetwork(
        RewardConfig(
            width=16, num_layers=1, num_heads=2, feed_forward=16, num_neighbors=6, modalities=("text",)
        )
    )
    torch.nn.init.normal_(network.head.weight, std=0.5)
    export_reward(network, folder)
    return folder


@pytest.fixture
def model(folder):
    return RewardModel.load(folder, 1)


def test_probabilities_never_fall_with_the_threshold(model, make_cases):
    evidence, proposals = make_cases()
    found = model.probabilities(evidence, proposals)
    assert [one.shape for one in found] == [(7, 5), (4, 5), (1, 5), (3, 5)]
    for one in found:
        assert ((one > 0) & (one < 1)).all()
        assert (np.diff(one, axis=1) >= 0).all()
    assert model.probabilities([], []) == []


def test_a_photo_is_judged_alone(model, make_cases):
    evidence, proposals = make_cases()
    together = model.probabilities(evidence, proposals)
    for one, place, expected in zip(evidence, proposals, together, strict=True):
        np.testing.assert_allclose(model.probabilities([one], [place])[0], expected, atol=1e-6)


def test_a_reward_is_the_expected_utility(model, make_cases):
    evidence, proposals = (part[0] for part in make_cases())
    within = model.probabilities([evidence], [proposals])[0]
    np.testing.assert_allclose(model.score(evidence, proposals), within.mean(axis=1), rtol=1e-12)
    weights = np.array([3.0, 0, 1, 0, 2])
    found = model.score(evidence, proposals, weighted_thresholds(weights))
    np.testing.assert_allclose(found, within @ weights / 6, rtol=1e-12)
    for column, threshold_km in enumerate(THRESHOLDS_KM):
        found = model.score(evidence, proposals, within_km(threshold_km))
        np.testing.assert_allclose(found, within[:, column], rtol=1e-12)


def test_similarities_that_are_absent_are_told_from_zero(model, make_cases):
    evidence, proposals = make_cases()
    described = describe(collate(evidence, proposals, model.config), model.config)["item"]
    assert described[0, 0, 4] == 1
    assert described[1, 0, 4] == described[1, 0, 5] == 0


@pytest.mark.parametrize("content", [None, b"no graph"])
def test_a_graph_that_is_gone_or_damaged_is_named(folder, tmp_path, content):
    (tmp_path / "reward.json").write_bytes((folder / "reward.json").read_bytes())
    if content is not None:
        (tmp_path / GRAPH_FILE).write_bytes(content)
    with pytest.raises(ArtifactError, match=GRAPH_FILE):
        RewardModel.load(tmp_path)
