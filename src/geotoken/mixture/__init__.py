"""The closed-form evidence model: neighbors and guesses as kernels on the sphere, plus a world prior.

Owns the mixture and its token probabilities; must not know decoding, images or galleries.
"""

from geotoken.mixture.config import GuessTrust, MixtureConfig, NeighborTrust
from geotoken.mixture.model import MixtureCache, MixtureMemory, MixtureModel, Ranked
from geotoken.mixture.network import EvidenceNetwork

__all__ = [
    "EvidenceNetwork",
    "GuessTrust",
    "MixtureCache",
    "MixtureConfig",
    "MixtureMemory",
    "MixtureModel",
    "NeighborTrust",
    "Ranked",
]
