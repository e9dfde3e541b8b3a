import numpy as np
import pytest
from scipy.integrate import quad

from geotoken.geo import EARTH_RADIUS_KM, haversine_km, to_xyz
from geotoken.kernels import (
    MAX_CHORD2,
    chord2_holding,
    chord2_km2,
    falloff,
    peak_density,
    spiral,
)


def test_chord_agrees_with_great_circle_distance():
    rng = np.random.default_rng(0)
    lat, lng = rng.uniform(-90, 90, (2, 30)), rng.uniform(-180, 180, (2, 30))
    chord2 = chord2_km2(to_xyz(lat[0], lng[0]), to_xyz(lat[1], lng[1]))
    angle = haversine_km(lat[0][:, None], lng[0][:, None], lat[1], lng[1]) / EARTH_RADIUS_KM
    np.testing.assert_allclose(chord2, (2 * EARTH_RADIUS_KM * np.sin(angle / 2)) ** 2, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("scale_km", [0.1, 25.0, 1500.0, 20_000.0])
def test_density_integrates_to_one_over_the_sphere(scale_km):
    # The area element of a cap in terms of squared chord u is pi du.
    def density(log_u):
        u = np.exp(log_u)
        return float(np.pi * u * peak_density(np.asarray(scale_km)) * falloff(np.array([u]), scale_km)[0])

    mass, _ = quad(density, np.log(1e-8), np.log(MAX_CHORD2), limit=400)
    assert mass == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("scale_km", [0.5, 300.0, 9000.0])
@pytest.mark.parametrize("held", [0.0, 0.3, 0.9, 1.0])
def test_chord2_holding_inverts_the_integral(scale_km, held):
    chord2 = float(chord2_holding(np.asarray(held), scale_km))
    u = np.linspace(0, min(chord2, 400 * scale_km**2), 400_001)
    values = np.pi * peak_density(np.asarray(scale_km)) * falloff(u, scale_km)
    assert chord2 <= MAX_CHORD2 * (1 + 1e-9)
    assert np.trapezoid(values, u) == pytest.approx(held, abs=3e-3)


def test_spiral_keeps_its_distances_and_its_center():
    centers = to_xyz(np.array([0.0, 90.0, -33.0]), np.array([180.0, 0.0, 151.0]))
    chord2 = np.linspace(0.5, 400.0, 500)
    points = spiral(centers, chord2)
    np.testing.assert_allclose(np.linalg.norm(points, axis=2), 1.0, atol=1e-12)
    for center, cloud in zip(centers, points, strict=True):
        np.testing.assert_allclose(chord2_km2(cloud, center[None])[:, 0], chord2, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(cloud.mean(axis=0), center, atol=1e-4)
