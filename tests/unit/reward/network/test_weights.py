import pytest
import torch

from geotoken.errors import ArtifactError
from geotoken.reward.network import load_reward_network, save_reward_network
from geotoken.reward.network.weights import WEIGHTS_FILE
from geotoken.reward.runtime import CONFIG_FILE


def test_a_network_comes_back(tmp_path, make_config, make_network):
    network = make_network(make_config(modalities=("text",)))
    save_reward_network(network, tmp_path)
    loaded = load_reward_network(tmp_path)
    assert loaded.config == network.config
    assert not loaded.training
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([CONFIG_FILE, WEIGHTS_FILE])


def test_damaged_or_other_weights_are_named(tmp_path, make_config, make_network):
    save_reward_network(make_network(), tmp_path)
    make_config(width=32).save(tmp_path / CONFIG_FILE)
    with pytest.raises(ArtifactError, match=WEIGHTS_FILE):
        load_reward_network(tmp_path)
    save_reward_network(make_network(), tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"x" * 100)
    with pytest.raises(ArtifactError, match=WEIGHTS_FILE):
        load_reward_network(tmp_path)
    (tmp_path / WEIGHTS_FILE).unlink()
    with pytest.raises(ArtifactError, match=WEIGHTS_FILE):
        load_reward_network(tmp_path)
