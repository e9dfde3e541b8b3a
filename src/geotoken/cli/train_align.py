"""`geotoken train align`: stage 1, from a feature store to an alignment.

Owns its flags and messages; must not know what is learnt, or how.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geotoken.cli.errors import exit_codes
from geotoken.cli.options import Debug, Json, Offline

if TYPE_CHECKING:
    from geotoken.train.align_run import AlignPlan
    from geotoken.train.loop import Outcome


def align(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The feature store, from geotoken embed.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="The alignment to make; checkpoints and log.csv lie in FOLDER.training.",
        ),
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE.toml",
            help="Settings in sections network, align and loop; see configs/align.toml.",
            show_default="those of configs/align.toml",
        ),
    ] = None,
    geoclip: Annotated[
        Path | None,
        typer.Option(
            "--geoclip",
            metavar="WHEEL",
            help="Begin with GeoCLIP's location encoder: the wheel of its package, or its folder.",
        ),
    ] = None,
    text_encoder: Annotated[
        str | None,
        typer.Option(
            "--text-encoder",
            metavar="FOLDER|ID",
            help="Frozen text encoder in the hub's format, such as CLIP's, in place of one learnt here.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", help="Times every photo is seen.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", help="Steps of the optimizer, in place of epochs.")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", help="Photos in a step, of all processes together."),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", metavar="X", help="Highest learning rate of AdamW.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Fixes every random draw.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", metavar="", help="Go on where the same command was stopped.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", metavar="", help="Train nothing; tell sizes, and the time it would take here."
        ),
    ] = False,
    offline: Offline = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Stage 1: photos, places and names of places learn to share a space. Needs the extra train.

    The result turns the vector of a photo into one to compare with places, and one to compare with texts.
    """
    with exit_codes(debug):
        from geotoken.cli.terminal import ProgressBar
        from geotoken.cli.train_progress import check_whole, training_progress
        from geotoken.train.align_run import check_out, plan, prepare, train_align
        from geotoken.train.losses import process_number

        loop: dict[str, Any] = {"epochs": epochs, "steps": steps, "batch_size": batch_size, "seed": seed}
        loop["learning_rate"] = learning_rate
        if not dry_run:
            check_out(out, resume=resume)
        with ProgressBar("Naming places") as bar:
            stage, settings = prepare(
                store,
                config,
                flags={"loop": loop},
                geoclip=geoclip,
                text_encoder=text_encoder,
                offline=offline,
                progress=bar.set,
            )
        if dry_run:
            _print_plan(plan(stage, settings), json)
            return
        with training_progress() as show:
            outcome = train_align(stage, settings, out, resume=resume, on_step=show)
        check_whole(outcome)
        if process_number() == 0:
            _print_outcome(outcome, out, json)


def _print_outcome(outcome: "Outcome", out: Path, as_json: bool) -> None:
    from geotoken.cli.terminal import print_facts, print_json

    facts: dict[str, Any] = {
        "folder": str(out),
        "steps": outcome.step,
        "best_step": outcome.best_step,
        "rows_per_s": round(outcome.rows_per_s, 1),
        "validation": outcome.best,
    }
    if as_json:
        print_json(facts)
        return
    best = outcome.best
    print_facts(
        {
            "alignment": str(out),
            "best step": f"{outcome.best_step} of {outcome.step}, validation loss {best['loss']:.3f}",
            "rank of the true place": f"{best['median_rank']:,.0f} in the median, of held-out photos",
            "nearest place": f"{best['median_error_km']:,.0f} km off in the median, "
            f"{best['acc_at_25km']:.1f} % within 25 km, {best['acc_at_200km']:.1f} % within 200 km",
        }
    )


def _print_plan(plan: "AlignPlan", as_json: bool) -> None:
    import dataclasses

    from geotoken import words
    from geotoken.cli.terminal import print_facts, print_json

    if as_json:
        print_json({**dataclasses.asdict(plan), "hours": plan.hours})
        return
    parts = ", ".join(f"{name} {count:,}" for name, count in plan.num_parameters.items())
    print_facts(
        {
            "photos": f"{plan.num_rows:,} to train on, {plan.num_validation_rows:,} to validate with",
            "texts": f"{plan.num_texts:,} distinct",
            "numbers learnt": f"{sum(plan.num_parameters.values()):,} ({parts})",
            "memory": f"{words.size(plan.state_bytes)} for weights and optimizer, without activations",
            "one step": f"{plan.flops_per_step / 1e9:,.1f} GFLOP, {plan.seconds_per_step:.3f} s here",
            "all of it": f"{plan.num_steps:,} steps, {plan.hours:.2f} hours here, without validation",
        }
    )
