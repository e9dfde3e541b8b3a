"""What changes in the course of training: weights, their running mean, optimizer, step, best validation.

Owns this state on the device and in checkpoints, through Lightning Fabric; must not know losses.
"""

import dataclasses
import logging
import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from geotoken.errors import ArtifactError, ConfigError, InputError, reason_of
from geotoken.train.checkpoint import (
    BEST_FILE,
    LAST_FILE,
    check_same,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from geotoken.train.config import LoopConfig

FREE: Final = ("accelerator", "micro_batch", "save_every", "log_every")
"""Settings of the loop that may differ when a run is resumed: they change no result."""

Weights = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True, slots=True)
class Best:
    """The best validation so far."""

    step: int
    """Steps done then."""
    figures: dict[str, float]
    """Its figures by name; "loss" among them."""

    @property
    def loss(self) -> float:
        """The figure that early stopping watches."""
        return self.figures.get("loss", math.inf)


class Run:
    """The state of a run, in each of its processes."""

    def __init__(
        self,
        name: str,
        module: nn.Module,
        num_rows: int,
        config: LoopConfig,
        folder: Path,
        settings: dict[str, Any],
    ) -> None:
        """Begin a run with the module's present weights.

        Args:
            name: Name of the stage.
            module: The network; moved to the device.
            num_rows: Training rows, >= 1.
            config: Settings of the loop.
            folder: Where checkpoints go.
            settings: What else must be equal to resume, by name.

        Raises:
            InputError: There is no row to train on.
            ConfigError: The batch cannot be divided among the processes.
        """
        if num_rows < 1:
            raise InputError(
                f"stage {name} has no row to train on; give more photos or a smaller validation share"
            )
        self.config = config
        self.num_rows = num_rows
        self.step = 0
        self.best = Best(0, {})
        self.gradient_norm = torch.zeros(())  # read only where it is logged
        self._folder = folder
        self._stale = 0  # validations since the best one
        loop = {n: v for n, v in dataclasses.asdict(config).items() if n not in FREE}
        self._settings = {"stage": name, "num_rows": num_rows, **loop, **settings}
        self._fabric = _fabric(config)
        if config.batch_size % self._fabric.world_size:
            raise ConfigError(
                f"batch_size {config.batch_size} cannot be divided among {self._fabric.world_size} "
                "processes; give a multiple"
            )
        self._module = module
        optimizer = torch.optim.AdamW(
            module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._average = AveragedModel(module, multi_avg_fn=_average(config)) if config.ema_decay else None
        self.wrapped, self._optimizer = self._fabric.setup(module, optimizer)
        if self._average is not None:
            self._average.to(self.device)

    @property
    def rank(self) -> int:
        """Number of this process."""
        return self._fabric.global_rank

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self._fabric.is_global_zero

    @property
    def num_processes(self) -> int:
        """Processes that share each batch."""
        return self._fabric.world_size

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._fabric.device

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every row is seen about once, >= 1."""
        return max(1, round(self.num_rows / self.config.batch_size))

    @property
    def num_steps(self) -> int:
        """Steps in all."""
        return self.config.num_steps(self.num_rows)

    @property
    def validate_every(self) -> int:
        """Steps between validations."""
        return self.config.validate_every or self.steps_per_epoch

    @property
    def epoch(self) -> float:
        """Times that every row was seen."""
        return round(self.step * self.config.batch_size / self.num_rows, 4)

    @property
    def exhausted(self) -> bool:
        """Whether too many validations brought nothing better."""
        return 0 < self.config.patience <= self._stale

    @property
    def learning_rate(self) -> float:
        """Learning rate of the last step."""
        return learning_rate(self.config, max(self.step - 1, 0), self.num_steps, self.num_rows)

    def begin_step(self) -> None:
        """Prepare a step of the optimizer."""
        self.wrapped.train()
        rate = learning_rate(self.config, self.step, self.num_steps, self.num_rows)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()

    def accumulating(self, *, enabled: bool) -> AbstractContextManager[Any]:
        """While more of the same step follows, processes need not exchange gradients."""
        return self._fabric.no_backward_sync(self.wrapped, enabled=enabled and self.num_processes > 1)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a part of the batch, shape ()."""
        self._fabric.backward(loss)

    def end_step(self) -> None:
        """Clip, step, and bring the running mean up to date."""
        norm = self.config.clip_norm or math.inf
        gradient = self._fabric.clip_gradients(
            self.wrapped, self._optimizer, max_norm=norm, error_if_nonfinite=False
        )
        self.gradient_norm = torch.zeros(()) if gradient is None else gradient.detach()
        self._optimizer.step()
        if self._average is not None:
            self._average.update_parameters(self._module)
        self.step += 1

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes, shape as given."""
        reduced = self._fabric.all_reduce(values, reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return reduced

    def in_any(self, flag: bool) -> bool:
        """Whether the flag is set in some process."""
        if self.num_processes == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def judge(self, validate: Callable[[nn.Module], dict[str, float]]) -> dict[str, float]:
        """Validate the weights that would be published, in the first process."""
        module = self._published().eval()
        figures: dict[str, float] = {}
        if self.is_first:
            with torch.no_grad():
                figures = {name: float(value) for name, value in validate(module).items()}
        return dict(self._fabric.broadcast(figures))

    def note(self, validated: Best) -> bool:
        """Remember a validation if it is the best.

        Args:
            validated: The validation.

        Returns:
            Whether it is.
        """
        better = validated.loss < self.best.loss or math.isnan(self.best.loss) or not self.best.figures
        self._stale = 0 if better else self._stale + 1
        if better:
            self.best = validated
        return better

    def save(self) -> None:
        """Write the checkpoint to resume from."""
        self._write(LAST_FILE)

    def save_best(self) -> None:
        """Write the checkpoint of the best validation."""
        self._write(BEST_FILE)

    def restore(self) -> None:
        """Go on from the last checkpoint, if there is one.

        Raises:
            ArtifactError: It cannot be read, or does not fit the network.
            InputError: The settings differ.
        """
        path = self._folder / LAST_FILE
        if not path.exists():
            return
        state = load_checkpoint(path)
        check_same(path, state["settings"], self._settings)
        try:
            self._module.load_state_dict(state["module"])
            self._optimizer.load_state_dict(state["optimizer"])
            if self._average is not None:
                self._average.load_state_dict(state["average"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise ArtifactError(
                f"{path} does not fit the network ({reason_of(error)[:200]}); train in another folder"
            ) from error
        restore_random_state(state["random"])
        self.step, self._stale = state["step"], state["stale"]
        self.best = Best(state["best"]["step"], dict(state["best"]["figures"]))

    def load_best(self) -> None:
        """Bring the module to the best weights, on the CPU.

        Raises:
            ArtifactError: The checkpoint is missing or damaged.
        """
        self._fabric.barrier()
        state = load_checkpoint(self._folder / BEST_FILE)
        self._module.cpu()
        self._module.load_state_dict(state["published"])
        self._module.eval()

    def _published(self) -> nn.Module:
        return self._module if self._average is None else self._average.module

    def _write(self, name: str) -> None:
        if not self.is_first:
            return
        state = {
            "settings": self._settings,
            "step": self.step,
            "stale": self._stale,
            "best": {"step": self.best.step, "figures": self.best.figures},
            "module": self._module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "random": random_state(),
        }
        if name == BEST_FILE:
            state["published"] = self._published().state_dict()
        save_checkpoint(self._folder / name, state)


def learning_rate(config: LoopConfig, step: int, num_steps: int, num_rows: int) -> float:
    """Learning rate of a step.

    Args:
        config: Settings of the loop.
        step: Number of the step, from 0.
        num_steps: Steps in all.
        num_rows: Training rows, of which epochs are counted.

    Returns:
        The rate.
    """
    warmup_steps = min(config.warmup_steps, num_steps // 5)
    if step < warmup_steps:
        return config.learning_rate * (step + 1) / warmup_steps
    if config.schedule == "cosine":
        done = (step - warmup_steps) / max(1, num_steps - warmup_steps)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if config.schedule == "exponential":
        return float(config.learning_rate * config.decay ** (step * config.batch_size // num_rows))
    return config.learning_rate


def _average(config: LoopConfig) -> Callable[[Weights, Weights, Tensor | int], None]:
    """How the running mean takes in new weights: quicker at first, when it knows few."""

    def update(average: Weights, now: Weights, num_averaged: Tensor | int) -> None:
        count = int(num_averaged)
        kept = min(config.ema_decay, (1 + count) / (10 + count))
        torch._foreach_lerp_(average, now, 1 - kept)

    return update


def _fabric(config: LoopConfig) -> Fabric:
    """Fabric for this process: alone, or one of those that torchrun started.

    Raises:
        ConfigError: A GPU is asked for and there is none.
    """
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    num_local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    accelerator = "cuda" if config.accelerator == "gpu" else config.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("accelerator is gpu, but PyTorch sees no GPU; give cpu or auto")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells what was asked for
    fabric = Fabric(
        accelerator=accelerator,
        strategy="ddp" if num_processes > 1 else "auto",
        devices=num_local,
        num_nodes=max(1, num_processes // num_local),
        precision=config.precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric
