import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra train is not installed")

from geotoken.alignment.network.location import FourierFeatures, LocationEncoder, equal_earth  # noqa: E402


def test_the_map_has_its_published_extent():
    edges = torch.tensor([[0.0, 180.0], [90.0, 0.0], [0.0, 0.0], [-90.0, 0.0]], dtype=torch.float64)
    unit = 66.50336 / 180
    # Savric et al.: the map is 2.70663 times the sphere's radius wide each way and 1.317363 high.
    expected = np.array([[2.70663, 0], [0, 1.317363], [0, 0], [0, -1.317363]]) * unit
    np.testing.assert_allclose(equal_earth(edges).numpy(), expected, atol=2e-6)


def test_the_map_is_equal_area():
    random = np.random.default_rng(1)
    places = torch.tensor(random.uniform([-85, -175], [85, 175], (200, 2)), dtype=torch.float64)
    jacobians = torch.func.vmap(torch.func.jacfwd(lambda place: equal_earth(place[None])[0]))(places)
    area = torch.linalg.det(jacobians).abs().numpy() / np.cos(np.radians(places[:, 0].numpy()))
    np.testing.assert_allclose(area, area.mean(), rtol=1e-6)


def test_fourier_features_by_hand():
    features = FourierFeatures(2.0, 3)
    place = torch.tensor([[0.3, -0.2]])
    phases = [2 * np.pi * (0.3 * float(b[0]) - 0.2 * float(b[1])) for b in features.frequencies]
    expected = [*np.cos(phases), *np.sin(phases)]
    np.testing.assert_allclose(features(place)[0].numpy(), expected, atol=1e-5)
    assert [name for name, _ in features.named_parameters()] == []  # frequencies are not learnt


def test_scales_set_the_spread_of_frequencies():
    torch.manual_seed(1)
    encoder = LocationEncoder(num_frequencies=4000, width=2, dim=2)
    spread = [float(branch[0].frequencies.std()) for branch in encoder.branches]
    np.testing.assert_allclose(spread, [1, 16, 256], rtol=0.05)


def test_places_do_not_depend_on_each_other_and_gradients_flow():
    torch.manual_seed(1)
    encoder = LocationEncoder(num_frequencies=8, width=16, num_hidden=2, dim=5)
    places = torch.tensor([[48.1, 11.6], [-33.9, 151.2]])
    vectors = encoder(places)
    assert vectors.shape == (2, 5)
    torch.testing.assert_close(encoder(places[1:]), vectors[1:])
    vectors.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
