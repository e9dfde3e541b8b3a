import numpy as np
import pytest

from geotoken import cells
from geotoken.decoding import posterior
from geotoken.decoding.distribution import MAX_POINT_PROBABILITY, chord_to_km
from geotoken.errors import InputError
from geotoken.geo import EARTH_RADIUS_KM, haversine_km, to_xyz

PLACES = [(0.0, 0.0), (48.2, 16.4), (-33.9, 151.2), (89.9, 10.0), (-12.0, -77.0), (10.0, 180.0)]
AT_PLACES = pytest.mark.parametrize(("lat", "lng"), PLACES)


@pytest.fixture
def model(make_model):
    return make_model("random", level=4, group_size=2)  # 1536 leaves; levels 1 and 3 lie between tokens


@pytest.fixture
def full(model, photos):
    (one,) = posterior(model, photos(1), 1e-30)
    return one


@pytest.fixture
def coarse(model, photos):
    (one,) = posterior(model, photos(1), 0.01)
    assert len(np.unique(one.level)) == 3
    return one


@pytest.fixture
def sparse(make_model, photos):
    (one,) = posterior(make_model("sparse"), photos(1), 1e-3)
    assert (one.probability == 0).any()
    return one


@pytest.fixture
def leaf_probability(model):
    tokens, log_prob = model.leaves(1)
    return dict(zip(model.scheme.to_cells(tokens).tolist(), np.exp(log_prob), strict=True))


def contained(leaf_probability, cell_id):
    low, high = int(cells.range_min(cell_id)), int(cells.range_max(cell_id))
    return sum(probability for leaf, probability in leaf_probability.items() if low <= leaf <= high)


def spread(one):
    """The posterior as many more points than it uses itself: centers four levels below each cell."""
    ids = cells.children(one.cell_id, 4)
    return ids.ravel(), np.repeat(one.probability / ids.shape[1], ids.shape[1])


# --- marginals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
def test_cells_lists_every_marginal_at_any_level(full, leaf_probability, level):
    cell_ids, probability = full.cells(level)
    assert len(cell_ids) == 6 * 4**level == len(np.unique(cell_ids))
    assert np.all(cells.level(cell_ids) == level)
    assert np.all(np.diff(probability) <= 0)
    np.testing.assert_allclose(
        probability, [contained(leaf_probability, cell_id) for cell_id in cell_ids], atol=1e-12
    )


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
def test_cells_of_a_coarse_partition_leave_out_what_is_coarser(coarse, leaf_probability, level):
    cell_ids, probability = coarse.cells(level)
    np.testing.assert_allclose(
        probability, [contained(leaf_probability, cell_id) for cell_id in cell_ids], atol=1e-12
    )
    assert probability.sum() == pytest.approx(1 - coarse.probability[coarse.level < level].sum())


@pytest.mark.parametrize("level", [0, 1, 3])
def test_cut_is_a_partition_no_finer_than_asked(coarse, level):
    cut = coarse.cut(level)
    assert cut.level.max() == level
    assert cut.probability.sum() == pytest.approx(1)
    np.testing.assert_array_equal(
        cells.range_min(cut.cell_id)[1:], cells.range_max(cut.cell_id)[:-1] + np.uint64(2)
    )


def test_probability_of_cells_of_all_kinds(coarse, leaf_probability):
    by_level = [coarse.cells(level)[0] for level in range(5)]
    ids = np.concatenate([*by_level, coarse.cell_id])
    expected = [contained(leaf_probability, cell_id) for cell_id in ids]
    np.testing.assert_allclose(coarse.probability_of(ids), expected, rtol=1e-9)
    below = cells.children(coarse.cell_id, 3)
    np.testing.assert_allclose(coarse.probability_of(below[:, 17]), coarse.probability / 64, rtol=1e-12)


@AT_PLACES
def test_ancestors_carry_the_marginals_of_the_tokens(full, coarse, leaf_probability, lat, lng):
    ancestors = full.ancestors(lat, lng)
    assert [one.level for one in ancestors] == [0, 2, 4]
    for level, cell_id, probability in ancestors:
        assert cell_id == cells.from_lat_lng(lat, lng, level)
        assert probability == pytest.approx(contained(leaf_probability, cell_id), rel=1e-9)
    leaf = cells.from_lat_lng(lat, lng)
    (row,) = np.flatnonzero(
        (cells.range_min(coarse.cell_id) <= leaf) & (leaf <= cells.range_max(coarse.cell_id))
    )
    shared = coarse.ancestors(lat, lng)[-1].probability
    assert shared == pytest.approx(coarse.probability[row] * 0.25 ** (4 - coarse.level[row]))


@pytest.mark.parametrize("probability", [0.51, 0.6, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("key", range(6))
def test_stop_at_finds_the_deepest_sure_cell(make_model, photos, key, probability):
    sharp = make_model(
        lambda key, prefix, size: np.random.default_rng([key, *prefix]).dirichlet(np.full(size, 0.05))
    )
    (one,) = posterior(sharp, photos(key), 1e-9)
    sure = [
        (level, cell_id)
        for level in range(4)
        for cell_id, held in zip(*one.cells(level), strict=True)
        if held >= probability
    ]
    answer = one.stop_at(probability)
    if not sure:
        assert answer is None
    else:
        assert (answer.level, answer.cell_id) == sure[-1]
        assert answer.probability == pytest.approx(one.probability_of(answer.cell_id)[0])


def test_stop_at_counts_a_cell_that_is_just_sure_enough(make_model, photos):
    (one,) = posterior(make_model(lambda key, prefix, size: np.eye(size)[2]), photos(0))
    assert one.stop_at(1.0).level == 3


def test_stop_at_a_small_probability_reaches_a_leaf(full):
    assert full.stop_at(1e-12).level == 4


# --- density and credible regions ------------------------------------------------------------------


@AT_PLACES
def test_density_is_probability_over_area(full, leaf_probability, lat, lng):
    leaf = cells.from_lat_lng(lat, lng, 4)
    expected = leaf_probability[int(leaf)] / cells.area_km2(leaf)
    assert full.density_per_km2(lat, lng) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("level", [None, 0, 2, 3])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9, 1.0])
def test_credible_region_is_the_smallest_that_holds_the_mass(coarse, level, probability):
    region = coarse.credible_region(probability, level)
    share = np.append(np.ones(len(region.cell_id) - 1), region.last_fraction)
    assert (region.probability * share).sum() == pytest.approx(probability)
    area = (cells.area_km2(region.cell_id) * share).sum()
    # Oracle: the dual of the fractional knapsack. No threshold on the density allows less area.
    cut = coarse if level is None else coarse.cut(level)
    areas = cells.area_km2(cut.cell_id)
    prices = areas / np.where(cut.probability > 0, cut.probability, 1e-300)
    bound = max(
        price * probability + np.minimum(areas - price * cut.probability, 0).sum() for price in prices
    )
    assert area == pytest.approx(bound, rel=1e-9)


@pytest.mark.parametrize("level", [2, 3, 4])
def test_coverage_is_exact_when_truths_follow_the_posterior(coarse, sparse, level):
    for one in (coarse, sparse):
        ids, weights = spread(one)
        ids, weights = ids[8::256], weights[8::256] * 256  # one truth a cell suffices
        spans = [
            one.credible_level_of(*map(float, cells.to_lat_lng(cell_id)), min(level, one.scheme.level))
            for cell_id in ids
        ]
        low, high = np.array(spans).T
        for p in (0.05, 0.5, 0.9, 0.99):
            covered = np.clip((p - low) / np.where(high > low, high - low, 1), 0, 1)
            assert covered @ weights == pytest.approx(p, abs=1e-9)


def test_credible_level_agrees_with_the_region(coarse):
    region = coarse.credible_region(0.7, 3)
    for row in (0, len(region.cell_id) // 2, len(region.cell_id) - 1):
        low, high = coarse.credible_level_of(*map(float, cells.to_lat_lng(region.cell_id[row])), 3)
        assert low <= region.probability[:row].sum() + 1e-12
        assert high >= region.probability[: row + 1].sum() - 1e-12


def test_cells_of_the_same_density_enter_together(make_model, photos):
    (flat,) = posterior(make_model(lambda key, prefix, size: np.ones(size)), photos(0), 1.0)
    for lat, lng in PLACES:
        assert flat.credible_level_of(lat, lng, 3) == pytest.approx((0, 1))


def test_an_impossible_place_is_outside_every_region_of_less_than_all(sparse):
    row = int(np.flatnonzero(sparse.probability == 0)[0])
    low, high = sparse.credible_level_of(*map(float, cells.to_lat_lng(sparse.cell_id[row])), 3)
    assert low == high == pytest.approx(1)


# --- distances -------------------------------------------------------------------------------------


@AT_PLACES
def test_points_hold_the_whole_posterior_in_small_pieces(full, coarse, sparse, lat, lng):
    for one in (full, coarse, sparse):
        points = one.points
        assert points.probability.sum() == pytest.approx(1)
        assert 0 < points.probability.min() <= points.probability.max() <= MAX_POINT_PROBABILITY
        assert np.all(np.diff(points.cell_id.astype(np.float64)) >= 0)
        np.testing.assert_allclose(points.xyz, cells.center_xyz(points.cell_id))
        mean = points.probability @ points.xyz
        ids, weights = spread(one)
        np.testing.assert_allclose(mean, weights @ cells.center_xyz(ids), atol=2e-3)


@AT_PLACES
@pytest.mark.parametrize("radius_km", [300.0, 1500.0, 9000.0])
def test_probability_within_equals_brute_force(full, coarse, sparse, lat, lng, radius_km):
    for one in (full, coarse, sparse):
        ids, weights = spread(one)
        expected = weights[haversine_km(lat, lng, *cells.to_lat_lng(ids)) <= radius_km].sum()
        assert one.probability_within_km(lat, lng, radius_km) == pytest.approx(expected, abs=0.02)


@AT_PLACES
@pytest.mark.parametrize("fraction", [1e-6, 0.1, 0.5, 0.9, 1.0])
def test_radius_is_the_smallest_that_holds_the_fraction(coarse, sparse, lat, lng, fraction):
    for one in (coarse, sparse):
        radius_km = one.radius_km(lat, lng, fraction)
        distance = haversine_km(lat, lng, *cells.to_lat_lng(one.points.cell_id))
        order = np.argsort(distance)
        reached = np.searchsorted(np.cumsum(one.points.probability[order]), fraction * (1 - 1e-12))
        assert radius_km == pytest.approx(distance[order[reached]], abs=1e-3)
        assert one.probability_within_km(lat, lng, radius_km + 1e-3) >= fraction - 1e-9


def test_a_sure_leaf_has_the_radius_of_its_size_not_zero(make_model, photos):
    (one,) = posterior(make_model(lambda key, prefix, size: np.eye(size)[2]), photos(0))
    cell_id = one.cell_id[one.probability == 1][0]
    lat, lng = map(float, cells.to_lat_lng(cell_id))
    uniform_disc_km = np.sqrt(0.5 * cells.area_km2(cell_id) / np.pi)
    assert one.radius_km(lat, lng, 0.5) == pytest.approx(uniform_disc_km, rel=0.1)


def test_everywhere_within_half_the_circumference(full):
    assert full.probability_within_km(12, 34, 20_016) == pytest.approx(1)
    assert full.probability_within_km(12, 34, 0) == pytest.approx(0, abs=MAX_POINT_PROBABILITY)


def test_chord_to_km():
    lat, lng = np.array(PLACES).T
    chord = np.linalg.norm(to_xyz(lat, lng) - to_xyz(5, 6), axis=1)
    np.testing.assert_allclose(chord_to_km(chord), haversine_km(5, 6, lat, lng))
    assert chord_to_km(2 + 1e-15) == pytest.approx(np.pi * EARTH_RADIUS_KM)


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [-1, 5])
def test_levels_out_of_range(full, level):
    for ask in (full.cells, full.cut, lambda level: full.credible_level_of(0, 0, level)):
        with pytest.raises(InputError, match=r"level is .*0 to 4"):
            ask(level)


@pytest.mark.parametrize("value", [0.0, -0.1, 1.5, float("nan")])
def test_probabilities_out_of_range(full, value):
    for ask in (full.stop_at, full.credible_region, lambda p: full.radius_km(0, 0, p)):
        with pytest.raises(InputError, match="greater than 0"):
            ask(value)


def test_points_out_of_range(full):
    with pytest.raises(InputError, match="latitude"):
        full.density_per_km2(91, 0)
