"""Photos as stored features: vectors of any number of modalities beside a table of the same rows.

Owns the feature store, its sources and its making; must not know what is trained on it.
"""

from geotoken.features.embed import EmbedReport, embed_source
from geotoken.features.sources import LAYOUTS, open_items
from geotoken.features.store import FeatureStore

__all__ = ["LAYOUTS", "EmbedReport", "FeatureStore", "embed_source", "open_items"]
