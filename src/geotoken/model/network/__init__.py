"""The transformer in PyTorch: the network, its weights, its backend for decoding, and the export to ONNX.

Owns everything that needs the extra `train`; must not be imported by anything the base install runs.
"""

from importlib.util import find_spec

from geotoken.errors import DependencyError

if find_spec("torch") is None or find_spec("safetensors") is None:
    raise DependencyError(
        "the transformer's network needs PyTorch, which is not installed; pip install 'geotoken[train]'"
    )

from geotoken.model.network.backend import TorchModel
from geotoken.model.network.export import export_onnx
from geotoken.model.network.transformer import GeoTokenModel, Memory
from geotoken.model.network.weights import load_network, save_network

__all__ = ["GeoTokenModel", "Memory", "TorchModel", "export_onnx", "load_network", "save_network"]
