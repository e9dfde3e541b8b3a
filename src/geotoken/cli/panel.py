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

from geotoken import cells, words
from geotoken.cli.areas import RADIUS_KM, other_areas
from geotoken.gallery import GalleryTable, Neighbors
from geotoken.geo import haversine_km
from geotoken.places import nearest
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
        warnings = _warnings(self._predictions)
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
            if cell.level % 4 == 0 and cell.level <= 12
        ]
        path = Text("Cells: " + "  ›  ".join(steps), style="dim", overflow="ellipsis", no_wrap=True)
        warnings = _warnings([self._prediction])
        yield _panel(self._title, Group(_headline(self._prediction), path, *warnings))


def _panel(title: str, body: RenderableType) -> Panel:
    return Panel(body, title=Text(words.printable(title), style="bold"), title_align="left", padding=(0, 2))


def _headline(answer: Prediction) -> Text:
    """Place, point, verdict and radii."""
    radius_50_km, radius_90_km = answer.radius_km(0.5), answer.radius_km(0.9)
    in_city = answer.posterior.probability_within_km(answer.lat, answer.lng, words.AREAS["city"])
    guess, phrase = words.is_guess(radius_50_km), words.place_phrase(answer.place)
    phrase = f"best bet: {phrase}" if guess else phrase
    url = _MAP_URL.format(lat=answer.lat, lng=answer.lng)
    text = Text()
    text.append(f"{phrase[0].upper()}{phrase[1:]}\n", style="bold green")
    text.append(words.coordinates(answer.lat, answer.lng, radius_50_km), style=f"link {url}")
    share, doubt = answer.region_probability, None
    if answer.region is not None and share is not None:
        doubt = words.region_verdict(answer.region.name, share)
    verdict = doubt or words.verdict(radius_50_km, radius_90_km, in_city)
    text.append(f"\n{verdict}\n", style="yellow" if guess or doubt else "none")
    text.append(
        f"{'Inside it, even' if doubt else 'Even'} odds within {words.distance(radius_50_km)}, "
        f"9 in 10 within {words.distance(radius_90_km)}."
    )
    if answer.opinion is not None and answer.own is not None and not answer.opinion.problem:
        own, name = answer.own, words.printable(answer.opinion.model)
        apart = words.distance(float(haversine_km(own.lat, own.lng, answer.lat, answer.lng)))
        text.append(
            f"\nAnswered with {name} ({answer.opinion.mode}); geotoken's own answer, {apart} away: "
            f"{words.place_phrase(own.place)}."
        )
    if answer.region is not None and share is not None and not doubt:
        name = words.printable(answer.region.name)
        text.append(f"\nGiven that it is {name}: the photo alone says {words.percent(share)}.")
    return text


def _path(answer: Prediction) -> RenderableType:
    """The cells around the answer, each with its probability."""
    table = _table(4)
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
    return _section("Narrowing down", table)


def _others(answer: Prediction) -> RenderableType:
    """The area of the answer and those that it might be instead."""
    table = _table(2)
    here = answer.posterior.probability_within_km(answer.lat, answer.lng, RADIUS_KM)
    table.add_row(words.percent(here), Text("this answer", style="bold"))
    for area in other_areas(answer.posterior, answer.lat, answer.lng):
        table.add_row(words.percent(area.probability), Text(words.place_name(area.place)))
    return _section(f"Also possible (chance within {RADIUS_KM:.0f} km)", table)


def neighbor_labels(neighbors: Neighbors, table: GalleryTable) -> list[str]:
    """Names of gallery photos for people.

    Args:
        neighbors: The photos, K of them.
        table: The table of their gallery.

    Returns:
        The label of each, or its id where it has none; length K.
    """
    return [table.label[row] or name for row, name in zip(neighbors.row, neighbors.id, strict=True)]


def neighbors_table(neighbors: Neighbors, labels: Sequence[str]) -> RenderableType:
    """Gallery photos with similarity, place and credit.

    Args:
        neighbors: The photos, K of them.
        labels: A name for each, length K.

    Returns:
        Something that Rich can print.
    """
    table = _table(2)
    places = nearest(neighbors.lat, neighbors.lng)
    for i, place in enumerate(places):
        point = words.coordinates(neighbors.lat[i], neighbors.lng[i])
        photo = _describe(neighbors, i, labels[i], f"{words.place_phrase(place)}, {point}")
        table.add_row(f"{neighbors.similarity[i]:.2f}", photo)
    return table


def _describe(neighbors: Neighbors, i: int, label: str, *more: str) -> Text:
    """Name, credit and source of a gallery photo, a line each, cut where the terminal ends."""
    text = Text(words.printable(label), overflow="ellipsis", no_wrap=True)
    credit = " · ".join(part for part in (neighbors.license[i], neighbors.attribution[i]) if part)
    for line in filter(None, (*more, credit)):
        text.append(f"\n{words.printable(line)}", style="dim")
    url = neighbors.source_url[i]
    if url and " " not in url and url.isprintable():
        text.append("\n")
        text.append(url, style=f"dim link {url}")
    return text


def _evidence(predictions: Sequence[Prediction], labels: Sequence[Sequence[str]]) -> RenderableType:
    """The gallery photos most similar to the photo, with their credits."""
    rows = [
        (float(one.neighbors.similarity[i]), one, names[i], i)
        for one, names in zip(predictions, labels, strict=True)
        for i in range(len(one.neighbors))
    ]
    table = _table(3)
    for similarity, one, label, i in sorted(rows, key=lambda row: -row[0])[:NUM_NEIGHBORS]:
        found = one.neighbors
        distance_km = float(haversine_km(found.lat[i], found.lng[i], one.lat, one.lng))
        table.add_row(f"{similarity:.2f}", words.distance(distance_km), _describe(found, i, label))
    if not rows:
        return Text("Looks like no photo of the gallery.")
    return _section("Looks like (similarity, distance from the answer)", table)


def _section(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, style="bold"), body)


def _table(num_columns: int) -> Table:
    """A table without lines; numbers to the right, all but the last column as narrow as they can be."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in range(num_columns):
        table.add_column(justify="left" if column == num_columns - 1 else "right", no_wrap=column == 0)
    return table


def _warnings(predictions: Sequence[Prediction]) -> list[Text]:
    """Remarks about the photos, each with its photo's name where there are several."""
    return [
        Text(
            words.printable(f"Note: {one.image}: {note}." if len(predictions) > 1 else f"Note: {note}."),
            "yellow",
        )
        for one in predictions
        for note in one.warnings
    ]
