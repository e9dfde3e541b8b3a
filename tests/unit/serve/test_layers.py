import itertools

import numpy as np
import pytest
import shapely
from shapely.geometry import shape

from geotoken import cells
from geotoken.decoding import Posterior
from geotoken.serve.layers import MAX_CELLS, cell_polygons, layers
from geotoken.tokens import TokenScheme

SCHEME = TokenScheme(level=8, group_size=2)


def posterior(lat: float, lng: float) -> Posterior:
    """Divided around a point down to the leaves; half of a cell that is divided goes to the point's part."""
    leaf = cells.from_lat_lng(lat, lng, SCHEME.level)
    found = {int(cell): 1 / 6 for cell in SCHEME.to_cells(np.arange(6)[:, None])}
    for level in range(0, SCHEME.level, SCHEME.group_size):
        cell = np.uint64(cells.parent(leaf, level))
        mass = found.pop(int(cell))
        inner = cells.children(cell, SCHEME.group_size).reshape(-1)
        own = cells.parent(leaf, level + SCHEME.group_size)
        found |= {int(one): mass * (0.5 if one == own else 0.5 / 15) for one in inner}
    ids = np.array(sorted(found), dtype=np.uint64)
    probability = np.array([found[int(one)] for one in ids])
    return Posterior(scheme=SCHEME, cell_id=ids, level=cells.level(ids), probability=probability)


def all_cells(level: int) -> np.ndarray:
    ids = SCHEME.to_cells(np.arange(6)[:, None])
    return ids if level == 0 else cells.children(ids, level).reshape(-1)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_the_cells_of_a_level_tile_the_map(level):
    polygons = cell_polygons(all_cells(level))
    assert all(one.is_valid for one in polygons)
    assert sum(one.area for one in polygons) == pytest.approx(360 * 180, rel=1e-3)
    bounds = np.array([one.bounds for one in polygons])
    assert (np.abs(bounds[:, [0, 2]]) <= 180).all()
    assert (np.abs(bounds[:, [1, 3]]) <= 90).all()


@pytest.mark.parametrize("level", [0, 1, 2, 4, 9, 20, 30])
@pytest.mark.parametrize(("lat", "lng"), [(12.3, 45.6), (-16.5, 179.9999), (89.9, 10), (-90, 0), (0.1, -180)])
def test_a_cell_holds_its_points(level, lat, lng):
    cell = np.array([cells.from_lat_lng(lat, lng, level)])
    (polygon,) = cell_polygons(cell)
    center_lat, center_lng = cells.to_lat_lng(cell[0])
    assert polygon.is_valid
    assert polygon.distance(shapely.Point(center_lng, center_lat)) == 0
    if abs(lat) < 89:  # at a pole all longitudes are one
        assert polygon.distance(shapely.Point(lng, lat)) <= 1e-9


@pytest.mark.parametrize(("lat", "lng"), [(12.3, 45.6), (-16.5, 179.9999), (89.9, 10), (-89.9, -100)])
def test_the_layers_of_a_posterior(lat, lng):
    whole = posterior(lat, lng)
    path = whole.ancestors(lat, lng)
    found = layers(whole, path)
    assert [one["level"] for one in found["levels"]] == [0, 2, 4, 6, 8]
    for level, answer in zip(found["levels"], path, strict=True):
        features = level["cells"]["features"]
        assert len(features) <= MAX_CELLS + 1
        assert len({one["properties"]["cell"] for one in features}) == len(features)
        first, *others = [one["properties"] for one in features]
        assert first == {
            "level": answer.level,
            "cell": str(cells.to_hex(answer.cell_id)),
            "probability": pytest.approx(answer.probability, rel=1e-3),
            "answer": True,
        }
        assert all(a["probability"] >= b["probability"] for a, b in itertools.pairwise(others))
        assert sum(one["properties"]["probability"] for one in features) == pytest.approx(
            level["probability"], rel=1e-3
        )
        assert level["probability"] > 0.99
        for one in features:
            geometry = shape(one["geometry"])
            assert geometry.is_valid
            assert geometry.area > 0


def test_a_level_of_many_cells_lists_the_likeliest_and_says_how_many_there_are():
    level = 4
    ids = np.sort(all_cells(level))
    probability = np.random.default_rng(3).random(len(ids))
    probability /= probability.sum()
    whole = Posterior(scheme=SCHEME, cell_id=ids, level=cells.level(ids), probability=probability)
    found = layers(whole, whole.ancestors(0.1, 0.1))["levels"][2]
    assert found["num_cells"] == len(ids) == 1536
    assert len(found["cells"]["features"]) in (MAX_CELLS, MAX_CELLS + 1)
    assert found["probability"] == pytest.approx(np.sort(probability)[-MAX_CELLS:].sum())


@pytest.mark.parametrize(("lat", "lng"), [(12.3, 45.6), (-16.5, 179.9999)])
def test_credible_regions_are_valid_and_one_holds_the_other(lat, lng):
    half, most = layers(posterior(lat, lng), posterior(lat, lng).ancestors(lat, lng))["credible_regions"]
    assert (half["probability"], most["probability"]) == (0.5, 0.9)
    for one in (half, most):
        assert one["geometry"]["type"] == "MultiPolygon"
        assert shape(one["geometry"]).is_valid
    assert shape(half["geometry"]).difference(shape(most["geometry"]).buffer(1e-3)).is_empty
    assert shape(most["geometry"]).buffer(1e-3).contains(shapely.Point(lng, lat))
