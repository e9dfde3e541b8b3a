"""How to decode: which search, how wide, how random.

Owns `DecodingOptions` and its range checks; must not know any model or search.
"""

import math
from dataclasses import dataclass
from typing import Final

from geotoken.errors import InputError

DECODERS: Final = ("greedy", "sample", "beam", "best_first")
"""Names of the decoders, in the order of their price."""

FLAGS: Final = {
    "decoder": "--decoder",
    "beam_width": "--beam-width",
    "num_samples": "--samples",
    "temperature": "--temperature",
    "top_k": "--sample-top-k",
    "top_p": "--sample-top-p",
    "seed": "--seed",
    "num_candidates": "--top-k",
    "max_expansions": "--max-expansions",
}
"""The command-line flag of each field of `DecodingOptions`."""

LARGEST: Final = {
    "beam_width": 10_000,
    "num_samples": 100_000,
    "num_candidates": 100_000,
    "max_expansions": 10_000_000,
    "top_k": 1_000_000,
}
"""What a field may be at most, so that a slip of the finger asks for a GB or two and not for all memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingOptions:
    """Choices of one decoding run; a field that its decoder does not read is checked all the same.

    Raises:
        InputError: A field is out of its range; the message names the field and its flag.
    """

    decoder: str = "beam"
    """One of `DECODERS`."""
    beam_width: int = 5
    """Hypotheses kept a photo by beam search, >= 1."""
    num_samples: int = 30
    """Samples drawn a photo, >= 1; equal samples become one candidate."""
    temperature: float = 1.0
    """Log-probabilities are divided by it before sampling, > 0; below 1 the likely tokens get likelier."""
    top_k: int | None = None
    """Sample from the k likeliest tokens of each step only, >= 1; None for all."""
    top_p: float | None = None
    """Sample from the likeliest tokens that together reach this probability, in (0, 1]; None for all."""
    seed: int = 0
    """Seed of the samples, >= 0."""
    num_candidates: int = 5
    """Candidates that best-first search returns a photo, >= 1."""
    max_expansions: int = 20_000
    """Prefixes that best-first search may expand a photo before it stops without proof, >= 1."""

    def __post_init__(self) -> None:
        if self.decoder not in DECODERS:
            raise InputError(f"decoder (--decoder) is {self.decoder!r}; choose one of {', '.join(DECODERS)}")
        for name, largest in LARGEST.items():
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} ({FLAGS[name]}) is {value}; give an integer of at least 1")
            if value is not None and value > largest:
                raise InputError(f"{name} ({FLAGS[name]}) is {value}; give an integer of at most {largest:,}")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise InputError(
                f"temperature (--temperature) is {self.temperature}; give a number greater than 0, "
                "or use the decoder 'greedy' for the likeliest token of each step"
            )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError(
                f"top_p ({FLAGS['top_p']}) is {self.top_p}; give a probability greater than 0 and at most 1"
            )
        if self.seed < 0:
            raise InputError(f"seed (--seed) is {self.seed}; give an integer of at least 0")
