"""The transformer over evidence: its configuration, its inputs, its cache and its backends.

Owns the learned model behind the protocol; PyTorch is needed only in `geotoken.model.network`.
"""

from geotoken.model.batch import EvidenceBatch, Items, collate, make_batch
from geotoken.model.cache import PrefixCache
from geotoken.model.config import ModelConfig
from geotoken.model.runtime import OnnxModel

__all__ = ["EvidenceBatch", "Items", "ModelConfig", "OnnxModel", "PrefixCache", "collate", "make_batch"]
