"""The answer is the place of the nearest photo.

Owns that; must not know anything else.
"""

import faiss

from baselines.fitting import Answers, Labelled, Singles


class NearestNeighbor:
    """Exact search by cosine.

    References:
        Hays and Efros, "IM2GPS: estimating geographic information from a single image" (CVPR 2008), 1-NN.
    """

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Index the training photos; nothing is learnt, and validation is not used."""
        self._index = faiss.IndexFlatIP(train.feature.shape[1])
        self._index.add(train.feature)
        self._train = train

    def answer(self, feature: Singles) -> Answers:
        """Answer for photos, shape (N, D)."""
        row = self._index.search(feature, 1)[1][:, 0]
        return self._train.lat[row], self._train.lng[row]
