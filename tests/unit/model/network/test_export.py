import numpy as np
import pytest
import torch

from geotoken.errors import ArtifactError
from geotoken.model import OnnxModel
from geotoken.model.network import export_onnx
from geotoken.model.network.export import TOLERANCE, largest_difference, random_evidence
from geotoken.model.runtime import CONFIG_FILE, DECODER_FILE, ENCODER_FILE, PRIOR_FILE


def test_the_graphs_agree_and_lie_beside_their_configuration(tmp_path, make_config, make_network, kind):
    network = make_network(make_config(kind)).train()
    assert export_onnx(network, tmp_path) <= TOLERANCE
    assert network.training
    prior = [PRIOR_FILE] if kind == "world" else []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [CONFIG_FILE, ENCODER_FILE, DECODER_FILE, *prior]
    )
    exported = OnnxModel.load(tmp_path)
    assert exported.config == network.config
    assert largest_difference(network.eval(), exported, seed=4) <= TOLERANCE


def test_kernels_alone_agree_too(tmp_path, make_config, make_network):
    network = make_network(make_config("kernel", head="kernel_only"))
    assert export_onnx(network, tmp_path) <= TOLERANCE


def test_other_weights_are_noticed(tmp_path, make_config, make_network):
    network = make_network(make_config("pointer"))
    export_onnx(network, tmp_path)
    with torch.no_grad():
        network.decoder[1].feed_forward_out.bias[0] += 0.5
    assert largest_difference(network, OnnxModel.load(tmp_path)) > TOLERANCE


def test_graphs_that_differ_are_refused_and_nothing_is_written(
    tmp_path, make_config, make_network, monkeypatch
):
    monkeypatch.setattr("geotoken.model.network.export.TOLERANCE", -1.0)
    with pytest.raises(ArtifactError, match="nothing was written"):
        export_onnx(make_network(make_config("pointer")), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_evidence_of_the_proof_is_ragged(make_config):
    config = make_config("pooled")
    photos = random_evidence(config, np.random.default_rng(0))
    assert [len(photo.neighbor_lat) for photo in photos] == [5, 2, 0, 1]
    assert [sorted(photo.query_vectors) for photo in photos] == [["image", "text"], ["text"], [], []]
