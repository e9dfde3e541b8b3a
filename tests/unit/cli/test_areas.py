from itertools import combinations

import numpy as np
import pytest

from geotoken.cli.areas import MIN_PROBABILITY, RADIUS_KM, other_areas
from geotoken.geo import haversine_km

AGRA, GIZA, SYDNEY = (27.1751, 78.0421), (29.9753, 31.1376), (-33.8568, 151.2153)


def test_the_other_areas_are_the_other_neighbors(make_prediction):
    prediction = make_prediction(AGRA, GIZA, SYDNEY)
    areas = other_areas(prediction.posterior, *AGRA, num_areas=2)
    assert [area.place.country_code for area in areas] == ["EG", "AU"]
    for area, (lat, lng) in zip(areas, (GIZA, SYDNEY), strict=True):
        assert haversine_km(area.lat, area.lng, lat, lng) < 20
        assert area.probability == pytest.approx(
            prediction.posterior.probability_within_km(lat, lng, RADIUS_KM), rel=0.05
        )


def test_areas_overlap_neither_each_other_nor_the_answer(make_prediction):
    near_agra = (28.4, 77.1)
    prediction = make_prediction(AGRA, near_agra, GIZA)
    areas = other_areas(prediction.posterior, *AGRA, num_areas=6)
    centers = [AGRA, *((area.lat, area.lng) for area in areas)]
    distances_km = [float(haversine_km(*a, *b)) for a, b in combinations(centers, 2)]
    assert min(distances_km) > 2 * RADIUS_KM
    probabilities = [area.probability for area in areas]
    assert probabilities == sorted(probabilities, reverse=True)
    assert min(probabilities) >= MIN_PROBABILITY
    assert sum(probabilities) < 1


def test_a_sure_answer_has_no_other_areas(tiny_mixture):
    from geotoken.decoding.distribution import Posterior

    leaf = tiny_mixture.scheme.to_cells(tiny_mixture.scheme.encode(*AGRA))
    whole = Posterior(
        scheme=tiny_mixture.scheme,
        cell_id=np.array([leaf]),
        level=np.array([20]),
        probability=np.array([1.0]),
    )
    assert other_areas(whole, *AGRA) == []
