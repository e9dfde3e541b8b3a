import numpy as np
import pytest

from geotoken import cells
from geotoken.decoding import Posterior, posterior
from geotoken.geo import haversine_km, to_xyz
from geotoken.selection.mbr import ExpectedUtility, maximize, peaks
from geotoken.selection.utility import geoscore, mixed_thresholds, within_km
from geotoken.tokens import TokenScheme

UTILITIES = {
    "mixed": mixed_thresholds,
    "geoscore": geoscore,
    "within 1 km": within_km(1),
    "within 25 km": within_km(25),
    "within 2500 km": within_km(2500),
}
EACH_UTILITY = pytest.mark.parametrize("name", list(UTILITIES))
NOWHERE = np.empty(0)


@pytest.fixture(scope="module", params=["clusters", "flat"])
def one(request):
    """A posterior down to 9 m with clusters of several sizes, or one that knows next to nothing."""
    random = np.random.default_rng(3)
    if request.param == "flat":
        lat, lng = np.degrees(np.arcsin(random.uniform(-1, 1, 2000))), random.uniform(-180, 180, 2000)
        levels = 4
    else:
        center = random.integers(6, size=3000)
        size_deg = np.array([0.002, 0.02, 0.2, 1, 5, 20])[random.integers(6, size=3000)]
        lat = np.array([48.1, 48.9, 40.0, -33.0, -33.5, 60.0])[center] + size_deg * random.normal(size=3000)
        lng = np.array([11.5, 2.3, -3.0, 151.0, 179.9, 10.0])[center] + size_deg * random.normal(size=3000)
        lat, levels = np.clip(lat, -90, 90), 20
    scheme = TokenScheme(level=20, group_size=2)
    return partition_around(scheme, cells.from_lat_lng(lat, lng, levels))


def partition_around(scheme, cell_ids):
    """A partition that gives 1 / N to each of N cells, and nothing to the coarse cells between them."""
    final, live = [], cells.parent(np.unique(cell_ids), 0)
    live = scheme.to_cells(np.arange(6)[:, None])
    hits = np.sort(cell_ids)
    while len(live):
        first = np.searchsorted(hits, cells.range_min(live))
        last = np.searchsorted(hits, cells.range_max(live), side="right")
        count = last - first
        done = (count == 0) | np.isin(live, hits)
        final.append((live[done], count[done] / len(hits)))
        live = cells.children(live[~done]).ravel()
    ids, probability = (np.concatenate(column) for column in zip(*final, strict=True))
    order = np.argsort(ids)
    return Posterior(
        scheme=scheme, cell_id=ids[order], level=cells.level(ids[order]), probability=probability[order]
    )


def brute_force(one, utility, lat, lng):
    """Expected utility of answers by the haversine formula, shape (A,)."""
    point_lat, point_lng = cells.to_lat_lng(one.points.cell_id)
    distance = haversine_km(np.asarray(lat)[:, None], np.asarray(lng)[:, None], point_lat, point_lng)
    return utility(distance) @ one.points.probability


def answers():
    random = np.random.default_rng(8)
    lat = np.concatenate([[48.1, 40.0, -33.0, 90.0], random.normal(45, 10, 60).clip(-90, 90)])
    return lat, np.concatenate([[11.5, -3.0, 151.0, 0.0], random.normal(8, 10, 60)])


@EACH_UTILITY
def test_expected_utility_equals_brute_force(one, name):
    utility = UTILITIES[name]
    lat, lng = answers()
    expected = brute_force(one, utility, lat, lng)
    # Steps are exact but for points within a meter of the radius; a smooth utility counts small blocks whole.
    tolerance = 5000 * 1e-3 if name == "geoscore" else 1e-3
    np.testing.assert_allclose(ExpectedUtility(one, utility)(to_xyz(lat, lng)), expected, atol=tolerance)


@EACH_UTILITY
def test_upper_bound_bounds(one, name):
    expected_utility = ExpectedUtility(one, UTILITIES[name])
    xyz = to_xyz(*answers())
    assert np.all(expected_utility.upper_bound(xyz) >= expected_utility(xyz) - 5e-3)


@EACH_UTILITY
def test_answer_is_the_best_proposal_of_all(one, name):
    utility = UTILITIES[name]
    lat, lng = answers()
    best = maximize(one, utility, lat, lng)
    peak_lat, peak_lng = cells.to_lat_lng(cells.from_xyz(peaks(one.points)))
    expected = brute_force(one, utility, np.append(lat, peak_lat), np.append(lng, peak_lng))
    scale = float(utility(np.zeros(1))[0])
    assert best.expected_utility == pytest.approx(expected.max(), abs=2e-3 * scale)
    assert brute_force(one, utility, [best.lat], [best.lng])[0] == pytest.approx(
        expected.max(), abs=2e-3 * scale
    )


@EACH_UTILITY
def test_peaks_alone_find_nearly_the_optimum(one, name):
    utility = UTILITIES[name]
    best = maximize(one, utility, NOWHERE, NOWHERE)
    # Oracle: every point of the posterior as an answer, and a grid over the Earth.
    grid_lat, grid_lng = np.meshgrid(np.arange(-88, 90, 4.0), np.arange(-180, 180, 6.0))
    lat, lng = cells.to_lat_lng(one.points.cell_id[::3])
    dense = ExpectedUtility(one, utility)(
        to_xyz(np.append(lat, grid_lat.ravel()), np.append(lng, grid_lng.ravel()))
    )
    assert best.expected_utility >= 0.9 * dense.max()


def test_row_tells_which_proposal_won(one):
    best_peak = maximize(one, mixed_thresholds, NOWHERE, NOWHERE)
    assert best_peak.row == -1
    lat, lng = np.array([-80.0, best_peak.lat, best_peak.lat]), np.array([0.0, best_peak.lng, best_peak.lng])
    won = maximize(one, mixed_thresholds, lat, lng)
    assert won.row == 1
    assert (won.lat, won.lng) == (best_peak.lat, best_peak.lng)


def test_a_single_sure_leaf(make_model, photos):
    (sure,) = posterior(make_model(lambda key, prefix, size: np.eye(size)[1], 20, 2), photos(0))
    leaf = sure.cell_id[sure.probability == 1][0]
    best = maximize(sure, mixed_thresholds, NOWHERE, NOWHERE)
    assert best.expected_utility == pytest.approx(1)
    assert haversine_km(best.lat, best.lng, *cells.to_lat_lng(leaf)) < 0.01


def test_posterior_that_knows_only_faces(make_model, photos):
    (flat,) = posterior(make_model(lambda key, prefix, size: np.ones(size)), photos(0), 1.0)
    best = maximize(flat, within_km(2500), NOWHERE, NOWHERE)
    cap_share = (1 - np.cos(2500 / 6371)) / 2
    assert best.expected_utility == pytest.approx(cap_share, rel=0.2)
