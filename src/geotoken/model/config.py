"""Shape and switches of the transformer, and their JSON form.

Owns the values, their checks and the presets; must not know any library that computes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from geotoken.configs import reading_config, write_config
from geotoken.errors import ConfigError, InputError
from geotoken.files import read_json
from geotoken.tokens import TokenScheme

LAYOUTS: Final = ("full", "pooled")
"""Each vector and token of a neighbor a position of its own, or one position a neighbor."""
NORMS: Final = ("post", "pre")
"""Layer normalisation after each residual sum (Vaswani et al. 2017), or before each sublayer."""
HEADS: Final = ("generator", "pointer", "kernel", "kernel_only")
"""Next tokens from a linear layer a position; mixed with a copy of consistent evidence; or with densities
around the evidence; or from these densities alone wherever there is evidence, but for the face."""

_COUNTS: Final = {
    "width": 1,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "num_heads": 1,
    "feed_forward": 1,
    "num_neighbors": 1,
    "num_guesses": 0,
}
_SWITCHES: Final = (
    "scale_queries",
    "rank_embedding",
    "modality_embedding",
    "similarity_embedding",
    "relative_similarity",
    "world_prior",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """All that is needed to build the transformer, apart from its weights.

    Raises:
        ConfigError: A field is out of its range or two do not fit; the message names them.
    """

    level: int = 20
    """Level of the leaves, 1..30."""
    group_size: int = 2
    """Levels in one token; divides `level`."""
    width: int
    """Numbers in the vector of a position, D; even, and a multiple of `num_heads`."""
    num_encoder_layers: int
    """Layers over the evidence, >= 1."""
    num_decoder_layers: int
    """Layers over the tokens, >= 1."""
    num_heads: int
    """Heads of every attention, >= 1."""
    feed_forward: int
    """Hidden units of every feed-forward block, >= 1."""
    dropout: float = 0.1
    """Share of activations dropped in training, in [0, 1)."""
    modalities: tuple[tuple[str, int], ...] = ()
    """Name and length of each kind of vector that photos have; may be none at all."""
    layout: str = "pooled"
    """One of `LAYOUTS`."""
    num_neighbors: int = 20
    """Neighbors used of each photo, the best first, >= 1."""
    num_guesses: int = 0
    """Guesses used, those of most weight first; 0 if the model knows no guesses."""
    norm: str = "pre"
    """One of `NORMS`."""
    scale_queries: bool = True
    """Whether vectors of photos are brought to the size of the other embeddings."""
    rank_embedding: bool = True
    """Whether a neighbor's rank is told."""
    modality_embedding: bool = True
    """Whether the kind of each position is told."""
    similarity_embedding: bool = True
    """Whether a neighbor's similarity is told where it is known."""
    relative_similarity: bool = False
    """Whether it is told too how a neighbor's similarity stands among those of the photo's neighbors."""
    head: str = "generator"
    """One of `HEADS`."""
    world_prior: bool = False
    """Whether the model is told where photos are taken at all: its own file gives the share of each cell that
    may come next, which the generator bends, and kernels are weighed with."""

    def __post_init__(self) -> None:
        for name, least in _COUNTS.items():
            if not _is_count(getattr(self, name), least):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; give an integer of at least {least}")
        if self.width % self.num_heads or self.width % 2:
            raise ConfigError(
                f"width is {self.width}; give an even multiple of num_heads, which is {self.num_heads}"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}; give a number from 0 to less than 1")
        for name, allowed in (("layout", LAYOUTS), ("norm", NORMS), ("head", HEADS)):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(allowed)}")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; give true or false")
        self._check_modalities()
        try:
            TokenScheme(self.level, self.group_size)
        except InputError as error:
            raise ConfigError(f"level and group_size do not fit: {error}") from error

    def _check_modalities(self) -> None:
        """Refuse names and lengths that cannot be used.

        Raises:
            ConfigError: Two names are equal, or a name or a length is impossible.
        """
        names = [name for name, _ in self.modalities]
        if len(set(names)) < len(names) or not all(name.isidentifier() for name in names):
            raise ConfigError(f"modalities are named {names}; give each a distinct name of letters")
        if not all(_is_count(dim, 1) for _, dim in self.modalities):
            raise ConfigError(f"modalities are {self.modalities}; give each a length of at least 1")

    @property
    def scheme(self) -> TokenScheme:
        """The token scheme whose sequences the model scores."""
        return TokenScheme(self.level, self.group_size)

    @property
    def vocabulary_size(self) -> int:
        """Tokens at the position that has most, V."""
        return max(self.scheme.vocabulary_sizes)

    @property
    def has_items(self) -> bool:
        """Whether the head looks at the items themselves."""
        return self.head != "generator"

    @property
    def has_kernels(self) -> bool:
        """Whether the head spreads densities around the items."""
        return self.head in ("kernel", "kernel_only")

    @property
    def head_width(self) -> int:
        """Numbers in the vector of one attention head."""
        return self.width // self.num_heads

    def num_positions(self, num_items: int) -> int:
        """Positions that the encoder reads.

        Args:
            num_items: Neighbors and guesses of a photo.

        Returns:
            1 for the summary, one for each vector of the query, and those of the items.
        """
        num_vectors = len(self.modalities)
        each = 1 if self.layout == "pooled" else num_vectors + self.scheme.length
        return 1 + num_vectors + num_items * each

    @classmethod
    def paper(cls) -> "ModelConfig":
        """The model of the GeoToken paper: 214 positions of 15 neighbors, 10 + 10 layers of width 512.

        References:
            Ghasemi et al. (2025), GeoToken, arXiv 2511.01082, section on implementation details.
        """
        return cls(
            width=512,
            num_encoder_layers=10,
            num_decoder_layers=10,
            num_heads=8,
            feed_forward=1024,
            modalities=(("image", 768), ("location", 512), ("text", 768)),
            layout="full",
            num_neighbors=15,
            norm="post",
            scale_queries=False,
            rank_embedding=False,
            modality_embedding=False,
            similarity_embedding=False,
        )

    @classmethod
    def compact(cls) -> "ModelConfig":
        """A small model that knows neighbors and guesses by their coordinates alone; trains on a CPU."""
        return cls(
            width=128,
            num_encoder_layers=3,
            num_decoder_layers=3,
            num_heads=4,
            feed_forward=256,
            num_neighbors=20,
            num_guesses=4,
            head="pointer",
        )

    def save(self, path: Path) -> None:
        """Write the configuration as JSON; the file appears whole or not at all.

        Args:
            path: The file to write.
        """
        write_config(path, self)

    @classmethod
    def load(cls, path: Path) -> "ModelConfig":
        """Read a configuration written by `save`.

        Args:
            path: The JSON file.

        Returns:
            The configuration.

        Raises:
            ArtifactError: If the file is missing, is no JSON, or has missing, unknown or impossible entries.
        """
        with reading_config(path, "the configuration of a transformer", "install the model again"):
            data = read_json(path)
            modalities = tuple((str(name), dim) for name, dim in data.pop("modalities", ()))
            return cls(modalities=modalities, **data)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
