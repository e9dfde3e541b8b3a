"""Image encoders beyond the bundled one: vision transformers in the hub's format, and GeoCLIP's heads.

Owns which there are, their preprocessing and how a folder of any encoder is opened; must not know galleries.
"""

from geotoken.backbones.catalog import BACKBONES, Backbone
from geotoken.backbones.load import load_backbone, load_encoder

__all__ = ["BACKBONES", "Backbone", "load_backbone", "load_encoder"]
