"""`geotoken train decoder`: a feature store to a model folder, by stages 2 and 3.

Owns its flags and messages; must not know how anything is trained.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geotoken.cli.errors import exit_codes
from geotoken.cli.options import Debug, Json

if TYPE_CHECKING:
    from geotoken.train.plan import Plan

_SOURCES, _SETTINGS, _PLAN = "Sources", "Settings", "Plan"


def _source(flag: str, metavar: str, text: str, shown: str | bool = True) -> Any:
    return typer.Option(flag, metavar=metavar, help=text, show_default=shown, rich_help_panel=_SOURCES)


def _setting(flag: str, metavar: str, text: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=text, rich_help_panel=_SETTINGS)


Store = Annotated[Path, typer.Argument(metavar="STORE", help="Feature store, made by geotoken embed.")]
Out = Annotated[Path, typer.Option("--out", metavar="MODEL", help="Model folder to make.")]
Align = Annotated[
    Path | None, _source("--align", "FOLDER", "Alignment, made by geotoken train align.", "none")
]
Lists = Annotated[
    Path | None,
    _source("--gallery", "FOLDER", "Gallery and neighbor lists; made if absent.", "in MODEL.training"),
]
Model = Annotated[str | None, _source("--model", "MODEL", "Model whose encoder made the store.", "mini")]
Backbone = Annotated[str | None, _source("--backbone", "BACKBONE", "Backbone that made the store.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Settings; the flags below overrule it.",
        show_default="the recipe of configs/compact.toml",
        rich_help_panel=_SETTINGS,
    ),
]
Epochs = Annotated[int | None, _setting("--epochs", "N", "Times that every photo is seen.")]
Steps = Annotated[int | None, _setting("--steps", "N", "Steps of the optimizer, in place of epochs.")]
BatchSize = Annotated[int | None, _setting("--batch-size", "N", "Photos in a step, of all processes.")]
MicroBatch = Annotated[int | None, _setting("--micro-batch", "N", "Photos computed at once in a process.")]
LearningRate = Annotated[float | None, _setting("--learning-rate", "RATE", "Highest learning rate.")]
Precision = Annotated[str | None, _setting("--precision", "NAME", "32-true or bf16-mixed.")]
Accelerator = Annotated[str | None, _setting("--accelerator", "NAME", "auto, cpu or gpu.")]
Seed = Annotated[int | None, _setting("--seed", "N", "Seed of weights, order and dropout.")]
Resume = Annotated[
    bool, typer.Option("--resume", metavar="", help="Go on where the same command was stopped.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", metavar="", help="Print what it would take; train nothing.", rich_help_panel=_PLAN
    ),
]
MachineTflops = Annotated[
    float | None,
    typer.Option(
        "--machine-tflops",
        metavar="X",
        help="Matrix products of this machine, 10^12 operations a second, for --dry-run.",
        show_default="measured",
        rich_help_panel=_PLAN,
    ),
]


def decoder(
    store: Store,
    out: Out,
    align: Align = None,
    gallery: Lists = None,
    model: Model = None,
    backbone: Backbone = None,
    config: Config = None,
    epochs: Epochs = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    micro_batch: MicroBatch = None,
    learning_rate: LearningRate = None,
    precision: Precision = None,
    accelerator: Accelerator = None,
    seed: Seed = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    machine_tflops: MachineTflops = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the transformer on a feature store: find each photo's neighbors, train, write a model folder.

    The folder opens with geotoken locate --model; its card says what was measured. Checkpoints and log.csv
    lie in MODEL.training. On several GPUs: torchrun --nproc-per-node N -m geotoken train decoder ...
    """
    with exit_codes(debug):
        from geotoken.cli.terminal import ProgressBar
        from geotoken.cli.train_progress import check_whole, print_trained, training_progress
        from geotoken.train.recipe import Sources, find_lists, open_sources, plan_decoder, train_decoder

        sources = Sources(store=store, out=out, align=align, gallery=gallery, model=model, backbone=backbone)
        loop = {
            "epochs": epochs,
            "steps": steps,
            "batch_size": batch_size,
            "micro_batch": micro_batch,
            "learning_rate": learning_rate,
            "precision": precision,
            "accelerator": accelerator,
            "seed": seed,
        }
        opened = open_sources(sources, config, {"loop": loop})
        if dry_run:
            _print_plan(plan_decoder(opened, machine_tflops=machine_tflops), json)
            return
        with ProgressBar("Neighbors") as bar:
            lists = find_lists(sources, opened, on_list=bar.set)
        with training_progress() as show:
            outcome, artifact = train_decoder(sources, opened, lists, resume=resume, on_step=show)
        check_whole(outcome)
        if artifact is not None:
            print_trained(outcome, f"model {artifact.folder}", artifact.folder, json)


def _print_plan(plan: "Plan", json: bool) -> None:
    from geotoken import words
    from geotoken.cli.terminal import print_facts, print_json
    from geotoken.train.plan import H100_TFLOPS

    if json:
        print_json(plan.to_json())
        return
    for name, shape in plan.shapes.items():
        print(f"{name:<16} {' x '.join(map(str, shape))}")
    how = "measured" if plan.machine_measured else "given"
    share = f"{plan.utilization:.0%}"
    print_facts(
        {
            "parameters": f"{plan.num_parameters:,}",
            "memory": f"{words.size(plan.bytes_total)}: weights {words.size(plan.bytes_weights)}, gradients "
            f"{words.size(plan.bytes_gradients)}, optimizer {words.size(plan.bytes_optimizer)}, "
            f"activations of a micro-batch about {words.size(plan.bytes_activations)}",
            "operations": f"{plan.flops_step:.3g} a step, forward and backward",
            "steps": f"{plan.num_steps:,}, of {plan.num_rows:,} photos",
            "this machine": f"about {_hours(plan.machine_hours)}, at {share} of "
            f"{plan.machine_tflops:.3g} TFLOP/s ({how})",
            "one H100": f"about {_hours(plan.h100_hours)}, at {share} of {H100_TFLOPS:g} TFLOP/s (bfloat16)",
        }
    )


def _hours(hours: float) -> str:
    return f"{60 * hours:.1f} minutes" if hours < 1 else f"{hours:,.1f} hours"
