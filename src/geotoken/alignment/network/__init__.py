"""The alignment in PyTorch: heads, location encoder and text tower, and writing them as a folder.

Owns everything that needs the extra `train`; must not be imported by anything the base install runs.
"""

from importlib.util import find_spec

from geotoken.errors import DependencyError

if find_spec("torch") is None or find_spec("safetensors") is None:
    raise DependencyError(
        "the alignment's network needs PyTorch, which is not installed; pip install 'geotoken[train]'"
    )

from geotoken.alignment.network.head import ProjectionHead
from geotoken.alignment.network.location import LocationEncoder
from geotoken.alignment.network.network import AlignmentNetwork
from geotoken.alignment.network.weights import save_alignment

__all__ = ["AlignmentNetwork", "LocationEncoder", "ProjectionHead", "save_alignment"]
