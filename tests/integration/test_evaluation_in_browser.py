"""The report of `geotoken eval` opened in a real browser: it runs, it fetches nothing, it can be used."""

import pytest
from typer.testing import CliRunner

from browsing import opened, wait_until
from geotoken.cli import app

HOSTILE = "<img src=x onerror=alert(1)>'&.jpg"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Three answers, one across the date line, and a photo without one."""
    folder = tmp_path_factory.mktemp("evaluation")
    lines = [
        "image,owner,true_lat,true_lng,lat,lng,nll,credible_low,credible_high,probability_200km,probability_25km"
    ]
    lines += [
        f'"{HOSTILE}",a,48.85,2.35,48.9,2.4,3,0.1,0.2,0.9,0.7',
        "b.jpg,a,-17,178,-14,-172,9,0.8,0.9,0.4,0.1",
    ]
    lines += ["c.jpg,b,0,0,60,100,20,0.99,1,0.6,0.2", "d.jpg,b,5,5,,,,,,,"]
    (folder / "p.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = CliRunner().invoke(
        app, ["eval", "--from", str(folder / "p.csv"), "--report", str(folder / "report")]
    )
    assert result.exit_code == 0, result.output
    return folder / "report" / "index.html"


@pytest.fixture
def page(browser, report):
    with opened(browser, report) as page:
        yield page


def test_the_map_shows_every_photo_and_the_way_to_its_answer(page):
    dots = page.evaluate("map.dots.map(({lat, lng, to, kind}) => [lat, lng, to ?? null, kind])")
    assert dots == [
        [48.85, 2.35, [48.9, 2.4], "region"],
        [-17, 178, [-14, -172], "neighbor"],
        [0, 0, [60, 100], "answer"],
        [5, 5, None, "answer"],
    ]
    page.evaluate("() => { drawn = []; map.stroke = (context, shapes) => drawn.push(shapes); }")
    page.locator("#photo-2").hover()
    wait_until(page, "drawn.some((shapes) => shapes.length === 1 && shapes[0].line.length === 4)")
    line = page.evaluate("drawn.find((shapes) => shapes.length === 1 && shapes[0].line.length === 4)[0].line")
    assert abs(line[2] - line[0]) == pytest.approx(10 / 360), "over the date line, not around the Earth"


def test_a_dot_says_what_it_is_and_shows_its_way(page):
    x, y = page.evaluate("map.toScreen(0, 0)")
    page.locator(".map canvas").first.hover(position={"x": x, "y": y})
    wait_until(page, "map.pointed?.lat === 0")
    assert "c.jpg" in page.locator(".tip").inner_text()
    page.get_by_role("searchbox").hover()
    wait_until(page, "map.pointed === null")


def test_the_table_is_sorted_and_filtered(page):
    names = "[...document.querySelectorAll('.answers tbody tr:not([hidden])')].map((row) => row.id)"
    page.get_by_role("button", name="Error").click()
    page.get_by_role("button", name="Error").click()
    assert page.evaluate(names) == ["photo-3", "photo-2", "photo-1", "photo-4"], "no error: stays last"
    page.get_by_role("searchbox").fill("c.jpg")
    assert page.evaluate(names) == ["photo-3"]


def test_plots_are_drawn_and_nothing_is_wider_than_a_phone(page):
    widths = page.evaluate("[...document.querySelectorAll('.plots svg')].map((svg) => svg.clientWidth)")
    assert len(widths) >= 3
    assert min(widths) > 200
    color = page.evaluate("getComputedStyle(document.querySelector('.plots path.s0')).stroke")
    assert color not in ("none", "")
    page.set_viewport_size({"width": 380, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
