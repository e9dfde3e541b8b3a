"""A folder about many photos: a table with a map, and a page for each photo.

Owns the files of the folder; must not know command lines.

    index.html         the table, written last
    photos/0001.html   the map and the words of one answer
    thumbnails/0001.jpg
    assets/            style, script and outline, shared by all pages
    geotoken-report.json   marks the folder as one that may be written again
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from geotoken import words
from geotoken.errors import InputError
from geotoken.files import write_whole
from geotoken.images.read import quoted
from geotoken.pictures import page, text
from geotoken.pictures.outline import outline_json
from geotoken.pictures.thumbnail import thumbnail
from geotoken.pipeline import Failure
from geotoken.prediction import Prediction

MARKER: Final = "geotoken-report.json"
"""A folder with this file is a report and may be written again."""

_TITLE = "Where were these photos taken?"
_OURS = re.compile(r"\d{4,}\.(html|jpg)")


class Report:
    """A report that is being written; everything but the table is there as soon as it is known."""

    def __init__(self, folder: str | Path) -> None:
        """Begin a report.

        Args:
            folder: Where; made if missing. An earlier report in it is replaced file by file.

        Raises:
            InputError: If it holds anything else, or cannot be written.
        """
        self.folder = Path(folder)
        self.path = self.folder / "index.html"
        self.num_photos = 0
        check_report_folder(self.folder)
        for name in ("photos", "thumbnails", "assets"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        _write(self.folder / MARKER, json.dumps({"format": "geotoken report", "version": 1}) + "\n")
        _write(self.folder / "assets" / "style.css", page.read_template(page.STYLE))
        _write(self.folder / "assets" / "script.js", page.all_scripts())
        _write(self.folder / "assets" / "outline.js", f"window.geotokenOutline = {outline_json()};\n")
        assets = page.linked_assets("assets/")
        self._assets = assets
        self._part = page.part_of(self.path)
        self._file = page.open_part(self._part)
        self._file.write(
            page.template("head.html", policy=assets.policy, style=assets.style, title=_TITLE)
            + page.template("report.html", title=_TITLE, canvas=page.template("canvas.html"))
        )

    def add(
        self, answer: Prediction | Failure, message: str = "", region: Mapping[str, Any] | None = None
    ) -> None:
        """Add a photo: its thumbnail, its page, its row.

        Args:
            answer: The prediction, or why there is none.
            message: Why there is none, in one line; the error's own text if empty.
            region: GeoJSON geometry that the answer was held to, or None.
        """
        self.num_photos += 1
        number = f"{self.num_photos:04d}"
        picture, detail = (
            self.folder / part for part in (f"thumbnails/{number}.jpg", f"photos/{number}.html")
        )
        jpeg = thumbnail(answer.image) if isinstance(answer, Prediction) else None
        if jpeg is None:
            picture.unlink(missing_ok=True)
        else:
            write_whole(picture, jpeg)
        url = f"thumbnails/{number}.jpg" if jpeg else None
        if isinstance(answer, Failure):
            detail.unlink(missing_ok=True)
            self._file.write(_failed_row(number, answer, message or str(answer.error)))
            return
        assets = page.linked_assets("../assets/")
        back = f'<a href="../index.html#photo-{number}">All photos</a>'
        entry = page.photo_entry(answer, url and f"../{url}", region=region, opened=True)
        _write(
            detail,
            page.map_head(assets, title="Where was this photo taken?", back=back)
            + entry
            + page.template("tail.html", script=assets.script, note=""),
        )
        self._file.write(_row(number, answer, url))

    def close(self, *, interrupted: bool = False) -> None:
        """Finish the table and take away what an earlier, longer report left.

        Args:
            interrupted: Whether photos are missing, which the page then says.
        """
        note = text.interrupted(self.num_photos) if interrupted else ""
        self._file.write(page.template("report_tail.html", script=self._assets.script, note=note))
        page.finish_part(self._file, self._part, self.path)
        for name in ("photos", "thumbnails"):
            for path in (self.folder / name).iterdir():
                if _OURS.fullmatch(path.name) and int(path.stem) > self.num_photos:
                    path.unlink()

    def discard(self) -> None:
        """Give the table up; pages of photos done so far stay, and so does the table of an earlier report."""
        page.discard_part(self._file, self._part)


def check_report_folder(folder: Path) -> None:
    """See that a report can be written to a folder, before any work is done.

    Args:
        folder: The folder; may be missing, its parent may not.

    Raises:
        InputError: If it is a file, holds something that is no report, or cannot be written to.
    """
    what = f"the report (--report) {quoted(folder)}"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{what} is no folder; give a new or empty folder")
    if not folder.exists():
        if not folder.parent.is_dir():
            raise InputError(f"{what} would lie in a folder that does not exist; make that first")
        if not os.access(folder.parent, os.W_OK | os.X_OK):
            raise InputError(f"{what} would lie in a folder that cannot be written to; choose another")
        return
    if not os.access(folder, os.W_OK | os.X_OK | os.R_OK):
        raise InputError(f"{what} is a folder that cannot be written to; choose another")
    if not (folder / MARKER).is_file() and any(folder.iterdir()):
        raise InputError(f"{what} is a folder with something else in it; give a new or empty folder")


def _row(number: str, answer: Prediction, url: str | None) -> str:
    radius_50_km, radius_90_km = answer.radius_km(0.5), answer.radius_km(0.9)
    chance = answer.posterior.probability_within_km(answer.lat, answer.lng, text.REGION_KM)
    kind = "answer" if radius_50_km <= words.AREAS["region"] else "neighbor"
    kind = "faint" if words.is_guess(radius_50_km) else kind
    link = f'<a href="photos/{number}.html">'
    place = answer.place
    return page.template(
        "row.html",
        number=number,
        kind=kind,
        point=f'data-lat="{answer.lat:.6f}" data-lng="{answer.lng:.6f}"',
        image=f'<img src="{url}" alt="" loading="lazy">' if url else '<span class="blank"></span>',
        path=text.escape(answer.image),
        sort_name=text.title(answer.image),
        name=f"{link}{text.title(answer.image)}</a>",
        sort_place=text.escape(", ".join((place.country, place.admin1, place.city))),
        place=text.headline(answer),
        lat=f"{answer.lat:.6f}",
        coordinates=words.coordinates(answer.lat, answer.lng, radius_50_km),
        radius_50=f"{radius_50_km:.6f}",
        radius_50_text=words.distance(radius_50_km),
        radius_90=f"{radius_90_km:.6f}",
        radius_90_text=words.distance(radius_90_km),
        chance=f"{chance:.6f}",
        chance_text=text.escape(words.percent(chance)),
        remark=" ".join(map(text.escape, answer.warnings)),
    )


def _failed_row(number: str, failed: Failure, message: str) -> str:
    blank = dict.fromkeys(
        ("sort_place", "place", "lat", "coordinates", "radius_50", "radius_50_text", "radius_90"), ""
    )
    return page.template(
        "row.html",
        number=number,
        kind="failed",
        point='class="failed"',
        image='<span class="blank"></span>',
        path=text.escape(failed.image),
        sort_name=text.title(failed.image),
        name=text.title(failed.image),
        radius_90_text="",
        chance="",
        chance_text="",
        remark=text.escape(message),
        **blank,
    )


def _write(path: Path, content: str) -> None:
    """Write text as a file that is whole at every moment."""
    write_whole(path, content.encode("utf-8"))
