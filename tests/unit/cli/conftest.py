"""Predictions made of evidence by the tiny mixture, without photos."""

from collections.abc import Callable

import numpy as np
import pytest

from geotoken.decoding import DecodingOptions, decode, posterior
from geotoken.evidence import Evidence
from geotoken.gallery import Neighbors
from geotoken.mixture import MixtureModel
from geotoken.places import nearest
from geotoken.prediction import Prediction

AGRA, GIZA, SYDNEY = (27.1751, 78.0421), (29.9753, 31.1376), (-33.8568, 151.2153)


@pytest.fixture
def make_prediction(tiny_mixture: MixtureModel) -> Callable[..., Prediction]:
    """Answer with the first of some neighbors, given as points with falling similarity."""

    def make(*points: tuple[float, float], similarity: float = 0.9, **fields: object) -> Prediction:
        lat, lng = np.array(points or (AGRA, GIZA, SYDNEY)).T
        neighbors = Neighbors(
            row=np.arange(len(lat)),
            similarity=similarity - 0.1 * np.arange(len(lat)),
            lat=lat,
            lng=lng,
            id=[f"photo-{i}" for i in range(len(lat))],
            attribution=["Ann", None, None][: len(lat)],
            license=["CC0", "CC BY 4.0", None][: len(lat)],
            source_url=["https://example.org/a.jpg", None, None][: len(lat)],
        )
        evidence = Evidence(
            neighbor_lat=lat,
            neighbor_lng=lng,
            neighbor_rank=np.arange(1.0, len(lat) + 1),
            neighbor_similarity=neighbors.similarity,
        )
        memory = tiny_mixture.encode([evidence])
        candidates = decode(tiny_mixture, memory, DecodingOptions())[0]
        whole = posterior(tiny_mixture, memory, 3e-4)[0]
        values: dict[str, object] = {
            "image": "photo.jpg",
            "lat": float(lat[0]),
            "lng": float(lng[0]),
            "tokens": tuple(tiny_mixture.scheme.encode(lat[0], lng[0]).tolist()),
            "levels": tuple(whole.ancestors(float(lat[0]), float(lng[0]))),
            "candidates": candidates,
            "posterior": whole,
            "neighbors": neighbors,
            "place": nearest(lat[0], lng[0])[0],
        }
        return Prediction(**(values | fields))

    return make
