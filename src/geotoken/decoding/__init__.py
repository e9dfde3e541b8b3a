"""From a model's next-token probabilities to candidate places and the whole posterior.

Owns every search over the token tree; must not know which model it searches or how an answer is selected.
"""

from geotoken.decoding.constraints import RegionMemory, RegionModel
from geotoken.decoding.distribution import CellProbability, CredibleRegion, Posterior
from geotoken.decoding.expansion import posterior
from geotoken.decoding.options import DECODERS, DecodingOptions
from geotoken.decoding.task import Candidates, decode, score, score_prefixes

__all__ = [
    "DECODERS",
    "Candidates",
    "CellProbability",
    "CredibleRegion",
    "DecodingOptions",
    "Posterior",
    "RegionMemory",
    "RegionModel",
    "decode",
    "posterior",
    "score",
    "score_prefixes",
]
