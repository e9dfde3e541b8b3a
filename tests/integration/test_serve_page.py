"""The page of `geotoken serve` in a real browser with WebGL: the map, the way down the levels, regions."""

import io

import numpy as np
import pytest
from PIL import Image

from geotoken import Locator, cells
from geotoken.geo import haversine_km
from geotoken.regions import Region
from geotoken.words import distance, place_name, verdict
from page_cases import CHROMIUM, WITH_WEBGL, give, launched, opened, settled, wait_until
from serve_cases import serving

pytest.importorskip("playwright.sync_api", reason="playwright comes with the [dev] extra")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")


@pytest.fixture(scope="module")
def browser():
    with launched(WITH_WEBGL) as running:
        yield running


@pytest.fixture(scope="module")
def origin(tiny_model):
    with serving(tiny_model, "--workers", "1", "--max-waiting", "50") as (port, _):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def locator(tiny_model):
    return Locator.from_pretrained(tiny_model)


def picture_of(page):
    """The pixels of the map, shape (H, W, 3), once it is at rest."""
    page.wait_for_timeout(900)
    box = {"x": 60, "y": 50, "width": 450, "height": 330}
    with Image.open(io.BytesIO(page.screenshot(clip=box, timeout=180_000))) as image:
        return np.asarray(image.convert("RGB"), dtype=int)


def differ(one, other) -> bool:
    return bool((abs(one - other).max(axis=2) > 24).mean() > 0.02)


def test_a_photo_becomes_a_place_that_the_slider_narrows(browser, origin, locator, examples):
    expected = locator.locate(examples / "himeji-castle.jpg")
    with opened(browser, origin) as page:
        assert page.evaluate("document.documentElement.dataset.map") == "ready"
        world = picture_of(page)
        give(page, examples / "himeji-castle.jpg")
        words = page.inner_text("#headline")
        assert place_name(expected.place) in words
        assert distance(expected.radius_km(0.5)) in words
        in_city = expected.posterior.probability_within_km(expected.lat, expected.lng, 25)
        assert verdict(expected.radius_km(0.5), expected.radius_km(0.9), in_city) in words
        assert "himeji-castle.jpg: " in page.inner_text("#status")
        answer = picture_of(page)
        assert differ(world, answer)
        slider = page.get_by_role("slider")
        slider.focus()
        page.keyboard.press("Home")
        assert slider.get_attribute("aria-valuetext").startswith("Level 0, a face of the cube, 9,300 km")
        face = picture_of(page)
        assert differ(answer, face)
        page.keyboard.press("ArrowRight")
        assert "Level 2" in page.inner_text("#dock-more")
        page.keyboard.press("End")
        assert "Level 20" in page.inner_text("#dock-more")
        assert page.locator(".column").count() == len(expected.levels)
        assert [int(text) for text in page.locator(".column em").all_inner_texts()] == list(expected.tokens)


def test_the_map_has_two_shapes_and_two_lights(browser, origin):
    with opened(browser, origin) as page:
        globe = picture_of(page)
        page.get_by_role("button", name="Flat map").click()
        flat = picture_of(page)
        assert differ(globe, flat)
        page.get_by_role("button", name="Dark colors").click()
        dark = picture_of(page)
        assert dark.mean() < flat.mean() - 60
        page.reload()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"  # it was chosen here
        wait_until(page, "document.documentElement.dataset.map")


def test_dark_is_the_choice_of_the_system_at_first(browser, origin):
    with opened(browser, origin, color_scheme="dark") as page:
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert picture_of(page).mean() < 90


def test_the_first_answer_plays_by_itself_for_those_who_like_motion(browser, origin, examples):
    small = {"width": 420, "height": 480}
    with opened(browser, origin, viewport=small, reduced_motion="no-preference") as page:
        give(page, examples / "himeji-castle.jpg")
        wait_until(page, "document.querySelector('#play').ariaLabel === 'Pause'")
        page.locator("#map").dispatch_event("wheel")  # whoever takes the map in hand stops it
        wait_until(page, "document.querySelector('#play').ariaLabel !== 'Pause'")


def test_a_region_is_drawn_typed_or_chosen_and_the_answer_lies_in_it(browser, origin, examples):
    with opened(browser, origin) as page:
        give(page, examples / "himeji-castle.jpg")
        page.click("#tab-hints")
        page.check("input[value=country]")
        page.select_option("select[name=country]", "AU")
        settled(page)
        assert "Australia" in page.inner_text("#headline")
        assert "By photo alone" in page.inner_text("#headline")

        page.check("input[value=near]")
        page.click("[data-kind=near] .draw")
        page.mouse.move(250, 160)
        page.mouse.down()
        page.mouse.move(300, 200, steps=4)
        page.mouse.up()
        settled(page)
        lat, lng, km = (float(page.input_value(f"input[name={name}]")) for name in ("lat", "lng", "km"))
        assert km > 1
        answer = page.evaluate("import('/static/store.js').then(({ shown }) => [shown().lat, shown().lng])")
        assert haversine_km(lat, lng, *answer) <= km + 0.1

        page.check("input[value=bbox]")
        box = {"west": 5, "south": 36, "east": 20, "north": 48}
        for name, value in box.items():
            page.fill(f"input[name={name}]", str(value))
        page.locator("input[name=north]").press("Tab")
        settled(page)
        answer = page.evaluate("import('/static/store.js').then(({ shown }) => [shown().lat, shown().lng])")
        assert Region.bbox(**box).contains(*answer)


def test_two_settings_are_on_one_map_and_in_one_table(browser, origin, examples):
    with opened(browser, origin) as page:
        give(page, examples / "taj-mahal-agra.jpg")
        page.click("#tab-settings")
        page.check("input[name=compare]")
        settled(page)
        wait_until(page, "document.querySelectorAll('.answer-marker').length === 2")
        assert page.locator(".answer-marker").all_inner_texts() == ["A", "B"]
        rows = page.locator(".compare tbody tr")
        assert rows.count() >= 7
        assert "apart" in page.inner_text(".compare caption")
        page.get_by_role("button", name="Settings B").click()
        assert page.get_by_role("button", name="Settings B").get_attribute("aria-pressed") == "true"
        page.uncheck("input[name=compare]")
        wait_until(page, "document.querySelectorAll('.answer-marker').length === 1")


def test_rings_and_areas_are_those_of_the_cells(browser, origin):
    random = np.random.default_rng(7)
    levels = random.integers(0, 21, 60)
    points = np.degrees(np.arcsin(random.uniform(-1, 1, 60))), random.uniform(-180, 180, 60)
    ids = [cells.from_lat_lng(lat, lng, int(level)) for lat, lng, level in zip(*points, levels, strict=True)]
    ids += [cells.from_lat_lng(lat, lng, level) for lat, lng in ((90, 0), (0, 180)) for level in (0, 1, 5)]
    with opened(browser, origin) as page:
        found = page.evaluate(
            """(names) => import("/static/cells.js").then((c) => names.map((name) => {
                const cell = c.parseCell(name);
                return [cell.level, c.areaKm2(cell), c.ringOf(cell), c.parentHex(name, cell.level >> 1)];
            }))""",
            [str(cells.to_hex(cell_id)) for cell_id in ids],
        )
    for cell_id, (level, area_km2, ring, parent) in zip(ids, found, strict=True):
        assert level == cells.level(cell_id)
        assert area_km2 == pytest.approx(float(cells.area_km2(cell_id)), rel=1e-3)  # a difference of angles
        assert parent == str(cells.to_hex(cells.parent(cell_id, level >> 1)))
        lng, lat = np.array(ring).T
        assert abs(np.diff(lng)).max() <= 360 if abs(lat).max() > 89 else abs(np.diff(lng)).max() < 180
        expected = np.array(cells.corners(cell_id)).T
        gaps = haversine_km(lat[:, None], lng[:, None], expected[:, 0], expected[:, 1])
        assert gaps.min(axis=0).max() < 1e-6  # each corner of the cell is on the ring
