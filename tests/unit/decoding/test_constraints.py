from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geotoken import cells
from geotoken.decoding import DecodingOptions, RegionModel, decode, posterior, score
from geotoken.decoding.constraints import restrict
from geotoken.errors import InputError
from geotoken.evidence import Evidence
from geotoken.regions import OUTSIDE, Region
from geotoken.selection import METHODS, SCORED, select
from geotoken.tokens import TokenScheme

REGIONS = {
    "a box": Region.bbox(-30, -20, 50, 40),
    "a box across the antimeridian": Region.bbox(150, -50, -140, 30),
    "a circle": Region.near(45, 10, 3000),
    "a pole": Region.near(-90, 0, 2500),
    "two circles": Region.near(0, 0, 1500) | Region.near(0, 180, 1500),
    "a ring": Region.geojson(
        {
            "type": "Polygon",
            "coordinates": [
                [[-40, -40], [60, -40], [60, 60], [-40, 60], [-40, -40]],
                [[-20, -20], [40, -20], [40, 40], [-20, 40], [-20, -20]],
            ],
        }
    ),
}
DECODERS = {
    "greedy": DecodingOptions(decoder="greedy"),
    "sample": DecodingOptions(decoder="sample", num_samples=20, temperature=1.5),
    "beam": DecodingOptions(decoder="beam", beam_width=4),
    "best_first": DecodingOptions(decoder="best_first", num_candidates=4),
}


def inside_shares(region, leaf):
    """Share of each leaf that lies in the region, on 1024 points."""
    points = cells.to_lat_lng(cells.children(leaf, 5).reshape(-1))
    return region.contains(*points).reshape(len(leaf), -1).mean(axis=1)


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("epsilon", [1e-12, 1e-3])
def test_scores_are_the_enumerated_leaves_given_the_region(make_model, photos, name, epsilon):
    inner, region = make_model("random", level=4, group_size=2), REGIONS[name]
    model = RegionModel(inner, region, epsilon)
    memory = model.encode(photos(0, 3))
    for row, key in enumerate((0, 3)):
        tokens, log_prob = inner.leaves(key)
        mass = np.exp(log_prob) * inside_shares(region, inner.scheme.to_cells(tokens))
        found = np.exp(score(model, photos(0, 3), np.stack([tokens, tokens]))[row])
        assert found.sum() == pytest.approx(1)
        assert np.abs(found - mass / mass.sum()).sum() / 2 < 0.02
        assert memory.region_probability[row] == pytest.approx(mass.sum(), abs=0.01)


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_stays_inside_and_scores_alike(make_model, photos, name, decoder):
    region = REGIONS[name]
    model = RegionModel(make_model("random", level=4, group_size=2), region)
    memory = model.encode(photos(1, 2))
    for photo, found in enumerate(decode(model, memory, DECODERS[decoder])):
        assert (region.relation(model.scheme.to_cells(found.tokens)) != OUTSIDE).all()
        again = score(model, photos(1, 2), np.stack([found.tokens, found.tokens]))[photo]
        np.testing.assert_allclose(found.log_prob, again, atol=1e-9)
        placed = model.place(found, memory.posteriors[photo])
        assert region.contains(placed.lat, placed.lng).all()
        assert 0 < len(placed.lat) <= len(found.lat)


def test_candidates_of_the_finest_leaves_are_placed_too(make_model, photos, monkeypatch):
    region = Region.near(10, 20, 500)
    model = RegionModel(make_model("random", level=4, group_size=2), region)
    memory = model.encode(photos(1))
    (found,) = decode(model, memory, DECODERS["beam"])
    finest = TokenScheme(level=30, group_size=2)
    monkeypatch.setattr(RegionModel, "scheme", property(lambda _: finest))
    outside = replace(found, lat=found.lat * 0 - 80, lng=found.lng * 0)
    placed = model.place(outside, memory.posteriors[0])
    assert region.contains(placed.lat, placed.lng).all()


def test_best_first_finds_the_likeliest_leaves_of_the_region(make_model, photos):
    inner, region = make_model("random", level=4, group_size=2), REGIONS["a box"]
    model = RegionModel(inner, region)
    (found,) = decode(model, photos(4), DECODERS["best_first"])
    tokens, _ = inner.leaves(4)
    scores = score(model, photos(4), tokens[None])[0]
    np.testing.assert_allclose(found.log_prob, np.sort(scores)[::-1][:4], atol=1e-9)
    assert found.exact


def test_the_whole_earth_changes_nothing(make_model, photos):
    inner = make_model("random", level=4, group_size=2)
    model = RegionModel(inner, Region.bbox(-180, -90, 180, 90), 1e-3)
    tokens = inner.leaves(0)[0][None]
    np.testing.assert_allclose(score(model, photos(0), tokens), score(inner, photos(0), tokens), atol=1e-9)
    assert model.encode(photos(0)).region_probability == (pytest.approx(1),)


def test_batches_do_not_matter(make_model, photos):
    model = RegionModel(make_model("random", level=4, group_size=2), REGIONS["two circles"])
    together = decode(model, photos(0, 1, 2), DECODERS["beam"])
    for key in range(3):
        (alone,) = decode(model, photos(key), DECODERS["beam"])
        np.testing.assert_array_equal(alone.tokens, together[key].tokens)


def one_neighbor():
    """Evidence for (10, 20)."""
    columns = {"lat": 10.0, "lng": 20.0, "rank": 1.0, "similarity": 0.9}
    return Evidence(**{f"neighbor_{name}": np.array([value]) for name, value in columns.items()})


def regions():
    """Boxes and circles of all sizes, from a street to a hemisphere."""
    lat, lng = st.floats(-85, 85), st.floats(-180, 180)
    size = st.floats(-3, 3.9).map(lambda power: 10.0**power)
    circle = st.builds(Region.near, lat, lng, size)
    box = st.builds(
        lambda lat, lng, size: Region.bbox(
            lng, max(lat - size / 100, -90), (lng + size / 50 + 180) % 360 - 180, min(lat + size / 200, 90)
        ),
        lat, lng, size,
    )  # fmt: skip
    return circle | box | st.builds(Region.__or__, circle, box)


@settings(max_examples=40, deadline=None)
@given(region=regions(), seed=st.integers(0, 5))
def test_answers_lie_in_the_region_exactly(tiny_mixture, region, seed):
    random = np.random.default_rng(seed)
    evidence = Evidence(
        neighbor_lat=random.uniform(-60, 70, 5),
        neighbor_lng=random.uniform(-180, 180, 5),
        neighbor_rank=np.arange(1.0, 6.0),
        neighbor_similarity=np.sort(random.uniform(0.3, 0.9, 5))[::-1],
    )
    model = RegionModel(tiny_mixture, region, 1e-3)
    memory = model.encode([evidence])
    inside = memory.posteriors[0]
    possible = inside.cell_id[inside.probability > 0]
    assert region.contains(*cells.to_lat_lng(possible)).all()
    assert inside.probability.sum() == pytest.approx(1)
    for options in DECODERS.values():
        found = model.place(decode(model, memory, options)[0], inside)
        for method in sorted(set(METHODS) - set(SCORED)):
            answer = select(
                method,
                found,
                inside,
                extra=(evidence.neighbor_lat, evidence.neighbor_lng),
                region=region,
            )
            assert region.contains(answer.lat, answer.lng)
            tokens = model.scheme.encode(answer.lat, answer.lng)
            assert np.isfinite(score(model, memory, tokens[None, None])).all()


def test_the_region_the_photo_does_not_believe_in(tiny_mixture):
    evidence = one_neighbor()
    near, far = Region.near(10, 20, 300), Region.near(-10, -160, 300)
    likely = RegionModel(tiny_mixture, near).encode([evidence])
    unlikely = RegionModel(tiny_mixture, far).encode([evidence])
    (whole,) = posterior(tiny_mixture, [evidence])
    assert likely.region_probability[0] == pytest.approx(whole.probability_within_km(10, 20, 300), abs=0.02)
    assert likely.region_probability[0] > 0.5 > 1e-3 > unlikely.region_probability[0] > 0
    # It is looked at as closely as any other: no cell holds much of it undivided.
    assert len(unlikely.posteriors[0].cells(8)[0]) > 20


def test_a_region_without_room_for_a_point(tiny_mixture):
    evidence = one_neighbor()
    with pytest.raises(InputError, match="too small"):
        RegionModel(tiny_mixture, Region.near(10, 20, 1e-9)).encode([evidence])


def test_a_region_that_the_model_excludes(make_model, photos):
    model = make_model("sparse", level=4, group_size=2)
    tokens, log_prob = model.leaves(0)
    excluded = cells.to_lat_lng(model.scheme.to_cells(tokens[log_prob == -np.inf][:1]))
    with pytest.raises(InputError, match="impossible"):
        RegionModel(model, Region.near(float(excluded[0][0]), float(excluded[1][0]), 1)).encode(photos(0))


def test_memory_of_another_model(tiny_mixture):
    model = RegionModel(tiny_mixture, REGIONS["a circle"])
    memory = tiny_mixture.encode([Evidence()])
    with pytest.raises(TypeError):
        model.step(None, memory, memory.new_cache())


def test_restrict_keeps_the_partition(make_model, photos):
    (whole,) = posterior(make_model("random", level=4, group_size=2), photos(0), 1e-3)
    inside, probability = restrict(whole, REGIONS["a ring"])
    first, last = cells.range_min(inside.cell_id), cells.range_max(inside.cell_id)
    np.testing.assert_array_equal(first[1:], last[:-1] + np.uint64(2))
    assert 0 < probability < 1
    assert inside.probability_of(whole.cell_id[:1])[0] >= 0
