"""Cases whose truth is easy: the best neighbors lie near it, and a tiny network for them."""

import numpy as np

from geotoken.model import Items, ModelConfig, make_batch

TINY = {"width": 16, "num_encoder_layers": 1, "num_decoder_layers": 1, "num_heads": 2, "feed_forward": 32}


def tiny_config(**changes):
    """A network of width 16 for four neighbors with one kind of vector; 6 * 4**2 * 4**2 leaves."""
    given = {
        "level": 4,
        "modalities": (("image", 4),),
        "num_neighbors": 4,
        "dropout": 0.0,
        "head": "pointer",
    }
    return ModelConfig(**{**TINY, **given, **changes})


class NearCases:
    """Places in a few towns; each has neighbors from its town, and one from another. Owners have 3 photos."""

    def __init__(self, config, num_cases=120):
        rng = np.random.default_rng(0)
        self.config = config
        town = rng.integers(0, 8, (num_cases, 5))
        town[:, 1:4] = town[:, :1]
        towns = rng.uniform([-60, -180], [60, 180], (8, 2))
        places = towns[town] + 0.01 * rng.normal(size=(num_cases, 5, 2))
        self.lat, self.lng = np.ascontiguousarray(places[:, 0].T)
        self.near = places[:, 1:]
        self.owner = np.arange(num_cases) // 3
        self.vectors = rng.normal(size=(8, 4))[town] + 0.1 * rng.normal(size=(num_cases, 5, 4))

    def evidence(self, rows, rng):
        similarity = np.linspace(0.9, 0.6, 4) * np.ones((len(rows), 1))
        items = Items(
            lat=self.near[rows, :, 0],
            lng=self.near[rows, :, 1],
            similarity=similarity,
            vectors={"image": self.vectors[rows, 1:]},
        )
        return make_batch(items, {"image": self.vectors[rows, 0]}, self.config)
