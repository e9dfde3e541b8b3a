"""Shape of an alignment, and its JSON form.

Owns the values and their checks; must not know any library that computes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from geotoken.configs import reading_config, write_config
from geotoken.errors import ConfigError
from geotoken.files import read_json

KIND: Final = "geotoken-alignment"
"""What the manifest of an alignment folder calls it."""

FORMAT_VERSION: Final = 1
"""Newest layout of an alignment folder that this geotoken reads."""

CONFIG_FILE: Final = "align.json"
WEIGHTS_FILE: Final = "align.safetensors"

TEXTS: Final = ("levels", "sentence", "none")
"""What is said of a place: each of its levels by itself, all in one sentence, or nothing."""

GEOCLIP_SCALES: Final = (1.0, 16.0, 256.0)
"""Standard deviations of the location encoder's frequencies in GeoCLIP, per unit of its map; coarse first."""

_MOST: Final = 1 << 16  # no width is greater, so that a damaged file does not ask for all memory


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentConfig:
    """All that is needed to build an alignment, apart from its weights.

    Raises:
        ConfigError: A field is out of its range or two do not fit; the message names them.
    """

    image_encoder: str
    """Name of the image encoder whose vectors it takes."""
    image_dim: int
    """Length of those vectors."""
    dim: int = 256
    """Length D of location-aligned and of GPS vectors."""
    hidden: tuple[int, ...] | None = (512,)
    """Hidden widths of the heads; None if image vectors are location-aligned as they come."""
    scales: tuple[float, ...] = GEOCLIP_SCALES
    """Standard deviations of the location encoder's frequencies, per unit of its map; coarse first."""
    num_frequencies: int = 128
    """Frequencies of each scale."""
    width: int = 256
    """Width of the location encoder's hidden layers."""
    num_hidden: int = 2
    """Hidden layers of each of its scales."""
    text: str = "levels"
    """One of `TEXTS`."""
    text_dim: int = 256
    """Length of text-aligned vectors."""
    text_encoder: str | None = None
    """The frozen text encoder before the text tower's head; None if the tower learns words by itself."""
    text_encoder_dim: int = 0
    """Length of the frozen encoder's vectors; 0 without one."""
    num_buckets: int = 16384
    """Rows of the table of word parts, which are hashed into it."""
    bucket_width: int = 64
    """Length of the vector of a word part."""

    def __post_init__(self) -> None:
        counts = ("image_dim", "dim", "num_frequencies", "width", "num_hidden", "text_dim", "bucket_width")
        for name in counts:
            _check_count(name, getattr(self, name), _MOST)
        _check_count("num_buckets", self.num_buckets, 1 << 24)
        for number in self.hidden or ():
            _check_count("hidden", number, _MOST)
        if self.hidden is None and self.image_dim != self.dim:
            raise ConfigError(
                f"without heads, dim is that of image vectors, {self.image_dim}; not {self.dim}"
            )
        if not self.scales or not all(isinstance(s, float | int) and 0 < s < 1e6 for s in self.scales):
            raise ConfigError(f"scales is {self.scales}; give numbers greater than 0 and less than a million")
        if self.text not in TEXTS:
            raise ConfigError(f"text is {self.text!r}; choose one of {', '.join(TEXTS)}")
        if (self.text_encoder is None) != (self.text_encoder_dim == 0):
            raise ConfigError("text_encoder and text_encoder_dim do not fit; give both or none")

    @property
    def has_text(self) -> bool:
        """Whether photos get text-aligned vectors."""
        return self.text != "none"

    @property
    def modalities(self) -> dict[str, int]:
        """Names and lengths of the aligned vectors of a photo."""
        return {"location": self.dim} | ({"text": self.text_dim} if self.has_text else {})

    def head_widths(self, name: str) -> tuple[int, ...]:
        """Widths of the head that gives an aligned vector.

        Args:
            name: One of `modalities`.

        Returns:
            Length of the input, of each hidden vector, and of the output; the first alone without a head.
        """
        if self.hidden is None and name == "location":
            return (self.image_dim,)
        return (self.image_dim, *(self.hidden or ()), self.modalities[name])

    def save(self, path: Path) -> None:
        """Write the configuration as JSON; the file appears whole or not at all.

        Args:
            path: The file to write.
        """
        write_config(path, self)

    @classmethod
    def load(cls, path: Path) -> "AlignmentConfig":
        """Read a configuration written by `save`.

        Args:
            path: The JSON file.

        Returns:
            The configuration.

        Raises:
            ArtifactError: If the file is missing, is no JSON, or has missing, unknown or impossible entries.
        """
        with reading_config(path, "the configuration of an alignment", "train or fetch it again"):
            data = read_json(path)
            data["hidden"] = None if data["hidden"] is None else tuple(data["hidden"])
            data["scales"] = tuple(float(scale) for scale in data["scales"])
            return cls(**data)


def _check_count(name: str, value: object, most: int) -> None:
    """Refuse what is no count.

    Raises:
        ConfigError: It is none, or too large.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ConfigError(f"{name} is {value!r}; give an integer from 1 to {most}")
