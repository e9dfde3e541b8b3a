"""Networks in PyTorch: backbones through transformers, and GeoCLIP's location encoder and image head.

Owns everything that needs the extra `backbones`; must not be imported by anything the base install runs.
"""

from importlib.util import find_spec

from geotoken.errors import DependencyError

if any(find_spec(name) is None for name in ("torch", "transformers", "safetensors")):
    raise DependencyError(
        "this encoder needs PyTorch and transformers, which are not installed; "
        "pip install 'geotoken[backbones]'"
    )

from geotoken.alignment.network.head import ProjectionHead
from geotoken.alignment.network.location import LocationEncoder
from geotoken.backbones.network.encoder import BackboneConfig, BackboneEncoder, write_encoder
from geotoken.backbones.network.geoclip import GeoClip, load_geoclip

__all__ = [
    "BackboneConfig",
    "BackboneEncoder",
    "GeoClip",
    "LocationEncoder",
    "ProjectionHead",
    "load_geoclip",
    "write_encoder",
]
