import pytest

from geotoken import words
from geotoken.places import Place


def make_place(city="Agra", admin1="Uttar Pradesh", country="India", distance_km=3.0):
    return Place(city=city, admin1=admin1, country=country, country_code="IN", distance_km=distance_km)


@pytest.mark.parametrize(
    ("km", "text"),
    [
        (0.0, "under 1 m"),
        (0.0004, "under 1 m"),
        (0.0089, "8.9 m"),
        (0.35, "350 m"),
        (0.9949, "990 m"),
        (0.996, "1 km"),
        (1.0, "1 km"),
        (3.24, "3.2 km"),
        (9.97, "10 km"),
        (12.4, "12 km"),
        (145.3, "150 km"),
        (6013.0, "6,000 km"),
        (20015.0, "20,000 km"),
    ],
)
def test_distance_has_two_significant_digits(km, text):
    assert words.distance(km) == text


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "<0.1 %"),
        (0.00099, "<0.1 %"),
        (0.001, "0.1 %"),
        (0.032, "3.2 %"),
        (0.0994, "9.9 %"),
        (0.0996, "10 %"),
        (0.61, "61 %"),
        (0.99, "99 %"),
        (0.9951, ">99 %"),
        (1.0, ">99 %"),
    ],
)
def test_percent_is_never_rounded_to_certainty(probability, text):
    assert words.percent(probability) == text


@pytest.mark.parametrize(
    ("lat", "lng", "radius_km", "text"),
    [
        (-33.8568, 151.2153, 1.0, "33.8568° S, 151.2153° E"),
        (40.71, -74.01, 25.0, "40.7100° N, 74.0100° W"),
        (40.7149, -74.0151, 25.1, "40.71° N, 74.02° W"),
        (0.0, 0.0, 0.0, "0.0000° N, 0.0000° E"),
    ],
)
def test_coordinates_have_the_decimals_they_deserve(lat, lng, radius_km, text):
    assert words.coordinates(lat, lng, radius_km) == text


@pytest.mark.parametrize(
    ("radius_50_km", "radius_90_km", "city", "text"),
    [
        (0.5, 1.0, 1.0, "Sure of the street."),
        (3.0, 25.0, 0.9, "Sure of the city."),
        (0.5, 25.1, 0.8, "Sure of the region, probably the right street."),
        (0.5, 2501.0, 0.8, "Probably the right street, but not sure."),
        (25.0, 9000.0, 0.5, "Probably the right city, but not sure."),
        (100.0, 9000.0, 0.4, "Probably the right region, but not sure."),
        (300.0, 700.0, 0.4, "Sure of the country."),
        (300.0, 9000.0, 0.1, "Probably the right country, but not sure."),
        (300.0, 9000.0, 0.4, "Perhaps this city (40 %); if not, somewhere quite different."),
        (5000.0, 9000.0, 0.25, "Perhaps this city (25 %); if not, somewhere quite different."),
        (2500.0, 9000.0, 0.1, "Probably the right continent, but not sure."),
        (2501.0, 9000.0, 0.1, "A guess: the photo looks like many places."),
    ],
)
def test_verdict_says_what_the_answer_is_good_for(radius_50_km, radius_90_km, city, text):
    assert words.verdict(radius_50_km, radius_90_km, city) == text


def test_a_region_that_the_photo_speaks_against_is_doubted():
    assert words.region_verdict("Peru", 0.0002) == "Hardly Peru: the photo alone says <0.1 %."
    assert words.region_verdict("a\x1b", 0.0199) == "Hardly a?: the photo alone says 2.0 %."
    assert words.region_verdict("Peru", words.DOUBTFUL) is None


def test_a_guess_is_unsure_of_the_continent():
    assert not words.is_guess(2500.0)
    assert words.is_guess(2500.1)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (make_place(), "near Agra, Uttar Pradesh, India"),
        (make_place(admin1=""), "near Agra, India"),
        (make_place(city="Singapore", admin1="", country="Singapore"), "near Singapore"),
        (make_place(distance_km=25.0), "near Agra, Uttar Pradesh, India"),
        (make_place(distance_km=140.0), "140 km from Agra, Uttar Pradesh, India"),
        (make_place(distance_km=500.0), "500 km from Agra, Uttar Pradesh, India"),
        (
            make_place(distance_km=1900.0),
            "1,900 km from the nearest settlement of note, Agra, Uttar Pradesh, India",
        ),
    ],
)
def test_place_phrase(place, text):
    assert words.place_phrase(place) == text


def test_printable_text_cannot_move_the_cursor():
    assert words.printable("a\x1b[2Jb\tc\nd\u202ee") == "a?[2Jb c d?e"
    assert words.printable("Xi'an 西安") == "Xi'an 西安"


def test_plural_and_size():
    assert words.plural(1, "photo") == "1 photo"
    assert words.plural(1646, "photo") == "1,646 photos"
    assert words.size(12_467_689) == "12.5 MB"
    assert words.size(100_000) == "0.1 MB"
    assert words.size(4_210) == "4.2 kB"
