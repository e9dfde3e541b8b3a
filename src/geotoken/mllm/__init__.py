"""A multimodal language model as judge of answers, or as one more witness.

Owns all that is said to such a model and read from it; must not know command lines. Only talking to a server
needs the extra `mllm`.
"""

from geotoken.mllm.answers import Answers
from geotoken.mllm.decide import decide
from geotoken.mllm.judge import Judge
from geotoken.mllm.options import MODES, MllmOptions
from geotoken.mllm.replay import Recorded, is_simulated, load_recorded

__all__ = ["MODES", "Answers", "Judge", "MllmOptions", "Recorded", "decide", "is_simulated", "load_recorded"]
