import dataclasses

import numpy as np
import pytest
import torch

from geotoken.errors import ArtifactError
from geotoken.model.network import load_network, save_network
from geotoken.model.network.weights import WEIGHTS_FILE
from geotoken.model.runtime import CONFIG_FILE, PRIOR_FILE


def test_what_is_saved_is_loaded(tmp_path, make_config, make_network):
    network = make_network(make_config("full"))
    save_network(network, tmp_path)
    loaded = load_network(tmp_path)
    assert loaded.config == network.config
    assert not loaded.training
    torch.testing.assert_close(loaded.state_dict(), network.state_dict(), atol=0, rtol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]


def test_the_world_prior_goes_with_the_weights(tmp_path, make_config, make_network):
    network = make_network(make_config("world"))
    save_network(network, tmp_path)
    loaded = load_network(tmp_path)
    assert np.array_equal(loaded.world.prior.cell_ids, network.world.prior.cell_ids)
    np.testing.assert_allclose(loaded.world.prior.mass, network.world.prior.mass, rtol=1e-6)
    (tmp_path / PRIOR_FILE).write_bytes(b"")
    with pytest.raises(ArtifactError, match=PRIOR_FILE):
        load_network(tmp_path)


@pytest.mark.parametrize("change", ["absent", "cut", "other"])
def test_damaged_weights_are_an_artifact_error(tmp_path, make_config, make_network, change):
    config = make_config("pointer")
    save_network(make_network(config), tmp_path)
    path = tmp_path / WEIGHTS_FILE
    if change == "absent":
        path.unlink()
    elif change == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        dataclasses.replace(config, width=64).save(tmp_path / CONFIG_FILE)
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        load_network(tmp_path)
