"""Flags of `geotoken eval` that no other command has.

Owns their names and help; must not know what they do.
"""

from pathlib import Path
from typing import Annotated

import typer

_WHAT, _LEAKAGE, _MEASURE, _FILES = "What is evaluated", "Leakage", "Measure", "Files"

Evidence = Annotated[
    Path | None,
    typer.Option(
        "--evidence",
        metavar="FILE",
        help="Evidence table, Parquet: neighbors and guesses in place of photos.",
        rich_help_panel=_WHAT,
    ),
]
Images = Annotated[
    Path | None,
    typer.Option("--images", metavar="FOLDER", help="Photos; needs --truth.", rich_help_panel=_WHAT),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE.csv",
        help="Predictions of any system: a name, a latitude and a longitude a row; needs --truth, unless the "
        "file has true_lat and true_lng.",
        rich_help_panel=_WHAT,
    ),
]
Compare = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--compare",
        metavar="A.csv B.csv",
        help="Two files of predictions, paired by photo: the difference, B minus A, with its interval.",
        rich_help_panel=_WHAT,
    ),
]
TruthFile = Annotated[
    Path | None,
    typer.Option(
        "--truth",
        metavar="FILE.csv",
        help="Where photos were taken: image,lat,lng[,owner] or IMG_ID,LAT,LON[,AUTHOR] or the like.",
        rich_help_panel=_WHAT,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", help="Take the first N photos.", show_default="all", rich_help_panel=_WHAT
    ),
]
NoGuess = Annotated[
    bool,
    typer.Option(
        "--no-guess", metavar="", help="Leave the guesses of --evidence aside.", rich_help_panel=_WHAT
    ),
]
Baselines = Annotated[
    bool,
    typer.Option(
        "--baselines",
        metavar="",
        help="With --evidence: also nearest neighbor, a vote of the neighbors, and the guess alone.",
        rich_help_panel=_WHAT,
    ),
]
Mllm = Annotated[
    str | None,
    typer.Option(
        "--mllm",
        metavar="MODE",
        help="Let recorded answers of a multimodal model judge: pool or free (both simulated), or fuse; "
        "needs --replay.",
        rich_help_panel=_WHAT,
    ),
]
ReplayFile = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        metavar="FILE",
        help="Recorded answers, Parquet: image_id, guess_lat, guess_lng; those of --evidence are left aside.",
        rich_help_panel=_WHAT,
    ),
]
ExcludeOwner = Annotated[
    bool,
    typer.Option(
        "--exclude-owner",
        metavar="",
        help="No gallery photo of the same owner counts.",
        rich_help_panel=_LEAKAGE,
    ),
]
ExcludeNear = Annotated[
    float | None,
    typer.Option(
        "--exclude-near",
        metavar="KM",
        help="No gallery photo within KM of the truth counts.",
        rich_help_panel=_LEAKAGE,
    ),
]
ExcludeDuplicates = Annotated[
    float | None,
    typer.Option(
        "--exclude-duplicates",
        metavar="SIMILARITY",
        help="No equal file and no gallery photo of at least this similarity counts.",
        rich_help_panel=_LEAKAGE,
    ),
]
LeakageCheck = Annotated[
    bool,
    typer.Option(
        "--leakage-check",
        metavar="",
        help="Evaluate twice, without and with the exclusions, side by side; unless any is given: same "
        "owner, within 0.05 km, similarity from 0.98.",
        rich_help_panel=_LEAKAGE,
    ),
]
UtilityName = Annotated[
    str | None,
    typer.Option(
        "--utility",
        metavar="NAME",
        help="What mbr maximises: thresholds, geoscore, within=KM, or five weights of the thresholds.",
        show_default="the model's own",
        rich_help_panel="Search",
    ),
]
Distance = Annotated[
    str,
    typer.Option(
        "--distance",
        metavar="NAME",
        help="haversine (R = 6371.0088 km), haversine-6371, haversine-6378 (6378.137 km) or geodesic.",
        rich_help_panel=_MEASURE,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        metavar="",
        help="A distance equal to a threshold does not meet it.",
        rich_help_panel=_MEASURE,
    ),
]
Resamples = Annotated[
    int,
    typer.Option(
        "--resamples", metavar="N", help="Resamples of owners for the intervals.", rich_help_panel=_MEASURE
    ),
]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the figures as JSON.", rich_help_panel=_FILES),
]
PredictionsFile = Annotated[
    Path | None,
    typer.Option(
        "--predictions",
        metavar="FILE.csv",
        help="Write a row a photo; --leakage-check adds FILE-guarded.csv.",
        rich_help_panel=_FILES,
    ),
]
ReportFolder = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="DIR",
        help="Write a page with tables, curves, a map of the errors, and the figures as JSON.",
        rich_help_panel=_FILES,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        metavar="",
        help="Go on with what an interrupted run has kept beside --predictions.",
        rich_help_panel=_FILES,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes that locate.",
        show_default="one a CPU, up to 8, from 64 photos on, else 1",
        rich_help_panel=_FILES,
    ),
]
