"""How far a training is, on stderr: for every stage the same.

Owns the progress bar and what is said of an interrupt; must not know any stage.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from geotoken.cli.errors import Terminated

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
