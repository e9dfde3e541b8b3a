"""Numbers and places in words, with no more digits than they deserve.

Owns the wording of answers; must not know terminals or pages.
"""

from typing import Final

from geotoken.metrics import THRESHOLDS_KM
from geotoken.places import Place

AREAS: Final = dict(zip(("street", "city", "region", "country", "continent"), THRESHOLDS_KM, strict=True))
"""Radius in km within which an answer counts as right about each kind of area."""

DOUBTFUL: Final = 0.02
"""A region that the photo alone gives less than this is doubted."""

_HINT: Final = 0.25
_NEAR_KM: Final = 25.0
_REMOTE_KM: Final = 500.0


def verdict(radius_50_km: float, radius_90_km: float, city_probability: float) -> str:
    """What the answer is good for, in one sentence.

    Args:
        radius_50_km: Radius that holds half of the posterior, in km.
        radius_90_km: Radius that holds 90 % of it, in km.
        city_probability: Probability that the photo was taken within the radius of a city, in [0, 1].

    Returns:
        The smallest areas that are sure and that are probable. Where the probable one is wide, but a good
        part of the posterior lies in one city, the sentence says so.
    """
    sure, probable = _smallest_area(radius_90_km), _smallest_area(radius_50_km)
    if sure is not None:
        return (
            f"Sure of the {sure}."
            if sure == probable
            else f"Sure of the {sure}, probably the right {probable}."
        )
    if radius_50_km > AREAS["region"] and city_probability >= _HINT:
        return f"Perhaps this city ({percent(city_probability)}); if not, somewhere quite different."
    if probable is not None:
        return f"Probably the right {probable}, but not sure."
    return "A guess: the photo looks like many places."


def region_verdict(name: str, probability: float) -> str | None:
    """What the photo says against a region that it was held to; inside it, the radii tell nothing of that.

    Args:
        name: The region's.
        probability: What the photo alone gives the region, in [0, 1].

    Returns:
        One sentence to stand for the `verdict`; None for a region that the photo does not speak against.
    """
    if probability >= DOUBTFUL:
        return None
    return f"Hardly {printable(name)}: the photo alone says {percent(probability)}."


def is_guess(radius_50_km: float) -> bool:
    """Whether an answer is a guess, right about not even the continent as likely as not.

    Args:
        radius_50_km: Radius that holds half of the posterior, in km.

    Returns:
        True for a guess.
    """
    return radius_50_km > AREAS["continent"]


def distance(km: float) -> str:
    """A length with two significant digits.

    Args:
        km: Length in km, >= 0.

    Returns:
        Such as "6,300 km", "3.2 km" or "350 m".
    """
    rounded_km, rounded_m = float(f"{km:.2g}"), float(f"{1000 * km:.2g}")
    if rounded_m >= 1000:
        return f"{rounded_km:,.0f} km" if rounded_km >= 10 else f"{rounded_km:g} km"
    return f"{rounded_m:g} m" if rounded_m >= 1 else "under 1 m"


def percent(probability: float) -> str:
    """A probability as a percentage that is never rounded to certainty.

    Args:
        probability: In [0, 1].

    Returns:
        Such as "61 %", "3.2 %", "<0.1 %" or ">99 %".
    """
    value = 100 * probability
    if value < 0.1:
        return "<0.1 %"
    if value < 9.95:
        return f"{value:.1f} %"
    return f"{value:.0f} %" if value <= 99 else ">99 %"


def coordinates(lat: float, lng: float, radius_50_km: float = 0.0) -> str:
    """A point for people: fewer decimals where half of the posterior lies farther off.

    Args:
        lat: Latitude in degrees.
        lng: Longitude in degrees.
        radius_50_km: Radius that holds half of the posterior, in km.

    Returns:
        Such as "33.8568° S, 151.2153° E".
    """
    digits = 4 if radius_50_km <= AREAS["city"] else 2
    return (
        f"{abs(lat):.{digits}f}° {'N' if lat >= 0 else 'S'}, "
        f"{abs(lng):.{digits}f}° {'E' if lng >= 0 else 'W'}"
    )


def place_name(place: Place) -> str:
    """Settlement, division and country, without repeats.

    Args:
        place: The place.

    Returns:
        Such as "Agra, Uttar Pradesh, India".
    """
    return ", ".join(dict.fromkeys(part for part in (place.city, place.admin1, place.country) if part))


def place_phrase(place: Place) -> str:
    """Where a point is, with the distance where the settlement is far.

    Args:
        place: The place nearest to the point.

    Returns:
        Such as "near Agra, Uttar Pradesh, India" or "140 km from Hanga Roa, Chile". A name from beyond 500 km
        is said to be but that of the nearest settlement: it may lie in another country.
    """
    if place.distance_km <= _NEAR_KM:
        return f"near {place_name(place)}"
    which = "the nearest settlement of note, " if place.distance_km > _REMOTE_KM else ""
    return f"{distance(place.distance_km)} from {which}{place_name(place)}"


def printable(text: str) -> str:
    """Text from a file or a stranger, safe for a terminal.

    Args:
        text: Any text.

    Returns:
        One line in which whatever could move the cursor is a question mark.
    """
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def size(num_bytes: int) -> str:
    """A file size.

    Args:
        num_bytes: In bytes.

    Returns:
        Such as "12.3 MB", or "4.2 kB" below 0.1 MB.
    """
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.1f} kB"


def plural(number: int, noun: str) -> str:
    """A number with its noun.

    Args:
        number: How many.
        noun: In the singular, with a regular plural.

    Returns:
        Such as "1 photo" or "1,646 photos".
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _smallest_area(radius_km: float) -> str | None:
    return next((area for area, limit_km in AREAS.items() if radius_km <= limit_km), None)
