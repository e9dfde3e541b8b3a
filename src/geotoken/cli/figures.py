"""Figures of an evaluation as tables on the terminal.

Owns their labels, order and digits; must not know how they are found.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from geotoken.cli.terminal import stdout
from geotoken.evaluate.labels import LABELS, figure
from geotoken.words import plural, printable


def print_summaries(summaries: Mapping[str, Mapping[str, Any]], notes: Sequence[str]) -> None:
    """Print the metrics of systems side by side.

    Args:
        summaries: Figures of each, by name; all about the same photos.
        notes: Remarks, printed on stderr.
    """
    first = next(iter(summaries.values()))
    stdout().print(_title(first), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in summaries:
        table.add_column(Text(printable(name.replace("_", " "))), justify="right")
    for metric, label in LABELS.items():
        if any(summary.get(metric) is not None for summary in summaries.values()):
            table.add_row(
                label, *(_cell(s.get(metric), s["ci95"].get(metric), metric) for s in summaries.values())
            )
    stdout().print(table)
    failed = {name: summary["num_failed"] for name, summary in summaries.items() if summary["num_failed"]}
    for name, number in failed.items():
        print(
            f"{printable(name)}: {plural(number, 'photo')} without an answer, counted as wrong",
            file=sys.stderr,
        )
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def print_comparison(result: Mapping[str, Any]) -> None:
    """Print two systems and their difference.

    Args:
        result: What `geotoken.evaluate.compare` returned, with the `names` of the two.
    """
    stdout().print(_title(result), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in (*result["names"], "difference", "95 %"):
        table.add_column(Text(printable(name)), justify="right")
    for metric, label in LABELS.items():
        if result["difference"].get(metric) is None:
            continue
        values = [figure(result[key][metric], metric) for key in ("a", "b")]
        change = result["difference"][metric]
        ends = result["ci95"][metric]
        between = (
            " to ".join(f"{'+' if end > 0 else ''}{figure(end, metric)}" for end in ends) if ends else ""
        )
        table.add_row(label, *values, f"{'+' if change > 0 else ''}{figure(change, metric)}", between)
    stdout().print(table)
    for key, other in (("num_only_in_a", 1), ("num_only_in_b", 0)):
        if result[key]:
            name = printable(result["names"][other])
            print(
                f"note: {plural(result[key], 'photo')} without a row in {name} count as wrong there",
                file=sys.stderr,
            )


def _title(figures: Mapping[str, Any]) -> str:
    drawn, distance = figures["bootstrap"], figures["distance"]
    radius = "" if distance["radius_km"] is None else f", R = {distance['radius_km']} km"
    return (
        f"{plural(figures['n'], 'photo')}, 95 % by bootstrap over {drawn['num_clusters']:,} {drawn['over']}; "
        f"{distance['formula']}{radius}, {distance['comparison']}"
    )


def _cell(value: float | None, ends: Sequence[float] | None, metric: str) -> str:
    if value is None:
        return ""
    if not ends:
        return figure(value, metric)
    return f"{figure(value, metric)}\n{'–'.join(figure(end, metric) for end in ends)}"
