import pytest
import torch

from geotoken.errors import ArtifactError
from geotoken.reward import RewardModel
from geotoken.reward.network import export_reward
from geotoken.reward.network.export import TOLERANCE, largest_difference, random_batch
from geotoken.reward.network.weights import WEIGHTS_FILE
from geotoken.reward.runtime import CONFIG_FILE, GRAPH_FILE


@pytest.mark.parametrize(
    "changes", [{}, {"modalities": ("text", "location"), "places": True, "num_layers": 2}]
)
def test_graph_and_network_agree(tmp_path, make_config, make_network, changes):
    network = make_network(make_config(**changes)).train()
    assert export_reward(network, tmp_path) <= TOLERANCE
    assert network.training
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([CONFIG_FILE, GRAPH_FILE, WEIGHTS_FILE])
    exported = RewardModel.load(tmp_path)
    assert exported.config == network.config
    assert largest_difference(network.eval(), exported, seed=40) <= TOLERANCE


def test_other_weights_are_noticed(tmp_path, make_network):
    network = make_network()
    export_reward(network, tmp_path)
    with torch.no_grad():
        network.head.bias[2] += 0.5
    assert largest_difference(network, RewardModel.load(tmp_path)) > TOLERANCE


def test_a_graph_that_differs_is_refused_and_nothing_is_written(tmp_path, make_network, monkeypatch):
    monkeypatch.setattr("geotoken.reward.network.export.TOLERANCE", -1.0)
    with pytest.raises(ArtifactError, match="nothing was written"):
        export_reward(make_network(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_cases_of_the_proof_are_ragged(make_config):
    batch = random_batch(make_config(), (4, 7, 9))
    assert not batch.item_mask[0].any()
    assert 0 < batch.mask.mean() < 1
    assert 0 < batch.item_similarity_known.mean() < batch.item_mask.mean()
    assert batch.item_guess.any()
