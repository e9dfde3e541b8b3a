"""What a run reports: one line a logged step in log.csv, and the same to TensorBoard where it is installed.

Owns the table; must not know what its columns mean.
"""

import csv
import io
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from geotoken.errors import ArtifactError, reason_of
from geotoken.files import write_whole

LOG_FILE: Final = "log.csv"
"""The table, beside the checkpoints."""


class Log:
    """A growing table of a run; a new column appears with its first value."""

    def __init__(self, folder: Path, last_step: int) -> None:
        """Continue the table of a run, or begin one.

        Args:
            folder: Folder of the run.
            last_step: Lines of later steps are of work that was lost, and are left out.

        Raises:
            ArtifactError: The table that is there cannot be read.
        """
        self._path = folder / LOG_FILE
        self._rows = [row for row in read_log(folder) if int(row["step"]) <= last_step] if last_step else []
        self._columns = list(self._rows[0]) if self._rows else []
        if self._rows or self._path.exists():
            self._rewrite()
        self._board = _board(folder)

    def write(self, row: Mapping[str, float | int]) -> None:
        """Add a line.

        Args:
            row: Values by column; "step" is one of them.
        """
        texts = {name: str(value) for name, value in row.items()}
        self._rows.append(texts)
        new = [name for name in texts if name not in self._columns]
        if new:
            self._columns += new
            self._rewrite()
        else:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self._columns, lineterminator="\n").writerow(texts)
        if self._board is not None:
            for name, value in row.items():
                if name != "step":
                    self._board.add_scalar(name, value, int(row["step"]))

    def close(self) -> None:
        """End the report to TensorBoard."""
        if self._board is not None:
            self._board.close()

    def _rewrite(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, lineterminator="\n", restval="")
        if self._columns:
            writer.writeheader()
        writer.writerows(self._rows)
        write_whole(self._path, text.getvalue().encode())


def read_log(folder: Path) -> list[dict[str, str]]:
    """Read the table of a run.

    Args:
        folder: Folder of the run.

    Returns:
        Its lines by column, as text; empty where a line has no value. No lines if there is no table.

    Raises:
        ArtifactError: It cannot be read.
    """
    path = folder / LOG_FILE
    try:
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if None not in row.values()]
        for row in rows:
            int(row["step"])
        return rows
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise ArtifactError(f"{path} cannot be read ({reason_of(error)}); move it away") from error


def _board(folder: Path) -> Any:
    """A writer of TensorBoard's files, where it is installed."""
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))
