"""Tables of other people: delimited text whose columns have one of many names.

Owns the names that are understood; must not know what the tables are used for.
"""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from geotoken.errors import InputError, reason_of
from geotoken.files import check_regular

IMAGE_NAMES: Final = (
    *("image", "img_id", "image_id", "id", "filename", "file_name", "file", "img", "img_path", "image_path"),
    *("path", "photo", "photo_id", "pano_id", "panoid", "name"),
)
OWNER_NAMES: Final = (
    "owner",
    "author",
    "user",
    "user_id",
    "nsid",
    "photographer",
    "creator_username",
    "creator",
)
_LAT, _LNG = ("lat", "latitude"), ("lng", "lon", "long", "longitude")
_TRUE, _PREDICTED = ("true", "gt", "truth", "gold"), ("pred", "predicted", "prediction", "answer")
_FLICKR_OWNER = re.compile(r"_(\d+@N\d\d)(?:\.\w+)?$")


def _with(parts: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{a}_{b}" for part in parts for name in names for a, b in ((part, name), (name, part)))


TRUE_NAMES: Final = (_with(_TRUE, _LAT), _with(_TRUE, _LNG))
"""Names of the true latitude and longitude in a table that also has answers."""
TRUTH_NAMES: Final = (TRUE_NAMES[0] + _LAT, TRUE_NAMES[1] + _LNG)
"""Names of latitude and longitude in a table of truths, those preferred first."""
ANSWER_NAMES: Final = (_with(_PREDICTED, _LAT) + _LAT, _with(_PREDICTED, _LNG) + _LNG)
"""Names of latitude and longitude in a table of answers, those preferred first."""

Texts = dict[str, str]


def read_table(path: Path, what: str) -> tuple[list[str], list[Texts]]:
    """Read delimited text with a header: commas, semicolons or tabs.

    Args:
        path: The file, UTF-8.
        what: What it is, for messages.

    Returns:
        Names of the columns as written, and rows; a row that is short has empty texts.

    Raises:
        InputError: If it cannot be read or has no rows.
    """
    try:
        check_regular(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=header.count)
            reader = csv.DictReader(file, delimiter=delimiter, restval="")
            columns = list(reader.fieldnames or [])
            rows = [{name: text for name, text in row.items() if name is not None} for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{what} {path} cannot be read ({reason_of(error)}); give a CSV file") from error
    if not rows:
        raise InputError(f"{what} {path} has no rows; give a CSV file with a header and a row a photo")
    return columns, rows


def find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """The column that has one of some names; case, spaces and hyphens do not matter.

    Args:
        columns: Names as written.
        names: Names that are understood, those preferred first.

    Returns:
        The name as written, or None.
    """
    written = {re.sub(r"[\s-]+", "_", name.strip().lower()): name for name in reversed(columns)}
    return next((written[name] for name in names if name in written), None)


def need_column(columns: Sequence[str], names: Sequence[str], what: str) -> str:
    """Like `find_column`, for a column that must be there.

    Args:
        columns: Names as written.
        names: Names that are understood, those preferred first.
        what: What the table is, for the message.

    Returns:
        The name as written.

    Raises:
        InputError: If it is not there.
    """
    found = find_column(columns, names)
    if found is None:
        few = ", ".join(columns[:8])
        raise InputError(f"{what} has the columns {few}; it needs one named {' or '.join(names[-4:])}")
    return found


def number_of(text: str | None) -> float | None:
    """A number in a table.

    Args:
        text: As written.

    Returns:
        The number; None where the text is empty or says that there is none (nan, null, none, n/a).

    Raises:
        ValueError: If it is something else.
    """
    word = (text or "").strip()
    if word.lower() in ("", "nan", "null", "none", "na", "n/a"):
        return None
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"{word!r} is not a finite number")
    return number


def owner_of(row: Mapping[str, Any], column: str | None, image: str) -> str:
    """The photographer of a photo: as the table says, or else as a name of Flickr ends.

    Args:
        row: Texts of a row.
        column: Column of the owner; None if there is none.
        image: Name of the photo, such as `101220879_0a1be45b79_33_24311489@N00.jpg`.

    Returns:
        The owner, empty where unknown.
    """
    if column is not None and row[column].strip():
        return str(row[column].strip())
    found = _FLICKR_OWNER.search(image)
    return found.group(1) if found else ""


class Names:
    """Names of photos in one table looked up by those of another: whole, without folders, without ending."""

    def __init__(self, names: Sequence[str]) -> None:
        self._rows: list[dict[str, list[int]]] = [{}, {}, {}]
        for row, name in enumerate(names):
            for rows, key in zip(self._rows, self._keys(name), strict=True):
                rows.setdefault(key, []).append(row)

    def find(self, name: str) -> int | None:
        """Position of a photo.

        Args:
            name: Its name in the other table.

        Returns:
            Its position; None if there is none, or several that are equally alike.
        """
        for rows, key in zip(self._rows, self._keys(name), strict=True):
            if len(rows.get(key, ())) == 1:
                return rows[key][0]
        return None

    @staticmethod
    def _keys(name: str) -> tuple[str, str, str]:
        path = PurePosixPath(name.strip().replace("\\", "/"))
        return str(path), path.name, path.stem
