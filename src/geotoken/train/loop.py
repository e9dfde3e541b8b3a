"""The training loop of every stage, on one device or many: steps, validation, checkpoints, resuming.

Owns when what happens; must not know what is trained on what.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from geotoken.errors import ArtifactError, GeoTokenError, InputError
from geotoken.train.checkpoint import LAST_FILE
from geotoken.train.config import LoopConfig
from geotoken.train.draws import Draws, Ints, rows_at
from geotoken.train.log import Log
from geotoken.train.run import Best, Run


class Stage(Protocol):
    """What is trained: a network, its loss over rows, and how it is validated.

    A stage may have a method `announce(rows, rng)`, too: it is told of the rows whose loss is asked for after
    the next ones, with the same `rng`, and may prepare them meanwhile.
    """

    @property
    def name(self) -> str:
        """Name of the stage: align, decoder or reward."""
        ...

    @property
    def module(self) -> nn.Module:
        """The network."""
        ...

    @property
    def num_rows(self) -> int:
        """Training rows N."""
        ...

    def loss(self, module: nn.Module, rows: Ints, rng: Draws) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the loss of some rows.

        Args:
            module: The network, wrapped for training; call it as a function, not by its other methods.
            rows: Numbers of training rows, shape (B,), each 0..N - 1.
            rng: The randomness of these positions of the batch; its `by_row` numbers do not depend on how
                the batch is divided.

        Returns:
            The mean loss of the rows, shape (), and what else to log: means over the rows, as numbers or, not
            to wait for a GPU, as tensors of shape ().
        """
        ...

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Judge the network on rows that are not trained on.

        Args:
            module: The network by which to judge, in evaluation mode and without gradients.

        Returns:
            Figures by name; "loss" is the one that early stopping watches.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """How far a run is."""

    step: int
    """Steps done."""
    num_steps: int
    """Steps in all."""
    loss: float
    """Loss of the last logged step."""
    rows_per_s: float
    """Training rows a second since this process began, of all processes together."""
    validation: float
    """Lowest validation loss so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended."""

    step: int
    """Steps done."""
    num_steps: int
    """Steps planned."""
    best_step: int
    """Step of the lowest validation loss."""
    best: dict[str, float]
    """Figures of that validation."""
    signal: int
    """Number of the signal that ended it before its time, after which it can be resumed; 0 if none did."""
    rows_per_s: float
    """Training rows a second of all processes together, without validation; 0 if no step was done."""

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended the run before its time."""
        return self.signal > 0


def fit(
    stage: Stage,
    config: LoopConfig,
    folder: Path,
    *,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> Outcome:
    """Train a stage; at the end its module holds the best weights on the CPU.

    Started by `torchrun`, each process computes its share of every batch. An interrupt (Ctrl-C, SIGTERM) ends
    the run after the current step, with a checkpoint to resume from.

    Args:
        stage: What is trained.
        config: How it is trained.
        folder: Where checkpoints and log.csv are kept; made if absent.
        resume: Whether to go on from the checkpoint in the folder, if there is one.
        settings: What else must be equal to resume, by name.
        on_step: Called after each logged step, in the first process.

    Returns:
        How the run ended.

    Raises:
        InputError: The folder holds a run and `resume` is not set, or its settings differ.
        ArtifactError: The checkpoint cannot be read, or the folder cannot be written.
        ConfigError: The batch cannot be divided among the processes.
        GeoTokenError: The loss is not finite.
    """
    try:
        return _fit(stage, config, folder, resume=resume, settings=settings, on_step=on_step)
    except OSError as error:
        raise ArtifactError(
            f"{folder} cannot be written ({error.strerror or error}); check space and permissions, then go "
            "on with --resume"
        ) from error


def check_new(folder: Path, *, resume: bool) -> None:
    """Refuse to begin a run where there is one; ask this before long work.

    Args:
        folder: Where checkpoints shall be kept.
        resume: Whether a run that is there goes on.

    Raises:
        InputError: The folder holds a run and `resume` is not set.
    """
    if not resume and (folder / LAST_FILE).exists():
        raise InputError(
            f"{folder} holds a training run; give --resume to go on with it, or remove it to train anew"
        )


def _fit(
    stage: Stage,
    config: LoopConfig,
    folder: Path,
    *,
    resume: bool,
    settings: Mapping[str, Any] | None,
    on_step: Callable[[StepReport], None] | None,
) -> Outcome:
    """Train a stage."""
    check_new(folder, resume=resume)
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(stage.name, stage.module, stage.num_rows, config, folder, dict(settings or {}))
    if resume:
        run.restore()
    log = Log(folder, run.step) if run.is_first else None
    try:
        with _signals() as stopped:
            outcome = _train(stage, run, log, stopped, on_step)
    finally:
        if log is not None:
            log.close()
    run.load_best()
    return outcome


def _train(
    stage: Stage,
    run: Run,
    log: Log | None,
    stopped: "_Interrupt",
    on_step: Callable[[StepReport], None] | None,
) -> Outcome:
    """Do the steps that are left."""
    config = run.config
    first, seconds, saved = run.step, 0.0, run.step
    if run.step == 0:
        _validate(stage, run, log)
        run.save()
    parts = _Parts(stage, run)
    while run.step < run.num_steps and not run.exhausted:
        began = time.perf_counter()
        loss, others = _step(stage, run, parts)
        logged = run.step % config.log_every == 0 or run.step == run.num_steps
        figures = _figures(run, loss, others) if logged else {}
        seconds += time.perf_counter() - began
        rows_per_s = (run.step - first) * config.batch_size / seconds
        if logged and log is not None:
            log.write({**figures, "rows_per_s": round(rows_per_s, 1)})
            if on_step is not None:
                on_step(
                    StepReport(
                        step=run.step,
                        num_steps=run.num_steps,
                        loss=figures["loss"],
                        rows_per_s=rows_per_s,
                        validation=run.best.loss,
                    )
                )
        validated = run.step % run.validate_every == 0 or run.step == run.num_steps
        if validated:
            _validate(stage, run, log)
        if validated or (config.save_every and run.step % config.save_every == 0):
            run.save()
            saved = run.step
        if (logged or run.num_processes == 1) and run.in_any(stopped.number > 0):
            stopped.number = stopped.number or signal.SIGTERM  # another process was told
            break
    if saved < run.step:
        run.save()
    return Outcome(
        step=run.step,
        num_steps=run.num_steps,
        best_step=run.best.step,
        best=run.best.figures,
        signal=stopped.number if run.step < run.num_steps and not run.exhausted else 0,
        rows_per_s=(run.step - first) * config.batch_size / seconds if seconds else 0.0,
    )


class _Parts:
    """The micro-batches of this process from a step on; a stage that can prepare them hears of each early."""

    def __init__(self, stage: Stage, run: Run) -> None:
        self._stage, self._run = stage, run
        self._share = run.config.batch_size // run.num_processes
        self._position = run.step * self._share  # in the sequence of this process's rows
        self._ahead = self._next()

    def take(self) -> tuple[Ints, Draws]:
        """Rows and randomness of the next one."""
        part, self._ahead = self._ahead, self._next()
        assert part is not None
        return part

    def _next(self) -> tuple[Ints, Draws] | None:
        config = self._run.config
        step, done = divmod(self._position, self._share)
        if step >= self._run.num_steps:
            return None
        first = self._run.rank * self._share + done
        count = min(config.micro_batch or self._share, self._share - done)
        self._position += count
        rows = rows_at(step * config.batch_size + first, count, self._stage.num_rows, config.seed)
        draws = Draws(config.seed, step, first, count)
        announce = getattr(self._stage, "announce", None)
        if announce is not None:
            announce(rows, draws)
        return rows, draws


def _step(stage: Stage, run: Run, parts: _Parts) -> tuple[Tensor, dict[str, float | Tensor]]:
    """One step of the optimizer: the mean loss of this process's share, and what else to log."""
    share = run.config.batch_size // run.num_processes
    run.begin_step()
    total = torch.zeros((), device=run.device)
    others: dict[str, float | Tensor] = {}
    done = 0
    while done < share:
        rows, draws = parts.take()
        done += len(rows)
        part = len(rows) / share
        torch.manual_seed(draws.torch_seed)
        with run.accumulating(enabled=done < share):
            loss, logged = stage.loss(run.wrapped, rows, draws)
            run.backward(loss * part)
        total += loss.detach() * part
        for name, value in logged.items():
            value = value.detach() if isinstance(value, Tensor) else value
            others[name] = others.get(name, 0.0) + value * part
    run.end_step()
    return total, others


def _figures(run: Run, loss: Tensor, others: Mapping[str, float | Tensor]) -> dict[str, float | int]:
    """The line of a step: means over all processes.

    Raises:
        GeoTokenError: The loss is not finite.
    """
    values = torch.tensor([float(loss), *map(float, others.values())], dtype=torch.float64, device=run.device)
    mean = run.mean(values).tolist()
    if not all(map(math.isfinite, mean)):
        raise GeoTokenError(
            f"the loss of step {run.step} is {mean[0]}; lower learning_rate, raise warmup_steps, or set "
            "clip_norm, and train anew or resume from the last checkpoint"
        )
    line: dict[str, float | int] = {"step": run.step, "epoch": run.epoch, "loss": mean[0]}
    line |= dict(zip(others, mean[1:], strict=True))
    return {**line, "learning_rate": run.learning_rate, "gradient_norm": float(run.gradient_norm)}


def _validate(stage: Stage, run: Run, log: Log | None) -> None:
    """Judge the weights that would be published, and keep them if they are the best."""
    figures = run.judge(stage.validate)
    if run.note(Best(run.step, figures)):
        run.save_best()
    if log is not None:
        log.write({"step": run.step, **{f"validation_{name}": value for name, value in figures.items()}})


class _Interrupt:
    """The signal that came, if one did."""

    number = 0


@contextmanager
def _signals() -> Iterator[_Interrupt]:
    """Note an interrupt, to end after the current step; a second one ends at once."""
    stopped = _Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def note(number: int, frame: Any) -> None:
        if stopped.number:
            raise KeyboardInterrupt
        stopped.number = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
