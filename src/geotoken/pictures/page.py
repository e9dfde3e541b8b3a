"""Pages from templates: one map page for any number of photos, written as the answers come.

Owns templates, content security policies and the way files are written; must not know command lines.
"""

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final, TextIO

from geotoken.errors import InputError
from geotoken.images.read import quoted
from geotoken.pictures import text
from geotoken.pictures.outline import outline_json
from geotoken.pictures.scene import scene
from geotoken.pictures.thumbnail import thumbnail
from geotoken.pipeline import Failure
from geotoken.prediction import Prediction

SCRIPTS: Final = ("cells.js", "draw.js", "map.js", "page.js")
"""Parts of the script of every page, in order."""
STYLE: Final = "style.css"

_SUFFIXES = (".html", ".htm")
_LOCAL = "'self' file:"  # a browser may not count a file as the same origin as the page beside it


@dataclass(frozen=True, slots=True)
class Assets:
    """Where a page has its style, script and outline from."""

    policy: str
    """Content security policy."""
    style: str
    """Elements for the head."""
    script: str
    """Elements for the end of the body."""


class MapPage:
    """One HTML file with a map of every answer; it needs no other file and no network.

    The file appears when the page is closed; until then it is written beside, so memory stays flat.
    """

    def __init__(self, path: str | Path, *, one_photo: bool = False) -> None:
        """Begin a page.

        Args:
            path: File to write; an existing one is replaced.
            one_photo: Whether it will be about one photo, which decides its title.

        Raises:
            InputError: If it cannot be written.
        """
        self.path = Path(path)
        self.num_photos = 0
        check_map_file(self.path)
        self._part = part_of(self.path)
        assets = inline_assets()
        self._assets = assets
        self._shown = False
        self._region: Mapping[str, Any] | None = None
        self._num_regions = 0
        self._file = open_part(self._part)
        title = "Where was this photo taken?" if one_photo else "Where were these photos taken?"
        self._file.write(map_head(assets, title=title, back=""))

    def add(
        self, answer: Prediction | Failure, message: str = "", region: Mapping[str, Any] | None = None
    ) -> None:
        """Add a photo.

        Args:
            answer: The prediction, or why there is none.
            message: Why there is none, in one line; the error's own text if empty.
            region: GeoJSON geometry that the answer was held to, or None. One that many answers have in a row
                is written once.
        """
        self.num_photos += 1
        if region is not None and region is not self._region:
            self._region = region
            self._num_regions += 1
            self._file.write(_json_block(script_json(dict(region)), f' id="region-{self._num_regions}"'))
        outline = None if region is None else f"region-{self._num_regions}"
        jpeg = thumbnail(answer.image) if isinstance(answer, Prediction) else None
        picture = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}" if jpeg else None
        opened = not self._shown and isinstance(answer, Prediction)
        self._shown |= opened
        self._file.write(photo_entry(answer, picture, message=message, region=outline, opened=opened))

    def close(self, *, interrupted: bool = False) -> None:
        """Finish the page and put it in its place.

        Args:
            interrupted: Whether photos are missing, which the page then says.
        """
        note = text.interrupted(self.num_photos) if interrupted else ""
        self._file.write(template("tail.html", script=self._assets.script, note=note))
        finish_part(self._file, self._part, self.path)

    def discard(self) -> None:
        """Give the page up; what was at its place before stays."""
        discard_part(self._file, self._part)


def check_map_file(path: Path) -> None:
    """See that a map can be written, before any work is done.

    Args:
        path: The file.

    Raises:
        InputError: If it does not end in .html, is no regular file, or its folder is missing or closed.
    """
    name = quoted(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"the map (--map) is to be {name}; give a file that ends in .html")
    if path.is_dir():
        raise InputError(
            f"the map (--map) is to be {name}, which is a folder; give a file, such as {name}/map.html"
        )
    if path.exists() and not path.is_file():
        raise InputError(f"the map (--map) is to be {name}, which is no regular file; give another name")
    if not path.parent.is_dir():
        raise InputError(f"the folder of the map (--map) {name} does not exist; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"the folder of the map (--map) {name} cannot be written to; choose another")


def photo_entry(
    answer: Prediction | Failure,
    picture: str | None,
    *,
    message: str = "",
    region: Mapping[str, Any] | str | None = None,
    opened: bool = False,
) -> str:
    """A photo in the list of a map page: thumbnail, answer in words, and what its map shows.

    Args:
        answer: The prediction, or why there is none.
        picture: URL of the thumbnail; None for none.
        message: Why there is none; the error's own text if empty.
        region: GeoJSON geometry that the answer was held to, the id of the element that has it, or None.
        opened: Whether its answer is shown from the start.

    Returns:
        HTML elements.
    """
    image = f'<img src="{picture}" alt="" loading="lazy">' if picture else '<span class="blank"></span>'
    if isinstance(answer, Failure):
        line = "Not located"
        body = text.failure(answer, message or str(answer.error))
    else:
        line = text.headline(answer)
        body = text.article(answer) + _json_block(script_json(scene(answer, region)))
    return template(
        "photo.html",
        opened=" open" if opened else "",
        path=text.escape(answer.image),
        image=image,
        name=text.title(answer.image),
        line=line,
        body=body,
    )


def map_head(assets: Assets, *, title: str, back: str) -> str:
    """The start of a map page, up to its first photo.

    Args:
        assets: Where style and script come from.
        title: Of the page, as HTML.
        back: Link to where the reader came from, as HTML; may be empty.

    Returns:
        HTML.
    """
    start = template("head.html", policy=assets.policy, style=assets.style, title=title)
    return start + template("map.html", title=title, back=back, canvas=template("canvas.html"))


@cache
def inline_assets() -> Assets:
    """Style, script and outline inside the page; nothing else may run, and nothing may be fetched.

    Returns:
        The assets.
    """
    style, script = read_template(STYLE), all_scripts()
    outline = _json_block(outline_json(), ' id="outline"')
    return Assets(
        policy=_policy("data:", f"'sha256-{_digest(style)}'", f"'sha256-{_digest(script)}'"),
        style=f"<style>{style}</style>",
        script=f"{outline}<script>{script}</script>",
    )


def linked_assets(folder: str) -> Assets:
    """Style, script and outline in files beside the page.

    Args:
        folder: Relative URL of their folder, with a slash at the end.

    Returns:
        The assets.
    """
    return Assets(
        policy=_policy(f"data: {_LOCAL}", _LOCAL, _LOCAL),
        style=f'<link rel="stylesheet" href="{folder}style.css">',
        script=f'<script src="{folder}outline.js"></script><script src="{folder}script.js"></script>',
    )


def script_json(value: Any) -> str:
    """A value as JSON that may stand inside a script element.

    Args:
        value: JSON-ready; every number finite.

    Returns:
        ASCII without `<`, so that no string can end the element or begin a comment.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


@cache
def read_template(name: str) -> str:
    """A file of the folder of templates.

    Args:
        name: Of the file.

    Returns:
        Its text.
    """
    return (files("geotoken.pictures") / "templates" / name).read_text(encoding="utf-8")


def template(file: str, /, **values: str) -> str:
    """A template with its places filled.

    Args:
        file: Its name.
        **values: HTML for each `$place`.

    Returns:
        HTML.
    """
    return Template(read_template(file)).substitute(values)


def all_scripts() -> str:
    """The script of every page.

    Returns:
        JavaScript.
    """
    return "".join(map(read_template, SCRIPTS))


def part_of(path: Path) -> Path:
    """Where a file is written before it is complete: beside it, hidden, one a process.

    Args:
        path: The file.

    Returns:
        Another path in the same folder.
    """
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def open_part(part: Path) -> TextIO:
    """Open an unfinished file.

    Args:
        part: See `part_of`.

    Returns:
        The file, to be closed by `finish_part`.
    """
    return part.open("w", encoding="utf-8", newline="\n")


def finish_part(file: TextIO, part: Path, path: Path) -> None:
    """Put a finished file in its place.

    Args:
        file: The open file.
        part: Where it is.
        path: Where it belongs; what is there is replaced.
    """
    file.close()
    os.replace(part, path)


def discard_part(file: TextIO, part: Path) -> None:
    """Take an unfinished file away; nothing happens if it was finished.

    Args:
        file: The file, open or not.
        part: Where it is.
    """
    with contextlib.suppress(OSError):  # a full disk
        file.close()
    part.unlink(missing_ok=True)


def _json_block(content: str, attributes: str = "") -> str:
    return f'<script type="application/json"{attributes}>{content}</script>'


def _policy(image: str, style: str, script: str) -> str:
    return (
        f"default-src 'none'; img-src {image}; style-src {style}; script-src {script}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii")
