"""The options of a request and the forms of the replies, as FastAPI checks and describes them.

Owns names, ranges and defaults over HTTP, narrower than the library's; must not know how they are used.
"""

from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from geotoken.serve.errors import Refusal

MAX_GUESSES, MAX_REGIONS = 100, 20
"""Guesses and regions of one request."""
MAX_REGION_BYTES = 1 << 20
"""Length of a region, that of GeoJSON among them."""

Guess = Annotated[str, StringConstraints(max_length=200)]
RegionText = Annotated[str, StringConstraints(max_length=MAX_REGION_BYTES)]


class Options(BaseModel):
    """How photos are located; the flags of `geotoken locate` with underscores."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    decoder: Literal["greedy", "sample", "beam", "best_first"] = Field(
        default="beam", description="How candidates are found."
    )
    beam_width: int = Field(default=5, ge=1, le=100, description="Hypotheses that beam keeps.")
    samples: int = Field(default=30, ge=1, le=1_000, description="Samples that sample draws.")
    temperature: float = Field(
        default=1.0, ge=0.01, le=100, description="Of the samples; below 1 the likely gets likelier."
    )
    sample_top_k: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Sample from so many of the likeliest tokens of each step.",
    )
    sample_top_p: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Sample from the likeliest tokens that together reach this probability.",
    )
    seed: int = Field(default=0, ge=0, le=2**53 - 1, description="Seed of the samples.")
    max_expansions: int = Field(
        default=20_000,
        ge=1,
        le=200_000,
        description="Prefixes that best_first looks behind before it gives up its proof.",
    )
    select: Literal["log_prob", "medoid", "mbr", "similarity", "reward"] = Field(
        default="mbr", description="How the answer is chosen; /v1/models lists what this model has."
    )
    top_k: int = Field(default=5, ge=1, le=100, description="Candidates and neighbors listed at most.")
    guess: list[Guess] = Field(
        default=[],
        max_length=MAX_GUESSES,
        description="Places that somebody believes in, each LAT,LNG or LAT,LNG,WEIGHT in degrees.",
        examples=[["-33.86,151.21"]],
    )
    within: list[RegionText | dict[str, Any]] = Field(
        default=[],
        max_length=MAX_REGIONS,
        description="Where the photo was taken, in any of: country=PE; bbox=WEST,SOUTH,EAST,NORTH; "
        "near=LAT,LNG,KM; GeoJSON with polygons.",
        examples=[["country=AU"]],
    )
    together: bool = Field(default=False, description="All photos show one place: join their evidence.")
    posterior: bool = Field(
        default=False, description="Add the cells of every level and the credible regions."
    )


class PhotoData(BaseModel):
    """A photo in a JSON request."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="", max_length=1_000, description="What the reply calls it.")
    data: str = Field(description="The file, base64.", json_schema_extra={"format": "byte"})


class LocateRequest(BaseModel):
    """Photos and options as JSON."""

    model_config = ConfigDict(extra="forbid")

    photos: list[PhotoData] = Field(min_length=1)
    options: Options = Options()


class Error(BaseModel):
    """Why there is no answer."""

    code: str = Field(description="One word for programs.")
    message: str = Field(description="One line for people: what was given, what is allowed, what to do.")
    request_id: str | None = Field(default=None, description="The same as in the header X-Request-Id.")


class ErrorReply(BaseModel):
    """What every error looks like."""

    error: Error


class ModelName(BaseModel):
    """What answered."""

    name: str
    head: str = Field(description="The evidence model.")
    hash: str = Field(description="Of all files of the model and its gallery; equal hashes, equal answers.")


class Result(BaseModel):
    """One photo's object, as `geotoken locate --json` prints it; see docs/locate.schema.json."""

    model_config = ConfigDict(extra="allow")

    image: str = Field(description="Name of the photo as given.")
    status: Literal["ok", "error"]
    warnings: list[str]


class LocateReply(BaseModel):
    """The answers."""

    model: ModelName
    results: list[Result] = Field(description="One object a photo, in order.")


class Encoder(BaseModel):
    """What turns photos into vectors."""

    name: str
    source: str
    license: str


class Credit(BaseModel):
    """Whose work an answer rests on; neighbors have credits of their own."""

    of: str = Field(description="What it is.")
    source: str
    license: str


class ModelFacts(ModelName):
    """The model, and what may be asked of it."""

    version: str = Field(description="Of geotoken.")
    heads: list[str] = Field(description="Evidence models in its folder; `head` is the one in use.")
    selectors: list[str] = Field(description="Values of `select` that it can do.")
    levels: list[int] = Field(description="S2 levels of its tokens.")
    num_gallery_photos: int
    encoder: Encoder
    credits: list[Credit]
    defaults: dict[str, Any] = Field(description="Every option with its default.")
    options: dict[str, Any] = Field(description="JSON schema of the options, with the ranges.")
    limits: dict[str, float] = Field(description="Of photos and requests.")


class ModelsReply(BaseModel):
    """The models of this server."""

    models: list[ModelFacts]


class CountryName(BaseModel):
    """A country or territory that `within` knows."""

    code: str = Field(description="ISO 3166-1, two letters.")
    name: str = Field(description="Usual English name.")


class CountriesReply(BaseModel):
    """All of them."""

    countries: list[CountryName]


class Health(BaseModel):
    """How the server is."""

    status: Literal["ok"]


def refuse_invalid(error: ValidationError, inside: str = "") -> NoReturn:
    """Refuse options that pydantic did not take.

    Args:
        error: What it said.
        inside: Where the options stand, to be left out of their names.

    Raises:
        Refusal: Always.
    """
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part != inside) or "the request"
    given = repr(first["input"])
    shown = f" (given: {given[:60]})" if not isinstance(first["input"], dict | list) else ""
    more = error.error_count() - 1
    others = f"; and {more} more" if more else ""
    raise Refusal("invalid_option", f"{where}: {first['msg']}{shown}{others}; see /openapi.json") from None
