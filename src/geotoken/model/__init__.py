"""The transformer over evidence: its configuration, its inputs, its cache and its backends.

Owns the learned model behind the protocol; PyTorch is needed only in `geotoken.model.network`.
"""

from geotoken.model.batch import EvidenceBatch, collate
from geotoken.model.cache import PrefixCache
from geotoken.model.config import ModelConfig
from geotoken.model.runtime import OnnxModel

__all__ = ["EvidenceBatch", "ModelConfig", "OnnxModel", "PrefixCache", "collate"]
