"""How far a training is, on stderr, and how it ended.

Owns the progress bar and what is said of an interrupt and of the end; must not know any stage.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from geotoken import words
from geotoken.cli.errors import Terminated
from geotoken.cli.terminal import print_json

if TYPE_CHECKING:
    from geotoken.train.loop import Outcome, StepReport


@contextmanager
def training_progress() -> "Iterator[Callable[[StepReport], None] | None]":
    """Show step, loss, best validation, rows a second and the time that is left, where stderr is a terminal.

    Yields:
        What the training loop calls after each logged step; None in all but the first process of torchrun.
    """
    console = Console(stderr=True)
    if not console.is_terminal or os.environ.get("RANK", "0") != "0":
        yield None
        return
    progress = Progress(
        TextColumn("Training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}, best validation {task.fields[validation]:.3f}"),
        TextColumn("{task.fields[speed]:,.0f} rows/s"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = progress.add_task("", total=None, visible=False, loss=0.0, validation=0.0, speed=0.0)

    def show(report: "StepReport") -> None:
        progress.update(
            task,
            completed=report.step,
            total=report.num_steps,
            visible=True,
            loss=report.loss,
            validation=report.validation,
            speed=report.rows_per_s,
        )

    with progress:
        yield show


def check_whole(outcome: "Outcome") -> None:
    """End the command as the signal asked that ended its training.

    Args:
        outcome: How the training ended.

    Raises:
        KeyboardInterrupt: It was interrupted; the line that says how to go on was printed.
    """
    if not outcome.interrupted:
        return
    if os.environ.get("RANK", "0") == "0":
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"stopped after step {outcome.step:,} of {outcome.num_steps:,}; go on with the same command and "
            "--resume"
        )
    raise Terminated if outcome.signal == signal.SIGTERM else KeyboardInterrupt


def print_trained(outcome: "Outcome", what: str, folder: Path, json: bool) -> None:
    """Say what was made, and how good it was in its best validation.

    Args:
        outcome: How the training ended.
        what: What was made, as in "model FOLDER".
        folder: The model folder.
        json: Whether to print JSON.
    """
    if json:
        facts = {"steps": outcome.step, "best_step": outcome.best_step, "rows_per_s": outcome.rows_per_s}
        print_json({"folder": str(folder), **facts, "validation": outcome.best})
        return
    figures = ", ".join(f"{name} {value:.3g}" for name, value in outcome.best.items())
    print(words.printable(f"{what}, step {outcome.best_step:,} of {outcome.step:,}: {figures}"))
