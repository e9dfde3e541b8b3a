"""Small feature stores with what makes neighbors hard: a prolific owner, equal files, near-duplicates."""

import numpy as np

from geotoken.features import FeatureStore
from geotoken.features.write import Modality, StoreWriter
from geotoken.model.batch import describe_places


def make_store(
    folder, num_rows=300, *, seed=0, splits=("train", "train", "train", "val", "test"), length=1.0
):
    """A store whose rows come in moments of three photos; returns it opened.

    Half of all photos have one owner, some have none; every tenth file is there twice. Image vectors are of
    the length asked for.
    """
    rng = np.random.default_rng(seed)
    dims = {"image": 8, "text": 3}
    writer = StoreWriter.open(
        folder, {name: Modality(d, f"enc-{name}") for name, d in dims.items()}, "f", resume=False
    )
    moments = rng.normal(size=(num_rows // 3 + 1, 8))
    places = rng.uniform([-60, -180], [60, 180], (num_rows // 3 + 1, 2))
    vectors, rows = [], []
    for number in range(num_rows):
        moment = number // 3
        vector = moments[moment] + 0.1 * rng.normal(size=8)
        vectors.append(length * vector / np.linalg.norm(vector))
        rows.append(
            {
                "id": f"p{number}",
                "lat": places[moment, 0] + rng.normal() * 0.01,
                "lng": places[moment, 1],
                "owner": "prolific" if number % 2 else (None if number % 4 else f"o{moment % 7}"),
                "sha256": f"{number - number % 10 % 2:064x}" if number % 10 < 2 else f"{number + 10**6:064x}",
                "attribution": f"by {number}",
                "split": splits[number % len(splits)],
            }
        )
    image = np.array(vectors, dtype=np.float16)
    text = rng.normal(size=(num_rows, dims["text"])).astype(np.float16)
    for start in range(0, num_rows, 160):
        part = slice(start, start + 160)
        writer.append(
            rows[part],
            {"image": image[part], "text": text[part]},
            num_items=len(rows[part]),
            failures=[],
        )
    writer.finish()
    return FeatureStore.open(folder)


def make_located_store(folder, num_rows=2400, *, dim=24, num_towns=60, encoder="enc-image"):
    """A store where vectors tell places: a random projection of waves over the sphere; returns it opened.

    Photos lie within some km of towns; each town has several owners.
    """
    rng = np.random.default_rng(0)
    towns = np.stack(
        [np.degrees(np.arcsin(rng.uniform(-0.8, 0.9, num_towns))), rng.uniform(-180, 180, num_towns)]
    )
    town = rng.integers(0, num_towns, num_rows)
    lat, lng = towns[:, town] + rng.normal(0, 0.05, (2, num_rows))
    waves = describe_places(lat, lng).reshape(num_rows, 3, -1, 2)[:, :, :5].reshape(num_rows, -1)
    vectors = waves @ rng.normal(size=(waves.shape[1], dim)) / 5 + 0.05 * rng.normal(size=(num_rows, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    owner = [f"o{one}-{number % 4}" for one, number in zip(town, rng.integers(0, 4, num_rows), strict=True)]
    writer = StoreWriter.open(folder, {"image": Modality(dim, encoder)}, "f", resume=False)
    rows = [{"id": f"p{i}", "lat": lat[i], "lng": lng[i], "owner": owner[i]} for i in range(num_rows)]
    writer.append(rows, {"image": vectors.astype(np.float16)}, num_items=num_rows, failures=[])
    writer.finish()
    return FeatureStore.open(folder)
