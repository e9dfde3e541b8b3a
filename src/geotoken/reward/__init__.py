"""The reward model: how good a place would be as the answer, given the evidence.

Owns the learned judge of candidates; PyTorch is needed only in `geotoken.reward.network`.
"""

from geotoken.reward.batch import RewardBatch, collate, describe
from geotoken.reward.config import RewardConfig
from geotoken.reward.proposals import Proposals, evidence_places, weigh, widen
from geotoken.reward.runtime import RewardModel

__all__ = [
    "Proposals",
    "RewardBatch",
    "RewardConfig",
    "RewardModel",
    "collate",
    "describe",
    "evidence_places",
    "weigh",
    "widen",
]
