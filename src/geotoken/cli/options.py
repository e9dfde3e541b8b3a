"""Flags that several commands share.

Owns their names and help; must not know what they do.
"""

from pathlib import Path
from typing import Annotated

import typer

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
