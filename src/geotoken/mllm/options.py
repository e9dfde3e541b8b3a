"""How a multimodal language model is asked: where, in which mode, how often, and for how much.

Owns `MllmOptions` and the checks of its values; must not know requests or answers.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from geotoken.errors import InputError

MODES: Final = ("pool", "free", "fuse")
"""Choose a candidate; answer freely, knowing the candidates; judge the photo alone, as evidence."""

_LIMITS: Final = {
    "votes": ("--mllm-votes", 1, 20),
    "side": ("--mllm-side", 64, 4096),
    "concurrency": ("--mllm-concurrency", 1, 256),
    "retries": ("--mllm-retries", 0, 20),
    "max_tokens": ("--mllm-max-tokens", 16, 100_000),
    "timeout_s": ("--mllm-timeout", 0.1, 3600),
    "weight": ("--mllm-weight", 1e-3, 1e3),
    "max_requests": ("--max-requests", 0, 10**9),
    "max_cost": ("--max-cost", 0, 1e9),
    "price_in": ("--mllm-price-in", 0, 1e6),
    "price_out": ("--mllm-price-out", 0, 1e6),
}
"""Flag, least and greatest value of each number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MllmOptions:
    """How a multimodal language model is asked about photos."""

    mode: str
    """One of `MODES`."""
    url: str
    """Base URL of a server with OpenAI's chat interface, such as http://127.0.0.1:11434/v1."""
    model: str = "default"
    """Name of the model, as the server knows it; servers of one model, such as llama.cpp, take any."""
    votes: int = 1
    """Answers asked for about each photo."""
    weight: float = 1.0
    """fuse: trust in all votes together, > 0; 1 is that of a typical good guess, 2 doubles its odds."""
    side: int = 768
    """Longest side of the photo that is sent, in pixels."""
    max_tokens: int = 1024
    """Tokens of an answer at most."""
    timeout_s: float = 60.0
    """Time limit of one request in seconds."""
    retries: int = 4
    """Repetitions of a request at most, after what may be better the next time."""
    concurrency: int = 8
    """Requests under way at most."""
    max_requests: int | None = None
    """Requests of this run at most, repetitions included; None for any number."""
    max_cost: float | None = None
    """Price of this run at most, in the currency of the prices; None for any price."""
    price_in: float | None = None
    """Price of a million tokens of a question."""
    price_out: float | None = None
    """Price of a million tokens of an answer."""
    dry_run: Path | None = None
    """Folder that gets the requests instead of the server."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"mode (--mllm) is {self.mode!r}; choose one of {', '.join(MODES)}")
        for name, (flag, least, most) in _LIMITS.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and least <= value <= most):
                raise InputError(f"{name} ({flag}) is {value}; give a number from {least:g} to {most:g}")
        _check_url(self.url)
        if not self.model.strip():
            raise InputError("model (--mllm-model) is empty; give the name that the server knows it by")
        if (self.price_in is None) != (self.price_out is None):
            raise InputError("one price is missing; give both --mllm-price-in and --mllm-price-out")
        if self.max_cost is not None and self.price_in is None:
            raise InputError(
                "max_cost (--max-cost) needs prices, without which the cost is unknown; give --mllm-price-in "
                "and --mllm-price-out, per million tokens"
            )

    @property
    def host(self) -> str:
        """Name of the server's host, with its port where one is given."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def is_encrypted(self) -> bool:
        """Whether others on the way cannot read what is sent."""
        return urlsplit(self.url).scheme == "https"


def _check_url(url: str) -> None:
    """Refuse what is no address of a server.

    Raises:
        InputError: If it is none, or holds a password.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        raise InputError(
            f"url (--mllm-url) is {url!r}; give the base URL of a server, such as http://127.0.0.1:11434/v1"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            "url (--mllm-url) holds a user, a query or a fragment; give the plain base URL, and a key by the "
            "environment variable GEOTOKEN_MLLM_API_KEY"
        )
