"""Shape and switches of the reward model, and their JSON form.

Owns the values and their checks; must not know any library that computes.
"""

from dataclasses import dataclass
from pathlib import Path

from geotoken.configs import reading_config, write_config
from geotoken.errors import ConfigError
from geotoken.files import read_json
from geotoken.model.config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """All that is needed to build the reward model, apart from its weights.

    Raises:
        ConfigError: A field is out of its range or two do not fit; the message names them.
    """

    width: int = 64
    """Numbers in the vector of a position, D; even, and a multiple of `num_heads`."""
    num_layers: int = 2
    """Layers over a candidate and the items, >= 1."""
    num_heads: int = 4
    """Heads of every attention, >= 1."""
    feed_forward: int = 128
    """Hidden units of every feed-forward block, >= 1."""
    dropout: float = 0.1
    """Share of activations dropped in training, in [0, 1)."""
    num_neighbors: int = 20
    """Neighbors read of each photo, the best first, >= 1."""
    num_guesses: int = 4
    """Guesses read, those of most weight first, >= 0."""
    modalities: tuple[str, ...] = ()
    """Kinds of vectors by which photo and neighbor are compared, beside the similarity; may be none."""
    places: bool = False
    """Whether a candidate's place on Earth is told; if not, only relations count, and a case that is moved
    over the sphere as a whole keeps its rewards."""

    def __post_init__(self) -> None:
        if not isinstance(self.num_layers, int) or self.num_layers < 1:
            raise ConfigError(f"num_layers is {self.num_layers!r}; give an integer of at least 1")
        self.as_layers()  # checks the other sizes
        if not isinstance(self.places, bool):
            raise ConfigError(f"places is {self.places!r}; give true or false")
        names = self.modalities
        if len(set(names)) < len(names) or not all(isinstance(n, str) and n.isidentifier() for n in names):
            raise ConfigError(f"modalities are named {list(names)}; give each a distinct name of letters")

    def as_layers(self) -> ModelConfig:
        """The same sizes as the transformer's layers take them.

        Returns:
            A configuration of which only the sizes of layers and the numbers of items matter.
        """
        return ModelConfig(
            width=self.width,
            num_encoder_layers=self.num_layers,
            num_decoder_layers=1,
            num_heads=self.num_heads,
            feed_forward=self.feed_forward,
            dropout=self.dropout,
            num_neighbors=self.num_neighbors,
            num_guesses=self.num_guesses,
        )

    def save(self, path: Path) -> None:
        """Write the configuration as JSON; the file appears whole or not at all.

        Args:
            path: The file to write.
        """
        write_config(path, self)

    @classmethod
    def load(cls, path: Path) -> "RewardConfig":
        """Read a configuration written by `save`.

        Args:
            path: The JSON file.

        Returns:
            The configuration.

        Raises:
            ArtifactError: If the file is missing, is no JSON, or has missing, unknown or impossible entries.
        """
        with reading_config(path, "the configuration of a reward model", "train it again"):
            data = read_json(path)
            return cls(**{**data, "modalities": tuple(data["modalities"])})
