import io

import pytest
from rich.console import Console

from geotoken.cli.panel import FullPanel, ShortPanel, neighbor_labels, neighbors_table
from geotoken.gallery import GalleryTable
from geotoken.regions import Region

LABELS = ["Taj Mahal", "Sphinx [bold]", "Opera\x1b[2J"]


def render(panel, width=80, **options) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, **options)
    console.print(panel)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_panel_keeps_to_the_width(make_prediction, width):
    prediction = make_prediction(warnings=("this file already carries GPS",))
    for panel in (FullPanel("a" * 300, [prediction], [LABELS]), ShortPanel("photo.jpg", prediction)):
        assert {len(line) for line in render(panel, width).splitlines()} == {width}


def test_the_full_panel_tells_everything(make_prediction):
    prediction = make_prediction(warnings=("this file already carries GPS (1, 2)",))
    text = render(FullPanel("photo.jpg", [prediction], [LABELS]))
    for part in (
        "photo.jpg",
        "Near Agra, Uttar Pradesh, India",
        "27.17",
        "Even odds within",
        "9 in 10 within",
        "9,300 km",  # the face
        "8.9 m",  # the leaf
        "this answer",
        "Giza",
        "0.90  under 1 m  Taj Mahal",
        "CC0 · Ann",
        "https://example.org/a.jpg",
        "Sphinx [bold]",
        "CC BY 4.0",
        "Note: this file already carries GPS (1, 2).",
    ):
        assert part in text
    assert "\x1b" not in text


def test_each_token_has_its_line(make_prediction):
    prediction = make_prediction()
    lines = render(FullPanel("photo.jpg", [prediction], [LABELS])).splitlines()
    start = next(i for i, line in enumerate(lines) if "Narrowing down" in line)
    levels = [line.split()[1] for line in lines[start + 1 : start + 12]]
    assert levels == ["face", *map(str, range(2, 21, 2))]


def test_bars_grow_with_the_probability(make_prediction):
    prediction = make_prediction()
    lines = render(FullPanel("photo.jpg", [prediction], [LABELS])).splitlines()
    bars = [line.count("━") for line in lines if "━" in line]
    assert bars == sorted(bars, reverse=True)
    assert bars[0] == pytest.approx(22 * prediction.levels[0].probability, abs=1)


def test_a_wide_panel_is_shorter(make_prediction):
    panel = FullPanel("photo.jpg", [make_prediction()], [LABELS])
    assert len(render(panel, 120).splitlines()) < len(render(panel, 80).splitlines())


def test_evidence_of_several_photos_is_merged_best_first(make_prediction):
    first = make_prediction(similarity=0.8, warnings=("it has GPS",), image="one.jpg")
    second = make_prediction(similarity=0.95, warnings=("so has it",), image="two.jpg")
    text = render(FullPanel("2 photos", [first, second], [LABELS, ["Fort", "Nile", "Harbour"]]))
    assert text.index("0.95  under 1 m  Fort") < text.index("Nile") < text.index("Taj Mahal")
    assert "Note: one.jpg: it has GPS." in text
    assert "Note: two.jpg: so has it." in text


def test_a_guess_is_called_one(make_prediction):
    vague = make_prediction(similarity=-0.5)
    for panel in (FullPanel("photo.jpg", [vague], [LABELS]), ShortPanel("photo.jpg", vague)):
        text = render(panel)
        assert "Best bet: near Agra" in text
        assert "A guess: the photo looks like many places." in text


def test_a_region_that_the_photo_speaks_against_is_never_sure(make_prediction):
    region = Region.country("IN")
    for share, verdict in [
        (0.0004, "Hardly India: the photo alone says <0.1 %."),
        (0.3, "Given that it is India: the photo alone says 30 %."),
    ]:
        prediction = make_prediction(region=region, region_probability=share)
        for panel in (FullPanel("photo.jpg", [prediction], [LABELS]), ShortPanel("photo.jpg", prediction)):
            text = render(panel)
            assert verdict in text
            assert ("Sure of" in text or "robably" in text or "Perhaps" in text) == (share > 0.02)
            assert ("Inside it, even odds" in text) == (share < 0.02)


def test_the_short_panel_is_short(make_prediction):
    text = render(ShortPanel("photo.jpg", make_prediction(warnings=("it has GPS",))))
    assert len(text.splitlines()) <= 8
    assert "Near Agra, Uttar Pradesh, India" in text
    assert "face" in text
    assert "Note: it has GPS." in text


def test_a_photo_without_neighbors_can_be_shown(make_prediction):
    prediction = make_prediction()
    none = prediction.neighbors
    empty = type(none)(
        **{name: getattr(none, name)[:0] for name in type(none).__slots__}  # dataclass with slots
    )
    text = render(FullPanel("photo.jpg", [make_prediction(neighbors=empty)], [[]]))
    assert "Looks like no photo of the gallery" in text


def test_coordinates_and_sources_are_links_on_a_terminal(make_prediction):
    panel = FullPanel("photo.jpg", [make_prediction()], [LABELS])
    text = render(panel, force_terminal=True, color_system="truecolor", legacy_windows=False)
    assert "openstreetmap.org/?mlat=27.17510&mlon=78.04210" in text
    assert ";https://example.org/a.jpg" in text
    assert "\x1b[2J" not in text


def test_the_table_of_neighbors_names_place_and_credit(make_prediction):
    lines = render(neighbors_table(make_prediction().neighbors, LABELS)).splitlines()
    assert [line.rstrip() for line in lines[:4]] == [
        "0.90  Taj Mahal",
        "      near Agra, Uttar Pradesh, India, 27.1751° N, 78.0421° E",
        "      CC0 · Ann",
        "      https://example.org/a.jpg",
    ]
    assert lines[4].startswith("0.80  Sphinx [bold]")


def test_a_neighbor_without_a_label_is_called_by_its_id(make_prediction):
    rows = [{"id": name, "lat": 0, "lng": 0, "label": label} for name, label in [("x", "Fort"), ("y", None)]]
    neighbors = make_prediction((27.0, 78.0), (30.0, 31.0)).neighbors
    assert neighbor_labels(neighbors, GalleryTable.from_rows(rows)) == ["Fort", "photo-1"]
