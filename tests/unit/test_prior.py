import numpy as np
import pytest

from geotoken import cells
from geotoken.errors import ArtifactError
from geotoken.geo import to_xyz
from geotoken.kernels import chord2_km2, falloff
from geotoken.prior import FINE_BLOCK_LEVEL, WorldPrior


def test_cells_are_a_partition_of_the_sphere(prior):
    assert np.all(np.diff(prior.cell_ids.astype(object)) > 0)
    step = int(cells.range_min(prior.cell_ids)[1]) - int(cells.range_max(prior.cell_ids)[0])
    assert step == 2  # leaf ids are odd: adjacent cells leave no gap
    gaps = prior.range_min[1:].astype(object) - cells.range_max(prior.cell_ids)[:-1].astype(object)
    assert set(gaps.tolist()) == {2}
    assert prior.area_km2.sum() == pytest.approx(4 * np.pi * 6371.0088**2)
    assert prior.mass.sum() == pytest.approx(1.0)
    assert prior.mass.min() > 0


def test_mass_follows_the_points():
    lat, lng = np.full(1000, 10.0), np.full(1000, 20.0)
    prior = WorldPrior.from_points(lat, lng, max_level=6, uniform=0.1)
    row = prior.find(cells.from_lat_lng([10.0], [20.0]))[0]
    assert prior.level[row] == 6
    assert prior.mass[row] > 0.85


def test_find_gives_the_cell_that_holds_the_point(prior):
    rng = np.random.default_rng(1)
    leaf = cells.from_lat_lng(rng.uniform(-90, 90, 500), rng.uniform(-180, 180, 500))
    rows = prior.find(leaf)
    assert np.all(prior.range_min[rows] <= leaf)
    assert np.all(leaf <= cells.range_max(prior.cell_ids[rows]))


def test_a_tilt_is_a_change_of_measure(prior):
    tilts = prior.tilt(to_xyz([48.0, -33.0], [8.0, 151.0]), (30.0, 400.0))
    block = prior.block
    tilted = prior.mass * np.stack([tilts.blend(w, 0.0)[block] for w in np.eye(4).reshape(4, 2, 2)])
    np.testing.assert_allclose(tilted.sum(axis=1), 1.0, rtol=1e-6)  # kernels are float32
    near = prior.find(cells.from_lat_lng([48.0], [8.0]))[0]
    assert tilted[0, near] > tilted[1, near] > prior.mass[near] > tilted[3, near]
    at = prior.mass[near] * tilts.at(block[near])
    np.testing.assert_allclose(at.ravel(), tilted[:, near])
    far = prior.find(cells.from_lat_lng([0.0], [-30.0]))[0]
    np.testing.assert_allclose((prior.mass[far] * tilts.at(block[far])).ravel(), tilted[:, far])


def test_a_tilt_is_the_kernel_times_the_prior_near_and_far(prior):
    point = to_xyz([48.0], [8.0])
    tilts = prior.tilt(point, (100.0,))
    centers = cells.center_xyz(prior.cell_ids)
    exact = prior.mass * falloff(chord2_km2(point, centers)[0], 100.0)
    blended = prior.mass * tilts.blend(np.ones((1, 1)), 0.0)[prior.block]
    assert 0.5 * np.abs(exact / exact.sum() - blended).sum() < 0.05
    assert tilts.log_share[0, 0] == pytest.approx(np.log(exact.sum()), abs=0.05)


def test_blocks_do_not_cross_cells_of_their_level(prior):
    block = prior.block
    assert np.all(np.diff(block) >= 0)
    fine = prior.level >= FINE_BLOCK_LEVEL
    parents = cells.parent(prior.cell_ids[fine], FINE_BLOCK_LEVEL)
    assert len(np.unique(parents)) == len(np.unique(block[fine]))


def test_save_and_load_keep_cells_and_masses(prior, tmp_path):
    prior.save(tmp_path / "prior.npz")
    loaded = WorldPrior.load(tmp_path / "prior.npz")
    np.testing.assert_array_equal(loaded.cell_ids, prior.cell_ids)
    np.testing.assert_allclose(loaded.mass, prior.mass, rtol=1e-6)


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04 cut"])
def test_load_refuses_what_is_no_table(tmp_path, content):
    path = tmp_path / "prior.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match="install the model again"):
        WorldPrior.load(path)


@pytest.mark.parametrize("num_levels", [1, 2, 3])
def test_shares_of_children_are_those_of_their_mass(prior, num_levels):
    faces = cells.from_hex([f"{face * 2 + 1:x}" for face in range(cells.NUM_FACES)])
    parents = faces
    for _ in range(4):
        children = cells.children(parents, num_levels)
        shares = prior.children_shares(children)
        np.testing.assert_allclose(shares.sum(axis=1), 1.0)
        mass = np.stack([[_mass(prior, child) for child in row] for row in children[::7]])
        np.testing.assert_allclose(shares[::7], mass / mass.sum(axis=1, keepdims=True), rtol=0.06, atol=1e-9)
        parents = children[np.arange(len(children)), shares.argmax(axis=1)]
    np.testing.assert_allclose(
        prior.children_shares(faces[None])[0], [_mass(prior, face) for face in faces], rtol=1e-9
    )


def _mass(prior, cell):
    """Mass in a cell, added up one cell of the partition after the other."""
    low, high = cells.range_min(cell), cells.range_max(cell)
    within = (prior.range_min >= low) & (cells.range_max(prior.cell_ids) <= high)
    if within.any():
        return prior.mass[within].sum()
    return prior.density[prior.find(np.array([cell]))[0]] * cells.area_km2(np.array([cell]))[0]
