import re
from xml.etree import ElementTree

import pytest

from geotoken.evaluate.plots import HEIGHT, PERCENT, WIDTH, Axis, Line, plot

PERCENTS = Axis(label="share, %", low=0, high=100, ticks=PERCENT)


def test_places_are_linear_or_logarithmic_and_stay_on_the_axis():
    assert PERCENTS.place(25) == 0.25
    log = Axis(label="km", low=0.01, high=10_000, ticks=(), log=True)
    assert log.place(10) == pytest.approx(0.5)
    assert [log.place(value) for value in (0.0, 0.01, 1e9)] == [0, 0, 1]


def test_a_plot_is_well_formed_and_escapes_what_it_is_given():
    lines = [Line(name="<a>", points=[(0, 0), (100, 100)]), Line(name="b&c", points=[(0, 50)], dots=True)]
    figure = ElementTree.fromstring(plot('"<title>"', PERCENTS, PERCENTS, lines, diagonal=True))
    texts = "".join(figure.itertext())
    assert "<a>" in texts
    assert "b&c" in texts
    assert figure.find("svg").attrib["aria-label"] == '"<title>"'
    assert len(figure.findall(".//circle")) == 1
    assert "style" not in {
        name for element in figure.iter() for name in element.attrib
    }  # the page forbids it


def test_lines_go_from_corner_to_corner():
    drawn = plot("t", PERCENTS, PERCENTS, [Line(name="a", points=[(0, 0), (100, 100)])])
    (path,) = re.findall(r'class="line s0" d="M([^"]*)"', drawn)
    (x0, y0), (x1, y1) = (map(float, corner.split()) for corner in path.split("L"))
    frame = re.search(r'class="frame" x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"', drawn)
    left, top, width, height = map(float, frame.groups())
    assert (x0, y0, x1, y1) == (left, top + height, left + width, top)
    assert width < WIDTH
    assert height < HEIGHT
    assert "halo" not in drawn, "a line alone needs no legend"
