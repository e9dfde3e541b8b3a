"""Configurations of the parts of a model as JSON files.

Owns how a dataclass is written, and what is said of a file that holds none; must not know any of them.
"""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geotoken.errors import ArtifactError, ConfigError
from geotoken.files import write_whole


def write_config(path: Path, config: Any) -> None:
    """Write a configuration as JSON; the file appears whole or not at all.

    Args:
        path: The file.
        config: The dataclass instance.

    Raises:
        OSError: It cannot be written.
    """
    write_whole(path, (json.dumps(dataclasses.asdict(config), indent=1) + "\n").encode())


@contextmanager
def reading_config(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Name the file in whatever goes wrong while it is read and its entries are taken.

    Args:
        path: The file.
        what: What it should hold, as in "the configuration of a transformer".
        remedy: What to do where it does not, as the end of a message.

    Raises:
        ArtifactError: It is missing, is no JSON, or has missing, unknown or impossible entries.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, ConfigError) as error:
        raise ArtifactError(f"{path} does not hold {what} ({error}); {remedy}") from error
