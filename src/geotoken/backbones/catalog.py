"""Backbones known by name, and the files of one.

Owns names, places on the hub and licences; must not know how a network is run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

CONFIG_NAME: Final = "config.json"
"""Architecture of a backbone, in the hub's format."""

PREPROCESSING_NAME: Final = "preprocessor_config.json"
"""What is done to a photo before, in the hub's format."""

WEIGHTS_PATTERN: Final = "model*.safetensors"
"""Weights of a backbone, in one file or several; no other format is read, for pickles can run code."""

FILE_PATTERNS: Final = (CONFIG_NAME, PREPROCESSING_NAME, "model.safetensors", "model-*-of-*.safetensors")
"""The files of a repository that are fetched, and an index where the weights are in several files."""

INDEX_NAME: Final = "model.safetensors.index.json"
"""Which weight is in which file, where there are several."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """A backbone on the hub."""

    repo_id: str
    """Owner and name."""
    license: str
    """Licence of the weights as their authors state it; the hub's page has the last word."""


BACKBONES: Final[Mapping[str, Backbone]] = MappingProxyType(
    {
        "clip": Backbone("openai/clip-vit-large-patch14", "MIT"),
        "siglip2": Backbone("google/siglip2-so400m-patch14-384", "Apache-2.0"),
        "streetclip": Backbone("geolocal/StreetCLIP", "CC-BY-NC-4.0"),
        "dinov2": Backbone("facebook/dinov2-large", "Apache-2.0"),
        "dinov3": Backbone("facebook/dinov3-vitl16-pretrain-lvd1689m", "DINOv3 License"),
    }
)
"""Backbones by the name that commands take; each has a licence of its own."""
