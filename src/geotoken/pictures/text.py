"""An answer in HTML: what the map shows, for eyes, screen readers and printers, without any script.

Owns the wording and the escaping of everything that comes from files; must not know pages.
"""

import html
from pathlib import PurePath
from typing import Final

from geotoken import cells, words
from geotoken.geo import haversine_km
from geotoken.pictures.scene import credit
from geotoken.pipeline import Failure
from geotoken.places import nearest
from geotoken.prediction import Prediction

NUM_NEIGHBORS: Final = 8
"""Neighbors listed beside the map, which shows all."""
REGION_KM: Final = 200.0
"""The chance of being as near as this is given."""

_STREET_MAP = "https://www.openstreetmap.org/?mlat={0:.5f}&mlon={1:.5f}#map=9/{0:.5f}/{1:.5f}"


def escape(text: str) -> str:
    """Text of a stranger as HTML, also inside a quoted attribute.

    Args:
        text: Any text; a file name need not even be Unicode.

    Returns:
        HTML that shows it in one line.
    """
    return html.escape(words.printable(text), quote=True)


def title(image: str) -> str:
    """Name of a photo without its folder, as HTML.

    Args:
        image: Path of the photo as given.

    Returns:
        HTML.
    """
    return escape(PurePath(image).name or image)


def headline(answer: Prediction) -> str:
    """Where the photo was taken, in a phrase, as HTML.

    Args:
        answer: The answer.

    Returns:
        HTML without elements.
    """
    phrase = words.place_phrase(answer.place)
    phrase = f"best bet: {phrase}" if words.is_guess(answer.radius_km(0.5)) else phrase
    return escape(f"{phrase[0].upper()}{phrase[1:]}")


def article(answer: Prediction) -> str:
    """Everything about one answer.

    Args:
        answer: The answer.

    Returns:
        HTML elements, to stand inside an article.
    """
    radius_50_km, radius_90_km = answer.radius_km(0.5), answer.radius_km(0.9)
    near = answer.posterior.probability_within_km
    in_city = near(answer.lat, answer.lng, words.AREAS["city"])
    in_region = near(answer.lat, answer.lng, REGION_KM)
    url = html.escape(_STREET_MAP.format(answer.lat, answer.lng))
    facts = {
        "Point": f'<span class="point">{words.coordinates(answer.lat, answer.lng, radius_50_km)}</span> '
        f'<a href="{url}" rel="noreferrer">OpenStreetMap</a>',
        "Even odds within": words.distance(radius_50_km),
        "9 in 10 within": words.distance(radius_90_km),
        f"Chance within {words.distance(words.AREAS['city'])}": html.escape(words.percent(in_city)),
        f"Chance within {words.distance(REGION_KM)}": html.escape(words.percent(in_region)),
    }
    doubt = None
    if answer.region is not None and answer.region_probability is not None:
        doubt = words.region_verdict(answer.region.name, answer.region_probability)
        share = html.escape(words.percent(answer.region_probability))
        facts["Given that it is"] = f"{escape(answer.region.name)}; the photo alone says {share}"
    verdict = doubt or words.verdict(radius_50_km, radius_90_km, in_city)
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return (
        f'<p class="place">{headline(answer)}</p>'
        f'<p class="verdict">{html.escape(verdict, quote=False)}</p>'
        f'{_warnings(answer)}<dl class="facts">{rows}</dl>'
        f"{_levels(answer)}{_neighbors(answer)}{_candidates(answer)}"
    )


def failure(failed: Failure, message: str) -> str:
    """Why a photo has no answer.

    Args:
        failed: The photo.
        message: Why, in one line.

    Returns:
        HTML elements.
    """
    return f'<p class="error"><strong>Not located.</strong> {escape(message)}</p>'


def interrupted(num_photos: int) -> str:
    """Remark on a page that was finished before its time.

    Args:
        num_photos: Photos on it.

    Returns:
        HTML.
    """
    return f'<p class="warning">Interrupted: only the first {words.plural(num_photos, "photo")}.</p>'


def _warnings(answer: Prediction) -> str:
    return "".join(f'<p class="warning">Note: {escape(text)}.</p>' for text in answer.warnings)


def _levels(answer: Prediction) -> str:
    rows = "".join(
        f'<tr><th scope="row">{cell.level}</th>'
        f"<td>{words.distance(cells.average_edge_km(cell.level))}</td>"
        f"<td>{bar(cell.probability)}</td><td>{html.escape(words.percent(cell.probability))}</td></tr>"
        for cell in answer.levels
    )
    return (
        '<table class="levels"><caption>Narrowing down: the cells around the answer</caption>'
        '<thead><tr><th scope="col">Level</th><th scope="col">Size</th>'
        f'<th scope="col" colspan="2">Probability</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def bar(share: float) -> str:
    """A bar for the eye; the number stands beside it.

    Args:
        share: Filled part, in [0, 1].

    Returns:
        HTML, hidden from screen readers.
    """
    return (
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="8"/><rect width="{100 * share:.1f}" height="8"/></svg>'
    )


def _neighbors(answer: Prediction) -> str:
    near = answer.neighbors
    if not len(near):
        return ""
    num_listed = min(len(near), NUM_NEIGHBORS)
    places = nearest(near.lat[:num_listed], near.lng[:num_listed])
    distances_km = haversine_km(answer.lat, answer.lng, near.lat, near.lng)
    items = []
    for i, place in enumerate(places):
        name = f"{escape(words.place_name(place))}"
        source = near.source_url[i] or ""
        credits_ = escape(credit(answer, i)) or "author unknown"
        if source.startswith(("https://", "http://")):
            credits_ += f' · <a href="{escape(source)}" rel="noreferrer">source</a>'
        items.append(
            f"<li>{show_button(near.lat[i], near.lng[i], name)} "
            f'<span class="number">{near.similarity[i]:.2f}</span>'
            f'<span class="more">{words.distance(float(distances_km[i]))} from the answer · {credits_}</span>'
            "</li>"
        )
    return (
        f'<h3>Looks like <span class="more">gallery photos, with their similarity</span></h3>'
        f'<ol class="found">{"".join(items)}</ol>'
    )


def _candidates(answer: Prediction) -> str:
    found = answer.candidates
    if not len(found.lat):
        return ""
    items = "".join(
        f"<li>{show_button(found.lat[i], found.lng[i], escape(words.place_name(place)))} "
        f'<span class="more">{words.coordinates(found.lat[i], found.lng[i])}</span></li>'
        for i, place in enumerate(nearest(found.lat, found.lng))
    )
    return (
        '<h3>Candidates <span class="more">what the decoder found, likeliest first</span></h3>'
        f'<ol class="found">{items}</ol>'
    )


def show_button(lat: float, lng: float, label: str) -> str:
    """A button that moves the map to a point.

    Args:
        lat: Latitude in degrees.
        lng: Longitude in degrees.
        label: What it says, as HTML.

    Returns:
        HTML.
    """
    return (
        f'<button type="button" class="show" data-lat="{lat:.6f}" data-lng="{lng:.6f}" '
        f'title="Show on the map">{label}</button>'
    )
