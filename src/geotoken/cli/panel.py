"""An answer as a person enjoys reading it, in the width the terminal has.

Owns the layout; must not know how an answer is found.
"""

from collections.abc import Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from geotoken import cells
from geotoken.cli import words
from geotoken.cli.areas import RADIUS_KM, other_areas
from geotoken.geo import haversine_km
from geotoken.prediction import Prediction

NUM_NEIGHBORS: Final = 3
"""Neighbors shown of an answer."""

_WIDE: Final = 100
"""Columns from which two tables stand side by side."""
_SURE, _LIKELY = 0.9, 0.5
_MAP_URL = "https://www.openstreetmap.org/?mlat={lat:.5f}&mlon={lng:.5f}#map=8/{lat:.5f}/{lng:.5f}"


class FullPanel:
    """Everything about one answer: place, certainty, the path down the cells, other areas, evidence."""

    def __init__(
        self, title: str, predictions: Sequence[Prediction], labels: Sequence[Sequence[str]]
    ) -> None:
        """Prepare a panel.

        Args:
            title: What was located.
            predictions: One answer: the predictions of one photo or of several located together.
            labels: Names of each prediction's neighbors.
        """
        self._title = title
        self._predictions = predictions
        self._labels = labels

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the panel out."""
        answer = self._predictions[0]
        path, others = _path(answer), _others(answer)
        body: list[RenderableType] = [_headline(answer), Text()]
        if options.max_width >= _WIDE:
            side_by_side = Table.grid(expand=True, padding=(0, 4))
            side_by_side.add_column(ratio=1)
            side_by_side.add_column(ratio=1)
            side_by_side.add_row(path, others)
            body += [side_by_side]
        else:
            body += [path, Text(), others]
        body += [Text(), _evidence(self._predictions, self._labels)]
        warnings = [_warning(words.printable(note)) for one in self._predictions for note in one.warnings]
        body += [Text(), *warnings] if warnings else []
        yield _panel(self._title, Group(*body))


class ShortPanel:
    """The answer for one photo of many, in a few lines."""

    def __init__(self, title: str, prediction: Prediction) -> None:
        """Prepare a panel.

        Args:
            title: What was located.
            prediction: The answer.
        """
        self._title = title
        self._prediction = prediction

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the panel out."""
        steps = [
            f"{'face' if cell.level == 0 else words.distance(cells.average_edge_km(cell.level))} "
            f"{words.percent(cell.probability)}"
            for cell in self._prediction.levels
            if cell.level % 4 == 0 and cell.level <= 16
        ]
        path = Text("cells: " + "  ›  ".join(steps), style="dim", overflow="ellipsis", no_wrap=True)
        warnings = [_warning(words.printable(note)) for note in self._prediction.warnings]
        yield _panel(self._title, Group(_headline(self._prediction), path, *warnings))


def _panel(title: str, body: RenderableType) -> Panel:
    return Panel(body, title=Text(words.printable(title), style="bold"), title_align="left", padding=(0, 2))


def _headline(answer: Prediction) -> Text:
    """Place, point, verdict and radii."""
    radius_50_km, radius_90_km = answer.radius_km(0.5), answer.radius_km(0.9)
    verdict = words.verdict(radius_50_km, radius_90_km)
    phrase = words.place_phrase(answer.place)
    if verdict == words.GUESS:
        phrase = f"best bet: {phrase}"
    text = Text()
    text.append(f"{phrase[0].upper()}{phrase[1:]}\n", style="bold green")
    url = _MAP_URL.format(lat=answer.lat, lng=answer.lng)
    text.append(words.coordinates(answer.lat, answer.lng, radius_50_km), style=f"link {url}")
    text.append(f"\n{verdict} ", style="yellow" if verdict == words.GUESS else "")
    text.append(
        f"Even odds within {words.distance(radius_50_km)}, 9 in 10 within {words.distance(radius_90_km)}."
    )
    return text


def _path(answer: Prediction) -> RenderableType:
    """The cells around the answer, each with its probability."""
    table = _table("Narrowing down", 4)
    for cell in answer.levels:
        sure = "green" if cell.probability >= _SURE else "yellow" if cell.probability >= _LIKELY else "dim"
        bar = ProgressBar(
            total=1.0, completed=cell.probability, width=22, complete_style=sure, finished_style=sure
        )
        table.add_row(
            "face" if cell.level == 0 else str(cell.level),
            words.distance(cells.average_edge_km(cell.level)),
            bar,
            Text(words.percent(cell.probability), style=sure),
        )
    return table


def _others(answer: Prediction) -> RenderableType:
    """The area of the answer and those that it might be instead."""
    table = _table(f"Also possible (chance within {RADIUS_KM:.0f} km)", 2)
    here = answer.posterior.probability_within_km(answer.lat, answer.lng, RADIUS_KM)
    table.add_row(words.percent(here), Text("this answer", style="bold"))
    for area in other_areas(answer.posterior, answer.lat, answer.lng):
        table.add_row(words.percent(area.probability), Text(words.place_name(area.place)))
    return table


def _evidence(predictions: Sequence[Prediction], labels: Sequence[Sequence[str]]) -> RenderableType:
    """The gallery photos most similar to the photo, with their credits."""
    rows = [
        (float(one.neighbors.similarity[i]), one, names[i], i)
        for one, names in zip(predictions, labels, strict=True)
        for i in range(len(one.neighbors))
    ]
    table = _table("Looks like (similarity, distance from the answer)", 3)
    for similarity, one, label, i in sorted(rows, key=lambda row: -row[0])[:NUM_NEIGHBORS]:
        found = one.neighbors
        distance_km = float(haversine_km(found.lat[i], found.lng[i], one.lat, one.lng))
        name = Text(words.printable(label))
        credit = [words.printable(part) for part in (found.attribution[i], found.license[i]) if part]
        if credit:
            name.append("\n" + ", ".join(credit), style="dim")
        url = found.source_url[i]
        if url and " " not in url and url.isprintable():
            name.append("\n")
            name.append(url, style=f"dim link {url}")
        name.overflow, name.no_wrap = "ellipsis", True
        table.add_row(f"{similarity:.2f}", words.distance(distance_km), name)
    return table if rows else Text("No evidence from the gallery.")


def _table(title: str, num_columns: int) -> Table:
    """A table under a heading; numbers to the right, all but the last column as narrow as they can be."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        show_header=False,
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in range(num_columns):
        table.add_column(justify="left" if column == num_columns - 1 else "right", no_wrap=column == 0)
    return table


def _warning(note: str) -> Text:
    return Text(f"Note: {note}.", style="yellow")
