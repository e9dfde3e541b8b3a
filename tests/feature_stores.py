"""Small feature stores with what makes neighbors hard: a prolific owner, equal files, near-duplicates."""

import numpy as np

from geotoken.features import FeatureStore
from geotoken.features.write import Modality, StoreWriter


def make_store(folder, num_rows=300, *, dim=8, seed=0, splits=("train", "train", "train", "val", "test")):
    """A store whose rows come in moments of three photos; returns it opened.

    Half of all photos have one owner, some have none; every tenth file is there twice.
    """
    rng = np.random.default_rng(seed)
    dims = {"image": dim, "text": 3}
    writer = StoreWriter.open(
        folder, {name: Modality(d, f"enc-{name}") for name, d in dims.items()}, "f", resume=False
    )
    moments = rng.normal(size=(num_rows // 3 + 1, dim))
    places = rng.uniform([-60, -180], [60, 180], (num_rows // 3 + 1, 2))
    vectors, rows = [], []
    for number in range(num_rows):
        moment = number // 3
        vector = moments[moment] + 0.1 * rng.normal(size=dim)
        vectors.append(vector / np.linalg.norm(vector))
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
