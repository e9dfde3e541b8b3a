"""The report of an evaluation: one page that works offline, and the figures as JSON beside it.

Owns what the page shows; must not know how figures are found, or how a map is drawn.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from geotoken import words
from geotoken.errors import InputError
from geotoken.evaluate.files import write_json
from geotoken.evaluate.labels import LABELS, figure
from geotoken.evaluate.plots import PERCENT, Axis, Line, plot
from geotoken.evaluate.records import Row
from geotoken.files import write_whole
from geotoken.pictures import page
from geotoken.pictures.report import MARKER
from geotoken.pictures.text import escape, title
from geotoken.pictures.thumbnail import thumbnail

PAGE: Final = "index.html"
FIGURES: Final = "evaluation.json"
MAX_ROWS: Final = 5000
"""Photos in the table and on the map; of more, an even sample."""
NUM_PICKED: Final = 8
"""Best, worst, and surest wrong answers shown."""

_HEADING = "How good are the answers?"
_NEAR_KM, _FAR_KM = 200.0, 2500.0
_LEAST_IN_BIN = 10  # a share of fewer photos says little
_SHOWN_THRESHOLDS = ("25km", "200km", "750km")


def write_report(
    folder: Path,
    result: Mapping[str, Any],
    summaries: Mapping[str, Mapping[str, Any]],
    rows: Sequence[Row],
    paths: Mapping[str, str] | None = None,
) -> None:
    """Write the page and the figures.

    Args:
        folder: Where; made if missing. An earlier report in it is replaced.
        result: The figures as `--json` has them, with `about`.
        summaries: Figures of each system by name, the one that the rows are of first.
        rows: Its predictions.
        paths: File of each photo, by name, for the pictures of a few.

    Raises:
        InputError: If it cannot be written.
    """
    assets = page.inline_assets()
    main = next(iter(summaries.values()))
    shown = _sample(rows)
    content = page.template("head.html", policy=assets.policy, style=assets.style, title=_HEADING)
    content += page.template(
        "evaluation.html",
        title=_HEADING,
        subtitle=_subtitle(result, list(summaries)),
        figures=_figures(summaries),
        measure=_measure(main),
        plots="".join(_plots(summaries)),
        canvas=page.template("canvas.html"),
        shown=f"{len(shown):,} of {len(rows):,} photos, evenly chosen" if len(shown) < len(rows) else "",
        picked=_picked(rows, paths or {}),
        rows="".join(_table_row(number, row) for number, row in enumerate(shown, start=1)),
        about=_about(result["about"], result.get("notes", ())),
        script=assets.script,
    )
    try:
        folder.mkdir(exist_ok=True)
        write_whole(folder / MARKER, b'{"format": "geotoken report", "version": 1}\n')
        write_json(folder / FIGURES, result)
        write_whole(folder / PAGE, content.encode("utf-8"))
    except OSError as error:
        raise InputError(f"the report (--report) {folder} cannot be written ({error.strerror})") from error


def _sample(rows: Sequence[Row]) -> list[Row]:
    if len(rows) <= MAX_ROWS:
        return list(rows)
    return [rows[i] for i in np.linspace(0, len(rows) - 1, MAX_ROWS).astype(int)]


def _subtitle(result: Mapping[str, Any], names: Sequence[str]) -> str:
    data = ", ".join(result["about"].get("data") or ["photos"])
    return escape(
        f"{result['about'].get('model') or names[0]} on {data}, {words.plural(result['n'], 'photo')}"
    )


def _measure(main: Mapping[str, Any]) -> str:
    drawn, distance = main["bootstrap"], main["distance"]
    radius = "" if distance["radius_km"] is None else f" on a sphere of {distance['radius_km']} km"
    failed = words.plural(main["num_failed"], "photo")
    text = (
        f"In small print the 95 % interval, by {drawn['num_resamples']:,} resamples of "
        f"{drawn['num_clusters']:,} {drawn['over']}. Distance: {distance['formula']}{radius}; a threshold is "
        f"met by a distance {distance['comparison']} it. {failed} without an answer: wrong at every "
        "threshold, half the way around the Earth away, and outside of every region."
    )
    if main["nll"] is not None:
        text += f" NLL is over the {main['num_with_posterior']:,} with a posterior."
    return escape(text)


def _figures(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    head = "".join(f'<th scope="col">{escape(name.replace("_", " "))}</th>' for name in summaries)
    body = []
    for metric, label in LABELS.items():
        if all(summary.get(metric) is None for summary in summaries.values()):
            continue
        cells = "".join(f"<td>{_cell(summary, metric)}</td>" for summary in summaries.values())
        body.append(f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>')
    return (
        '<table class="figures"><caption class="unseen">Metrics of each system, with intervals</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    )


def _cell(summary: Mapping[str, Any], metric: str) -> str:
    value, ends = summary.get(metric), summary["ci95"].get(metric)
    if value is None:
        return ""
    between = f'<span class="more">{"–".join(figure(end, metric) for end in ends)}</span>' if ends else ""
    return f"{figure(value, metric)}{between}"


def _plots(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Curves of all systems, and of the first one by distance."""
    percent = {"low": 0.0, "high": 100.0, "ticks": PERCENT}
    answers = Axis(label="photos, %", **percent)  # type: ignore[arg-type]
    ticks = [(float(km), f"{km:,}") for km in (1, 25, 200, 2500)]
    error = Axis(
        label="error, km (log scale)", low=0.01, high=20038.0, ticks=[(0.01, "0.01"), *ticks], log=True
    )

    def curves(kind: str) -> list[Line]:
        known = {name: summary["curves"][kind] for name, summary in summaries.items()}
        return [Line(name=name.replace("_", " "), points=points) for name, points in known.items() if points]

    def enough(point: Sequence[float]) -> bool:
        return len(point) < 3 or point[2] >= _LEAST_IN_BIN

    def by_distance(kind: str, *, dots: bool) -> list[Line]:
        known = next(iter(summaries.values()))["curves"][kind]
        names = [name for name in _SHOWN_THRESHOLDS if name in known]
        return [
            Line(
                name=f"within {name[:-2]} km",
                points=[(p[0], p[1]) for p in known[name] if enough(p)],
                dots=dots,
            )
            for name in names
            if any(map(enough, known[name]))
        ]

    found = [plot("Share of photos with an error up to a distance", error, answers, curves("error_cdf"))]
    if lines := curves("coverage"):
        said = Axis(label="probability of the credible region, %", **percent)  # type: ignore[arg-type]
        inside = Axis(label="truths inside, %", **percent)  # type: ignore[arg-type]
        found.append(
            plot("Calibration of credible regions (thin line: perfect)", said, inside, lines, diagonal=True)
        )
    if lines := by_distance("selective", dots=False):
        share = Axis(label="photos answered, the surest first, %", **percent)  # type: ignore[arg-type]
        right = Axis(label="right among them, %", **percent)  # type: ignore[arg-type]
        found.append(plot("Accuracy if only the surest are answered", share, right, lines))
    if lines := by_distance("reliability", dots=True):
        said = Axis(label="probability said to be within the distance, %", **percent)  # type: ignore[arg-type]
        right = Axis(label="within the distance, %", **percent)  # type: ignore[arg-type]
        found.append(
            plot("Does it know when it is right? (thin line: perfect)", said, right, lines, diagonal=True)
        )
    return found


def _picked(rows: Sequence[Row], paths: Mapping[str, str]) -> str:
    """The best, the worst and the surest wrong answers, as cards."""
    answered = sorted((row for row in rows if row["status"] == "ok"), key=lambda row: float(row["error_km"]))
    wrong = [
        row for row in answered if row["error_km"] > _FAR_KM and row.get("probability_200km") is not None
    ]
    surest = sorted(wrong, key=lambda row: -float(row["probability_200km"]))
    groups = {
        "Nearest to the truth": answered[:NUM_PICKED],
        "Farthest from the truth": answered[::-1][:NUM_PICKED],
        "Surest of what is more than 2,500 km off": surest[:NUM_PICKED],
    }
    return "".join(
        f'<h2>{escape(name)}</h2><ul class="cards">{"".join(_card(row, paths) for row in some)}</ul>'
        for name, some in groups.items()
        if some
    )


def _card(row: Row, paths: Mapping[str, str]) -> str:
    jpeg = thumbnail(paths[row["image"]]) if row["image"] in paths else None
    encoded = base64.b64encode(jpeg).decode("ascii") if jpeg else ""
    image = f'<img src="data:image/jpeg;base64,{encoded}" alt="">' if jpeg else ""
    sure = row.get("probability_200km")
    chance = "" if sure is None else f", {words.percent(sure)} sure of 200 km"
    return (
        f'<li>{image}<strong title="{escape(row["image"])}">{title(row["image"])}</strong>'
        f"<span>{escape(words.distance(row['error_km']))} off{escape(chance)}</span>"
        f'<span class="more">{escape(_place(row, "true_"))}; answer: {escape(_place(row, ""))}</span></li>'
    )


def _table_row(number: int, row: Row) -> str:
    error_km, failed = row.get("error_km"), row["status"] == "error"
    kind = "answer"
    if error_km is not None and error_km <= _FAR_KM:
        kind = "region" if error_km <= _NEAR_KM else "neighbor"
    point = f'data-lat="{row["true_lat"]:.6f}" data-lng="{row["true_lng"]:.6f}"'
    point += ' class="failed"' if failed else f' data-to="{row["lat"]:.6f},{row["lng"]:.6f}"'
    chance, radius, nll = (row.get(name) for name in ("probability_200km", "radius_50_km", "nll"))
    return page.template(
        "evaluation_row.html",
        number=str(number),
        kind=kind,
        point=point,
        name=title(row["image"]),
        true_place=escape(_place(row, "true_")),
        place="" if failed else escape(_place(row, "")),
        error_km="" if error_km is None else f"{error_km:.6f}",
        error_text="" if error_km is None else escape(words.distance(error_km)),
        chance="" if chance is None else f"{chance:.6f}",
        chance_text="" if chance is None else escape(words.percent(chance)),
        radius="" if radius is None else f"{radius:.6f}",
        radius_text="" if radius is None else escape(words.distance(radius)),
        nll="" if nll is None else f"{nll:.6f}",
        nll_text="" if nll is None else f"{nll:.2f}",
        remark=escape(row.get("error") or ""),
    )


def _place(row: Row, prefix: str) -> str:
    parts = (row.get(f"{prefix}admin1"), row.get(f"{prefix}country_code"))
    return ", ".join(part for part in parts if part)


def _about(about: Mapping[str, Any], notes: Sequence[str]) -> str:
    """What it takes to make the same report again."""
    hashes = zip(about.get("data") or (), about.get("data_sha256") or (), strict=True)
    facts = [
        ("Command", about.get("command")),
        ("geotoken", about.get("geotoken")),
        ("Model", about.get("model")),
        ("Manifest of the model, sha256", about.get("model_sha256")),
        *((f"{name}, sha256", value) for name, value in hashes),
        *(("Note", note) for note in notes),
    ]
    listed = "".join(
        f"<div><dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in facts
        if value
    )
    return f'<dl class="facts">{listed}</dl>'
