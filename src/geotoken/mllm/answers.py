"""Answers that were paid for, kept on disk: the same question is never paid twice.

Owns the folder and its files; must not know how answers are asked for or understood.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from geotoken.errors import InputError
from geotoken.files import cannot_write, read_record, write_whole

_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server answered."""

    text: str
    """The words of the model; empty if it has none."""
    problem: str = ""
    """What the server says against these words, such as that they are a refusal; empty if nothing."""
    tokens_in: int | None = None
    """Tokens of the question, as the server counts; None if it does not tell."""
    tokens_out: int | None = None
    """Tokens of the answer."""


class Answers:
    """A folder of replies by the hash of what was asked; several runs may share it."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, and make it if there is none.

        Args:
            folder: Where it is.

        Raises:
            InputError: If it cannot be made.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(cannot_write(folder, error)) from error

    def get(self, key: str) -> Reply | None:
        """Look up a reply.

        Args:
            key: What `key_of` gives for the question.

        Returns:
            The reply; None if there is none, or its file is damaged.
        """
        record = read_record(self._path(key))
        if not isinstance(record, dict) or record.pop("version", None) != _VERSION:
            return None
        try:
            reply = Reply(**record)
        except TypeError:
            return None
        counts = (reply.tokens_in, reply.tokens_out)
        good = isinstance(reply.text, str) and isinstance(reply.problem, str)
        return reply if good and all(isinstance(n, int | None) for n in counts) else None

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply; it is on the disk when this returns.

        Args:
            key: What `key_of` gives for the question.
            reply: The answer.

        Raises:
            InputError: If it cannot be written, as on a full disk.
        """
        path = self._path(key)
        try:
            path.parent.mkdir(exist_ok=True)
            write_whole(path, json.dumps({"version": _VERSION, **asdict(reply)}).encode())
        except OSError as error:
            raise InputError(cannot_write(path, error)) from error

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def key_of(**asked: Any) -> str:
    """Hash of all that decides an answer.

    Args:
        **asked: Names and JSON-ready values.

    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
