"""Flags that several commands share, and those of `geotoken locate`.

Owns their names and help; must not know what they do.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geotoken.errors import InputError

if TYPE_CHECKING:
    from geotoken.decoding import DecodingOptions

DEFAULT_MODEL = "mini"

# metavar="" on a flag without a value keeps its help from showing one.

Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON, and nothing else, on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", metavar="", help="Print a traceback with an error.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Name of a bundled model, a model folder, or OWNER/NAME[@REVISION] on the hub.",
        rich_help_panel="Model",
    ),
]
GalleryFolder = Annotated[
    Path | None,
    typer.Option(
        "--gallery",
        metavar="FOLDER",
        help="Gallery to search, made with the model's encoder.",
        show_default="the model's own",
        rich_help_panel="Model",
    ),
]
Offline = Annotated[
    bool, typer.Option("--offline", metavar="", help="Download nothing; as HF_HUB_OFFLINE=1 does.")
]
Level = Annotated[int, typer.Option("--level", metavar="LEVEL", help="S2 level of a whole sequence, 1..30.")]
GroupSize = Annotated[
    int, typer.Option("--group-size", metavar="LEVELS", help="Levels in one token; must divide --level.")
]

SCALE = "Scale"
"""Heading of the flags for large collections."""

ENGINES = ("local", "ray")
"""What does the work: this process and its children, or Ray."""

_EVIDENCE, _SEARCH, _BATCH, _PICTURES = "Evidence", "Search", "Files", "Pictures"

Paths = Annotated[list[str], typer.Argument(metavar="PATH", help="Photos, or folders to search for photos.")]
Head = Annotated[
    str | None,
    typer.Option(
        "--head",
        metavar="NAME",
        help="Evidence model: mixture or transformer.",
        show_default="the model's own",
        rich_help_panel="Model",
    ),
]
Guesses = Annotated[
    list[str] | None,
    typer.Option(
        "--guess",
        metavar="LAT,LNG[,WEIGHT]",
        help="A place somebody believes in, as evidence; weight 1 is a typical good guess. Repeatable.",
        rich_help_panel=_EVIDENCE,
    ),
]
Within = Annotated[
    list[str] | None,
    typer.Option(
        "--within",
        metavar="REGION",
        help="Where the photo is known to be from: country=PE, bbox=W,S,E,N, near=LAT,LNG,KM or "
        "FILE.geojson. Repeatable: any of them.",
        rich_help_panel=_EVIDENCE,
    ),
]
Together = Annotated[
    bool,
    typer.Option(
        "--together",
        metavar="",
        help="All photos show one place: join their evidence to one answer.",
        rich_help_panel=_EVIDENCE,
    ),
]
Decoder = Annotated[
    str,
    typer.Option(
        "--decoder",
        metavar="NAME",
        help="How candidates are found: greedy, sample, beam or best_first.",
        rich_help_panel=_SEARCH,
    ),
]
BeamWidth = Annotated[
    int,
    typer.Option("--beam-width", metavar="N", help="Hypotheses that beam keeps.", rich_help_panel=_SEARCH),
]
Samples = Annotated[
    int,
    typer.Option("--samples", metavar="N", help="Samples that sample draws.", rich_help_panel=_SEARCH),
]
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature",
        metavar="T",
        help="Of the samples; below 1 the likely gets likelier.",
        rich_help_panel=_SEARCH,
    ),
]
SampleTopK = Annotated[
    int | None,
    typer.Option(
        "--sample-top-k",
        metavar="N",
        help="Sample from the N likeliest tokens of each step.",
        show_default="all",
        rich_help_panel=_SEARCH,
    ),
]
SampleTopP = Annotated[
    float | None,
    typer.Option(
        "--sample-top-p",
        metavar="P",
        help="Sample from the likeliest tokens that together reach P.",
        show_default="all",
        rich_help_panel=_SEARCH,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", help="Seed of the samples.", rich_help_panel=_SEARCH)
]
MaxExpansions = Annotated[
    int,
    typer.Option(
        "--max-expansions",
        metavar="N",
        help="Prefixes that best_first looks behind before it gives up its proof.",
        rich_help_panel=_SEARCH,
    ),
]
Select = Annotated[
    str,
    typer.Option(
        "--select",
        metavar="NAME",
        help="How the answer is chosen: log_prob, medoid or mbr; similarity or reward where the model has "
        "what they need.",
        rich_help_panel=_SEARCH,
    ),
]
TopK = Annotated[
    int, typer.Option("--top-k", metavar="N", help="Candidates and neighbors listed at most by --json.")
]
MapFile = Annotated[
    str | None,
    typer.Option(
        "--map",
        metavar="FILE.html",
        help="Write one page with a map of every answer; it works offline.",
        rich_help_panel=_PICTURES,
    ),
]
ReportFolder = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="DIR",
        help="Write a folder with a table of the answers, a map, and a page for each photo.",
        rich_help_panel=_PICTURES,
    ),
]
Outputs = Annotated[
    list[Path] | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write the answers to a .csv, .geojson, .json, .jsonl, .kml or .parquet file. Repeatable.",
        rich_help_panel=_BATCH,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        metavar="",
        help="Keep what --out has already, and locate only photos that are new, changed or had failed.",
        rich_help_panel=_BATCH,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes that locate photos.",
        show_default="one a CPU, up to 8, from 64 photos on, else 1",
        rich_help_panel=_BATCH,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help="local; or ray: a cluster, or this machine as one, with URIs for inputs and --out.",
        rich_help_panel=SCALE,
    ),
]


def check_engine(engine: str) -> bool:
    """Tell what does the work.

    Args:
        engine: The value of `--engine`.

    Returns:
        Whether it is Ray.

    Raises:
        InputError: It is none of `ENGINES`.
    """
    if engine not in ENGINES:
        raise InputError(f"--engine is {engine!r}; choose one of {', '.join(ENGINES)}")
    return engine == "ray"


def decoding_options(parameters: Mapping[str, Any], **others: Any) -> "DecodingOptions":
    """What a command's flags say of the search.

    Args:
        parameters: The command's parameters by name.
        others: Further fields of the options.

    Returns:
        The options.

    Raises:
        InputError: One is out of its range.
    """
    from geotoken.decoding import DecodingOptions

    return DecodingOptions(
        decoder=parameters["decoder"],
        beam_width=parameters["beam_width"],
        num_samples=parameters["samples"],
        temperature=parameters["temperature"],
        top_k=parameters["sample_top_k"],
        top_p=parameters["sample_top_p"],
        seed=parameters["seed"],
        max_expansions=parameters["max_expansions"],
        **others,
    )


def check_workers(workers: int | None) -> None:
    """Refuse a number of processes that cannot be.

    Args:
        workers: The value of `--workers`.

    Raises:
        InputError: It is less than 1.
    """
    if workers is not None and workers < 1:
        raise InputError(f"num_workers (--workers) is {workers}; give a whole number of at least 1")
