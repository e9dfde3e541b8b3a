"""`geotoken train reward`: a model folder gets a reward model.

Owns its flags and messages; must not know how anything is trained.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from geotoken.cli.errors import exit_codes
from geotoken.cli.options import Debug, Json
from geotoken.cli.train_decoder import (
    Accelerator,
    BatchSize,
    Epochs,
    LearningRate,
    Resume,
    Seed,
    Steps,
    Store,
)

_SOURCES, _SETTINGS = "Sources", "Settings"

Model = Annotated[
    Path, typer.Option("--model", metavar="MODEL", help="Model folder, made by geotoken train decoder.")
]
Lists = Annotated[
    Path | None,
    typer.Option(
        "--gallery",
        metavar="FOLDER",
        help="Gallery and neighbor lists that MODEL was trained with.",
        show_default="in MODEL.training",
        rich_help_panel=_SOURCES,
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds",
        metavar="K",
        help="Train K decoders on parts of the photos, so that all photos give candidates.",
        show_default="none: the photos that MODEL was validated with",
        rich_help_panel=_SETTINGS,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Settings; the flags below overrule it.",
        show_default="the recipe of configs/reward.toml",
        rich_help_panel=_SETTINGS,
    ),
]


def reward(
    store: Store,
    model: Model,
    gallery: Lists = None,
    config: Config = None,
    folds: Folds = None,
    epochs: Epochs = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    accelerator: Accelerator = None,
    seed: Seed = None,
    resume: Resume = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the judge of candidates for --select reward, on photos that the model was not trained on.

    It becomes a part of the model folder, whose card says what was measured. Candidates, checkpoints and
    log.csv lie in MODEL.training/reward.
    """
    with exit_codes(debug):
        from geotoken.cli.terminal import ProgressBar
        from geotoken.cli.train_progress import check_whole, print_trained, training_progress
        from geotoken.train.loop import Outcome
        from geotoken.train.reward_recipe import find_candidates, open_reward, train_reward, work_folder

        loop = {
            "epochs": epochs,
            "steps": steps,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "accelerator": accelerator,
            "seed": seed,
        }
        flags: dict[str, dict[str, Any]] = {"loop": loop, "folds": {"num_folds": folds}}
        folder = work_folder(model)
        with ProgressBar("Neighbors") as bar:
            opened = open_reward(store, model, gallery=gallery, config=config, flags=flags, on_list=bar.set)
        with ProgressBar("Candidates") as bar:
            cases = find_candidates(opened, folder, resume=resume, on_case=bar.set)
        if isinstance(cases, Outcome):
            check_whole(cases)
            return
        with training_progress() as show:
            outcome = train_reward(opened, cases, folder, resume=resume, on_step=show)
        check_whole(outcome)
        print_trained(outcome, f"reward model in {model}", model, json)
