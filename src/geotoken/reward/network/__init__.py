"""The reward model in PyTorch: the network, its weights and their export to ONNX.

Owns everything that needs the extra `train`; must not be imported by anything the base install runs.
"""

from importlib.util import find_spec

from geotoken.errors import DependencyError

if find_spec("torch") is None or find_spec("safetensors") is None:
    raise DependencyError(
        "the reward model's network needs PyTorch, which is not installed; pip install 'geotoken[train]'"
    )

from geotoken.reward.network.export import export_reward
from geotoken.reward.network.network import RewardNetwork
from geotoken.reward.network.weights import load_reward_network, save_reward_network

__all__ = ["RewardNetwork", "export_reward", "load_reward_network", "save_reward_network"]
