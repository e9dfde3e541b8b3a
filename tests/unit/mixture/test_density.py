import numpy as np
import pytest

from geotoken import cells
from geotoken.geo import EARTH_RADIUS_KM, to_xyz
from geotoken.kernels import chord2_km2, falloff, peak_density
from geotoken.mixture.density import PhotoDensity
from geotoken.mixture.weights import weigh


@pytest.fixture(scope="module")
def components(evidence, config, prior):
    return weigh(evidence, config, prior)


@pytest.fixture(scope="module")
def density(components, prior):
    return PhotoDensity(components, prior)


def dense_mass(density, cell):
    """Mass of a cell by evaluating the closed form at 4^6 points inside it."""
    fine = cells.children(cell, 6)
    return float(np.sum(density.at(cells.center_xyz(fine)) * cells.area_km2(fine)))


def test_density_integrates_to_one(density):
    # Points are drawn from a proposal with mass near the neighbors and everywhere else, and weighed by it.
    rng = np.random.default_rng(0)
    num, total = 40_000, 0.0
    for scale_km in (1.0, 30.0):
        for center in density.points:
            chord2 = scale_km**2 * (rng.uniform(size=num) ** -1.0 - 1)
            chord2 = np.minimum(chord2 / EARTH_RADIUS_KM**2, 4.0)
            angle = rng.uniform(0, 2 * np.pi, num)
            east = np.cross([0.0, 0.0, 1.0], center)
            east /= np.linalg.norm(east)
            tangent = np.outer(np.cos(angle), east) + np.outer(np.sin(angle), np.cross(center, east))
            across = np.sqrt(chord2 * (1 - chord2 / 4))
            points = center * (1 - chord2 / 2)[:, None] + tangent * across[:, None]
            total += np.sum(density.at(points) / proposal(density, points))
    uniform = rng.normal(size=(8 * num, 3))
    uniform /= np.linalg.norm(uniform, axis=1, keepdims=True)
    total += np.sum(density.at(uniform) / proposal(density, uniform))
    assert total / (16 * num) == pytest.approx(1.0, abs=0.02)


def proposal(density, points):
    """Density per km2 that the points of the test above are drawn from; half of it uniform."""
    chord2 = chord2_km2(points, density.points)
    kernels = [falloff(chord2, s) * peak_density(np.asarray(s)) for s in (1.0, 30.0)]
    return 0.5 * np.mean(kernels, axis=(0, 2)) + 0.5 / (4 * np.pi * EARTH_RADIUS_KM**2)


def sampled_mass(density, components, children):
    """Masses of cells by drawing from the sharp kernels; the prior's part is summed over its own cells."""
    rng = np.random.default_rng(5)
    counts = np.zeros(len(children))
    for i, scale_km in enumerate(density.sharp_scales_km):
        for center, weight in zip(density.points, density.sharp_weights[:, i], strict=True):
            quantile = rng.uniform(0, 1, 20_000)
            chord = (
                scale_km * np.sqrt(quantile / (1 - quantile)) / EARTH_RADIUS_KM
            )  # of the untruncated kernel
            chord, angle = np.minimum(chord, 2.0), rng.uniform(0, 2 * np.pi, len(quantile))
            east = np.cross([0.0, 0.0, 1.0], center)
            east /= np.linalg.norm(east)
            tangent = np.outer(np.cos(angle), east) + np.outer(np.sin(angle), np.cross(center, east))
            points = (
                center * (1 - chord**2 / 2)[:, None] + tangent * (chord * np.sqrt(1 - chord**2 / 4))[:, None]
            )
            rows = np.searchsorted(cells.range_max(children), cells.from_xyz(points))
            inside = (rows < len(children)) & (cells.from_xyz(points) >= cells.range_min(children[0]))
            counts += weight * np.bincount(rows[inside], minlength=len(children)) / len(quantile)
    prior = density.prior
    starts = np.searchsorted(prior.range_min, cells.range_min(children), side="left")
    ends = np.searchsorted(prior.range_min, cells.range_max(children), side="right")
    whole = prior.level[prior.find(children)] <= cells.level(children)
    rows = prior.find(children)
    blended = components.tilts.blend(components.weights[:, 3:], components.prior_weight)
    tilted = prior.mass * blended[prior.block]
    share = tilted[rows] * cells.area_km2(children) / prior.area_km2[rows]
    sums = np.array([tilted[i:j].sum() for i, j in zip(starts, ends, strict=True)])
    return counts + np.where(whole, share, sums)


@pytest.mark.parametrize("level", [2, 4, 6, 8])
@pytest.mark.parametrize("offset_deg", [0.0, 0.3])
def test_masses_of_children_agree_with_sampling(density, components, level, offset_deg):
    parent = cells.from_lat_lng(48.8566 + offset_deg, 2.3522 + offset_deg, level)
    children = cells.children(parent, 2)
    mass = density.children_mass(np.array([parent]), children[None])[0]
    sampled = sampled_mass(density, components, children)
    np.testing.assert_allclose(mass / mass.sum(), sampled / sampled.sum(), atol=0.03)
    assert mass.sum() == pytest.approx(sampled.sum(), rel=0.1)


@pytest.mark.parametrize("level", [12, 14, 16])
@pytest.mark.parametrize("offset_deg", [0.0, 0.005, 0.5])
def test_masses_of_children_agree_with_dense_quadrature(density, level, offset_deg):
    parent = cells.from_lat_lng(48.8566 + offset_deg, 2.3522 + offset_deg, level)
    children = cells.children(parent, 2)
    mass = density.children_mass(np.array([parent]), children[None])[0]
    dense = np.array([dense_mass(density, child) for child in children])
    np.testing.assert_allclose(mass / mass.sum(), dense / dense.sum(), atol=0.03)
    assert mass.sum() == pytest.approx(dense.sum(), rel=0.1)


def test_a_parent_inside_one_cell_of_the_prior_shares_it_by_area(density, prior):
    far = prior.find(cells.from_lat_lng([-75.0], [0.0]))[0]
    parent = cells.from_lat_lng(*cells.to_lat_lng(prior.cell_ids[far]), 18)
    children = cells.children(parent, 2)
    mass = density.children_mass(np.array([parent]), children[None])[0]
    np.testing.assert_allclose(mass / mass.sum(), 1 / 16, rtol=1e-3)


def test_closed_form_at_a_neighbor_is_far_above_the_prior(density, prior):
    at_neighbor, elsewhere = density.at(to_xyz([48.8566, 30.0], [2.3522, -40.0]))
    assert at_neighbor > 1e3 * elsewhere


def test_masses_that_were_asked_for_before_are_the_same(evidence, config, prior):
    parents = cells.children(cells.from_hex(["5", "9"]), 4).ravel()[::7]
    children = cells.children(parents, 2)
    fresh, used = (PhotoDensity(weigh(evidence, config, prior), prior) for _ in range(2))
    expected = fresh.children_mass(parents, children)
    random = np.random.default_rng(2)
    for size in (5, 40, 3):  # some known, some new, in any order, some twice
        rows = random.integers(0, len(parents), size)
        np.testing.assert_allclose(
            used.children_mass(parents[rows], children[rows]), expected[rows], rtol=1e-12
        )
    np.testing.assert_allclose(used.children_mass(parents, children), expected, rtol=1e-12)
    fresh.children_mass(parents, children)[:] = 0  # what is handed out is the caller's own
    np.testing.assert_array_equal(fresh.children_mass(parents, children), expected)
