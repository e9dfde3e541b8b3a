"""What a server is told when it starts: model, address, limits, who may ask.

Owns `Settings` and its range checks; must not know HTTP or processes.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geotoken.errors import InputError
from geotoken.graphs import num_cpus

MOST_WORKERS: Final = 8
"""Processes started at most unless more are asked for: each takes some 250 MB."""

_RANGES: Final[dict[str, tuple[float, float]]] = {
    "port": (0, 65_535),
    "workers": (1, 64),
    "threads": (1, 256),
    "max_waiting": (1, 10_000),
    "max_photos": (1, 1_000),
    "max_photo_mb": (0.001, 1_024),
    "max_request_mb": (0.001, 4_096),
    "max_megapixels": (0.01, 1_000),
    "upload_timeout_s": (0.1, 3_600),
    "photo_timeout_s": (0.1, 3_600),
    "request_timeout_s": (0.1, 3_600),
    "drain_timeout_s": (0, 3_600),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server runs.

    Raises:
        InputError: A field is out of its range; the message names its flag.
    """

    model: str = "mini"
    """A model as `Locator.from_pretrained` takes it."""
    head: str | None = None
    """Its evidence model; the model's own default when None."""
    gallery: Path | None = None
    """Folder of another gallery; the model's own when None."""
    offline: bool = False
    """Whether nothing may be downloaded."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """Port to listen on; 0 for any that is free."""
    workers: int | None = None
    """Processes that locate photos; one a CPU, up to `MOST_WORKERS`, when None."""
    threads: int = 1
    """CPU threads of the networks in each of them."""
    max_waiting: int | None = None
    """Photos that may wait for a worker before others are turned away; one a worker when None."""
    max_photos: int = 32
    """Photos in one request."""
    max_photo_mb: float = 25.0
    """Size of one photo's file in MB (10^6 bytes)."""
    max_request_mb: float = 100.0
    """Size of the body of a request in MB; that of all bodies held at a time is four times as much."""
    max_megapixels: float = 100.0
    """Width times height of a photo in millions, told by its header before it is decoded."""
    upload_timeout_s: float = 30.0
    """Seconds within which the headers, and then the body, of a request must have come."""
    photo_timeout_s: float = 10.0
    """Seconds of work on one photo."""
    request_timeout_s: float = 60.0
    """Seconds from the last byte of a request to its answer."""
    drain_timeout_s: float = 30.0
    """Seconds that requests under way are given to end when the server is told to stop."""
    api_key: str | None = None
    """What a request to /v1 must bring along; nothing when None."""
    cors_origins: tuple[str, ...] = ()
    """Origins of other pages that may ask from a browser, such as "https://example.org"; "*" for all."""

    def __post_init__(self) -> None:
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and lowest <= value <= highest):
                flag = name.removesuffix("_s").replace("_", "-")
                raise InputError(
                    f"{name} (--{flag}) is {value}; give a number from {lowest:g} to {highest:,g}"
                )
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise InputError("the API key (--api-key) has letters that cannot stand in a header; use ASCII")
        if self.api_key is not None and len(self.api_key) < 8:
            raise InputError("the API key (--api-key) has fewer than 8 letters; take a long random one")
        for origin in self.cors_origins:
            if origin != "*" and not origin.startswith(("http://", "https://")):
                raise InputError(
                    f"the origin (--cors-origin) is {origin!r}; give one such as https://example.org, or *"
                )

    @property
    def num_workers(self) -> int:
        """Processes that locate photos."""
        return min(num_cpus(), MOST_WORKERS) if self.workers is None else self.workers

    @property
    def num_waiting(self) -> int:
        """Photos that may wait before others are turned away."""
        return self.num_workers if self.max_waiting is None else self.max_waiting

    @property
    def photo_bytes(self) -> int:
        """Size of one photo's file in bytes."""
        return int(self.max_photo_mb * 1e6)

    @property
    def request_bytes(self) -> int:
        """Size of the body of a request in bytes."""
        return int(self.max_request_mb * 1e6)

    @property
    def pixels(self) -> int:
        """Width times height of a photo."""
        return int(self.max_megapixels * 1e6)

    @property
    def loaded(self) -> dict[str, Any]:
        """What `Locator.from_pretrained` gets in each worker."""
        return {
            "model": self.model,
            "head": self.head,
            "gallery": self.gallery,
            "offline": self.offline,
            "num_threads": self.threads,
        }
