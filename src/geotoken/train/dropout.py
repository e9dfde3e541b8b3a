"""Evidence taken away at random in training, so that a model needs no kind of it.

Owns what is taken away; must not know where evidence comes from. Dimension letters: B photos, E items,
M modalities.
"""

import dataclasses

import numpy as np

from geotoken.errors import ConfigError
from geotoken.model.batch import NEIGHBOR, EvidenceBatch
from geotoken.train.draws import Draws


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DropoutConfig:
    """How often evidence is taken away; each is a probability in [0, 1).

    Raises:
        ConfigError: One is not.
    """

    neighbor: float = 0.0
    """Of each neighbor by itself; others keep their ranks."""
    modality: float = 0.0
    """Of each modality of a photo: its vector, and those of all its neighbors."""
    query: float = 0.0
    """Of all vectors of a photo itself; neighbors keep theirs."""
    similarity: float = 0.0
    """Of the similarities of all neighbors of a photo."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not 0 <= getattr(self, field.name) < 1:
                raise ConfigError(
                    f"dropout of {field.name} is {getattr(self, field.name)}; give 0 to less than 1"
                )


def drop_evidence(batch: EvidenceBatch, config: DropoutConfig, rng: Draws) -> EvidenceBatch:
    """Take evidence away.

    Args:
        batch: Evidence of B photos; not changed.
        config: How often.
        rng: Randomness of these photos.

    Returns:
        The batch with less in its masks; vectors that are masked keep their numbers, which nothing reads.
    """
    num_items, num_modalities = batch.item_present.shape[1:]
    draws = rng.by_row(num_items + num_modalities + 2)
    keep_item = (draws[:, :num_items] >= config.neighbor) | (batch.item_kind != NEIGHBOR)
    keep_modality = draws[:, num_items:-2] >= config.modality  # (B, M)
    keep_query = draws[:, -2:-1] >= config.query
    keep_similarity = draws[:, -1:] >= config.similarity
    mask = batch.item_mask & keep_item
    known = batch.item_similarity_known & mask & keep_similarity
    return dataclasses.replace(
        batch,
        query_present=batch.query_present & keep_modality & keep_query,
        item_present=batch.item_present & keep_modality[:, None] & mask[..., None],
        item_mask=mask,
        item_similarity=np.where(known, batch.item_similarity, np.float32(0)),
        item_similarity_known=known,
    )
