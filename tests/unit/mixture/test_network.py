import dataclasses

import numpy as np
import pytest

from geotoken import cells
from geotoken.errors import ArtifactError
from geotoken.evidence import Evidence
from geotoken.geo import to_xyz
from geotoken.mixture import EvidenceNetwork, MixtureModel, Ranked
from geotoken.mixture.network import parameter_shapes
from geotoken.mixture.weights import weigh_ranked

SHARP, BROAD = (0.3, 5.0, 40.0), (400.0,)


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(3)
    shapes = parameter_shapes(8, len(SHARP + BROAD), len(BROAD))
    arrays = {name: rng.normal(0, 0.3, (2, *shape)).astype(np.float32) for name, shape in shapes.items()}
    arrays["std"] = np.abs(arrays["std"]) + 0.5
    return EvidenceNetwork(arrays, SHARP, BROAD, num_neighbors=5)


@pytest.fixture
def ranked(evidence):
    return dataclasses.replace(evidence, neighbor_similarity=None)


def with_guess(evidence, weight, lat=10.0, lng=10.0):
    guess = Evidence(
        guess_lat=np.array([lat]), guess_lng=np.array([lng]), guess_weight=np.array([float(weight)])
    )
    return Evidence.merge([evidence, guess])


def test_weights_are_a_distribution(ranked, network, prior):
    for evidence in (ranked, with_guess(ranked, 2.0), with_guess(Evidence(), 1.0)):
        parts = weigh_ranked(evidence, network, prior)
        assert parts.weights.shape == (len(parts.points), 4)
        assert parts.weights.min() > 0
        assert parts.weights.sum() + parts.prior_weight == pytest.approx(1.0)


def test_no_evidence_leaves_the_prior(network, prior):
    assert weigh_ranked(Evidence(), network, prior).prior_weight == 1.0


def test_order_of_neighbors_does_not_matter(ranked, network, prior):
    order = [2, 0, 3, 1]
    names = ("neighbor_lat", "neighbor_lng", "neighbor_rank")
    shuffled = Evidence(**{name: getattr(ranked, name)[order] for name in names})
    expected = weigh_ranked(ranked, network, prior).weights[order]
    np.testing.assert_allclose(weigh_ranked(shuffled, network, prior).weights, expected)


def test_only_the_nearest_neighbors_count(ranked, network, prior):
    far = dataclasses.replace(ranked, neighbor_rank=np.array([1.0, 2.0, 6.0, 7.0]))
    assert len(weigh_ranked(far, network, prior).points) == 2


def test_a_guess_of_no_weight_changes_nothing_and_more_weight_says_more(ranked, network, prior):
    without = weigh_ranked(ranked, network, prior)
    faint = weigh_ranked(with_guess(ranked, 1e-9), network, prior)
    np.testing.assert_allclose(faint.weights[:4], without.weights, atol=1e-6)
    odds = []
    for weight in (1.0, 2.0, 8.0):
        share = weigh_ranked(with_guess(ranked, weight), network, prior).weights[-1].sum()
        odds.append(share / (1 - share))
    assert odds[0] < odds[1] < odds[2] < 8.1 * odds[0]


def test_identical_and_many_points_stay_finite(network, prior):
    same = Evidence(
        neighbor_lat=np.full(100, 48.0),
        neighbor_lng=np.full(100, 8.0),
        neighbor_rank=np.repeat([1.0, 2.0], 50),
    )
    parts = weigh_ranked(same, network, prior)
    assert len(parts.points) == 100
    np.testing.assert_allclose(parts.weights[:50], parts.weights[:1].repeat(50, axis=0))
    assert np.isfinite(parts.weights).all()


def test_the_model_asks_it_only_without_similarities(evidence, ranked, config, prior, network):
    linear = MixtureModel(config, prior)
    model = MixtureModel(config, prior, ranked=Ranked(network, prior))
    at = to_xyz([48.86], [2.35])

    def density(of, told):
        return of.encode([told]).densities[0].at(at)[0]

    assert density(model, evidence) == density(linear, evidence)
    assert density(model, ranked) != density(linear, ranked)


def test_save_and_load(network, tmp_path):
    network.save(tmp_path / "n.npz")
    loaded = EvidenceNetwork.load(tmp_path / "n.npz")
    assert (loaded.sharp_scales_km, loaded.broad_scales_km, loaded.num_neighbors) == (SHARP, BROAD, 5)
    assert {k: v.tolist() for k, v in loaded.parameters.items()} == {
        k: v.tolist() for k, v in network.parameters.items()
    }


def test_a_model_folder_keeps_it(config, prior, network, tmp_path):
    only_ranked = dataclasses.replace(config, without_similarity=None)
    MixtureModel(only_ranked, prior, ranked=Ranked(network, prior)).save(tmp_path)
    loaded = MixtureModel.load(tmp_path)
    assert loaded.ranked is not None
    np.testing.assert_array_equal(loaded.ranked.prior.cell_ids, prior.cell_ids)
    (tmp_path / "ranked_network.npz").unlink()
    with pytest.raises(ArtifactError, match="install the model again"):
        MixtureModel.load(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.pop("prior.bias"),
        lambda arrays: arrays.update(std=np.zeros_like(arrays["std"])),
        lambda arrays: arrays.update(mean=np.full_like(arrays["mean"], np.nan)),
        lambda arrays: arrays.update(mean=arrays["mean"][:, :-1]),
        lambda arrays: arrays.update(broad_scales_km=np.array([-400.0])),
        lambda arrays: arrays.update(sharp_scales_km=np.array([0.3, 5.0])),
        lambda arrays: arrays.update(num_neighbors=np.array(0)),
        lambda arrays: arrays.update(num_neighbors=np.array([1, 2])),
    ],
)
def test_load_refuses_what_is_no_network(network, tmp_path, damage):
    network.save(tmp_path / "n.npz")
    with np.load(tmp_path / "n.npz") as file:
        arrays = dict(file)
    damage(arrays)
    np.savez(tmp_path / "n.npz", **arrays)
    with pytest.raises(ArtifactError, match=r"n\.npz.*install the model again"):
        EvidenceNetwork.load(tmp_path / "n.npz")


def test_load_refuses_what_is_no_file_of_arrays(tmp_path):
    with pytest.raises(ArtifactError, match="install the model again"):
        EvidenceNetwork.load(tmp_path / "n.npz")
    (tmp_path / "n.npz").write_bytes(b"no zip")
    with pytest.raises(ArtifactError, match="install the model again"):
        EvidenceNetwork.load(tmp_path / "n.npz")


def test_a_lone_guess_is_the_answer_of_the_bundled_model():
    from geotoken.artifact import load_artifact

    model = MixtureModel.load(load_artifact("mini").folder / "mixture")
    density = model.encode([with_guess(Evidence(), 1.0, 48.2, 16.37)]).densities[0]
    here, there = density.at(to_xyz([48.2, 48.2], [16.37, 17.37]))
    assert here > 100 * there
    city = cells.from_lat_lng(48.2, 16.37, 8)
    face = np.array([cells.parent(city, 4)])
    assert (
        cells.children(face[0], 4)[np.argmax(density.children_mass(face, cells.children(face[0], 4)[None]))]
        == city
    )


def test_it_computes_what_was_trained(prior):
    pytest.importorskip("torch")
    import torch

    import fit_mixture as fit
    import fit_network as net

    rng = np.random.default_rng(0)
    told = [
        Evidence(
            neighbor_lat=rng.normal(48, 2, k),
            neighbor_lng=rng.normal(8, 2, k),
            neighbor_rank=np.arange(1.0, k + 1),
            guess_lat=np.array([48.0])[:guesses],
            guess_lng=np.array([8.0])[:guesses],
            guess_weight=np.ones(guesses),
        )
        for k, guesses in ((5, 1), (3, 0), (5, 0), (0, 1), (1, 1))
    ]
    scales = fit.Scales(SHARP, BROAD)
    cases = net.network_cases(told, to_xyz(np.full(5, 48.1), np.full(5, 8.1)), scales, prior)
    twins = [net.train(cases, seed, epochs=2) for seed in range(2)]
    network = net.export(twins, scales, 5)
    with torch.no_grad():
        weights = [twin(cases, net.full_weight(cases, guess=True)).exp().numpy() for twin in twins]
    expected = np.mean(weights, axis=0)
    for row, one in zip(expected, told, strict=True):
        parts = weigh_ranked(one, network, prior)
        found = row[:-1].reshape(-1, 4)
        k = len(one.neighbor_lat)
        np.testing.assert_allclose(parts.weights[:k], found[:k], rtol=1e-4)
        np.testing.assert_allclose(parts.weights[k:], found[-1:][: len(one.guess_lat)], rtol=1e-4)
        assert parts.prior_weight == pytest.approx(row[-1], rel=1e-4)
