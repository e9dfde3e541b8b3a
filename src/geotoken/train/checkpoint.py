"""The state of a run on disk: written whole, read without running code, compared before it is used.

Owns the files; must not know what a step does.
"""

import pickle
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from geotoken.errors import ArtifactError, InputError, reason_of
from geotoken.files import replacing

FORMAT: Final = 1
"""Version of the layout of a checkpoint."""
LAST_FILE: Final = "last.ckpt"
"""The newest state, to resume from."""
BEST_FILE: Final = "best.ckpt"
"""The state of the lowest validation loss."""


def training_folder(out: Path) -> Path:
    """Where what is needed to resume lies, for every stage.

    Args:
        out: The folder that a training makes.

    Returns:
        OUT.training, beside it.
    """
    whole = out.resolve()
    return whole.with_name(whole.name + ".training")


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state; the old file stays until the new one is whole.

    Args:
        path: The file.
        state: Tensors, numbers, texts, and lists, tuples and dictionaries of them.

    Raises:
        OSError: It cannot be written.
        RuntimeError: PyTorch cannot do so for another reason.
    """
    with replacing(path) as beside, beside.open("wb") as file:
        try:
            torch.save({"format": FORMAT, **state}, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # which it hides, as on a full disk
                raise error.__context__ from None
            raise


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a state written by `save_checkpoint`; nothing in the file is run.

    Args:
        path: The file.

    Returns:
        The state, on the CPU.

    Raises:
        ArtifactError: The file is missing, damaged or of another format.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ArtifactError(
            f"{path} cannot be read as a checkpoint ({reason_of(error)[:200]}); "
            "remove it and train again, or take the other checkpoint in its place"
        ) from error
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise ArtifactError(f"{path} is a checkpoint of format {found}; this version reads format {FORMAT}")
    return dict(state)


def check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume a run with other settings.

    Args:
        path: The checkpoint, for the message.
        before: Settings of the run by name.
        now: Settings given now.

    Raises:
        InputError: Two differ; the message names all that do.
    """
    different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if different:
        pairs = ", ".join(f"{name} {before.get(name)!r} (now {now.get(name)!r})" for name in different)
        raise InputError(
            f"{path} was trained with {pairs}; resume with the same settings, or train in another folder"
        )


def random_state() -> dict[str, Any]:
    """States of the generators of Python, NumPy and PyTorch, as a checkpoint holds them."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Bring the generators to a saved state.

    Args:
        state: What `random_state` returned.
    """
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
