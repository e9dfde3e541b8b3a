"""Every baseline learns a world of a few towns, and its parts do what they are named for."""

import numpy as np
import pytest
import torch

from baselines import (
    Budget,
    FlatCells,
    GpsGallery,
    HierarchicalCells,
    Labelled,
    NearestNeighbor,
    Regression,
)
from baselines.cell_classes import Partition
from baselines.fitting import train
from geotoken import cells
from geotoken.geo import haversine_km, to_xyz

TOWNS = np.array([[10.0, 20.0], [50.0, 10.0], [40.0, -75.0], [-30.0, 140.0], [35.0, 135.0], [-10.0, -60.0]])
BUDGET = Budget(epochs=12, batch_size=64, hidden=32, dropout=0.0, learning_rate=3e-3)


def draw(seed, count=600):
    rng = np.random.default_rng(seed)
    town = rng.integers(len(TOWNS), size=count)
    place = TOWNS[town] + rng.normal(size=(count, 2)) * 0.05
    feature = np.eye(8)[town] + rng.normal(size=(count, 8)) * 0.15
    feature /= np.linalg.norm(feature, axis=1, keepdims=True)
    return Labelled(feature.astype(np.float32), *np.ascontiguousarray(place.T))


def embed(lat, lng):
    """Places as vectors that differ between towns."""
    vectors = np.concatenate([to_xyz(lat, lng), np.sin(3 * to_xyz(lat, lng))], axis=1)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    "method",
    [
        NearestNeighbor(),
        GpsGallery(embed, tuple(np.ascontiguousarray(TOWNS.T)), BUDGET),
        FlatCells((5, 150), BUDGET),
        HierarchicalCells([(5, 400), (5, 150)], BUDGET),
        Regression(BUDGET),
    ],
    ids=lambda method: type(method).__name__,
)
def test_every_baseline_finds_the_towns(method):
    learnt, asked = draw(0), draw(1, 200)
    method.fit(learnt, draw(2, 100))
    distance_km = haversine_km(*method.answer(asked.feature), asked.lat, asked.lng)
    assert np.mean(distance_km < 2500) > 0.9
    if not isinstance(method, Regression):
        assert np.median(distance_km) < 25


def test_a_partition_divides_until_cells_are_small_enough():
    photos = draw(3)
    partition = Partition.adaptive(photos.lat, photos.lng, least=5, most=60)
    row = partition.classify(photos.lat, photos.lng)
    counts = np.bincount(row[row >= 0], minlength=len(partition.cell_id))
    assert counts.min() >= 5
    assert counts.max() <= 60
    assert np.mean(row >= 0) > 0.8
    inside = cells.parent(cells.from_lat_lng(photos.lat[:50], photos.lng[:50]), 0)
    assert len(np.unique(inside)) > 1
    for photo in np.flatnonzero(row[:50] >= 0):
        cell = partition.cell_id[row[photo]]
        leaf = cells.from_lat_lng(photos.lat[photo], photos.lng[photo])
        assert cells.parent(leaf, int(cells.level(cell))) == cell
    coarse = Partition.adaptive(photos.lat, photos.lng, least=5, most=200)
    parent = partition.parents(coarse)
    assert (parent >= 0).all()
    for cell, above in zip(partition.cell_id, coarse.cell_id[parent], strict=True):
        assert cells.range_min(above) <= cells.range_min(cell) <= cells.range_max(above)


def test_training_ends_with_the_best_weights():
    weight = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(weight.weight, 2.0)
    seen = []

    def validate():
        seen.append(weight.weight.item())
        return abs(seen[-1] - 1.95)

    budget = Budget(epochs=50, patience=3, batch_size=1, learning_rate=0.05, weight_decay=0.0)
    train(weight, lambda rows: weight(torch.ones(len(rows), 1)).mean(), 1, validate, budget)
    assert weight.weight.item() == min(seen, key=lambda value: abs(value - 1.95))
    assert len(seen) < 50
