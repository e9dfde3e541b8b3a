"""`--map` and `--report` opened in a real browser: they run, they fetch nothing, they can be used."""

import base64
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from browsing import opened, wait_for_paint, wait_until
from geotoken import cells
from geotoken.cli import app
from geotoken.geo import haversine_km, to_xyz
from geotoken.pictures.tree import decode_tree

HOSTILE = "<img src=x onerror=alert(1)>'&.jpg"
SQUARE = {"type": "Polygon", "coordinates": [[[170, -20], [-170, -20], [-170, 0], [170, 0], [170, -20]]]}


@pytest.fixture(scope="module")
def pictures(tiny_model, examples, tmp_path_factory):
    """Map and report of two photos, one with a hostile name, and a file that is no photo."""
    folder = tmp_path_factory.mktemp("pictures")
    photos = folder / "photos"
    photos.mkdir()
    shutil.copy(examples / "himeji-castle.jpg", photos / "b.jpg")
    shutil.copy(examples / "sydney-opera-house.jpg", photos / HOSTILE)
    (photos / "a.jpg").write_text("no photo", encoding="utf-8")
    flags = ["--map", str(folder / "map.html"), "--report", str(folder / "report"), "--json"]
    result = CliRunner().invoke(app, ["locate", str(photos), "--model", str(tiny_model), *flags])
    assert result.exit_code == 4, result.output
    assert len(json.loads(result.stdout)) == 3
    return folder


def picture_of(page):
    """The pixels of the map, shape (H, W, 3)."""
    wait_for_paint(page)
    url = page.evaluate("map.canvas.toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) as image:
        return np.asarray(image.convert("RGB"))


def test_the_slider_changes_the_cells_and_is_said(browser, pictures):
    with opened(browser, pictures / "map.html") as page:
        before = picture_of(page)
        slider = page.get_by_role("slider")
        slider.focus()
        page.keyboard.press("Home")
        assert "level 0" in slider.get_attribute("aria-valuetext")
        assert page.evaluate("map.level") == 0
        assert not page.get_by_label("follow the zoom").is_checked()
        coarse = picture_of(page)
        assert (coarse != before).any()
        page.keyboard.press("End")
        assert page.evaluate("map.level") == 20
        assert (picture_of(page) != coarse).any()


def test_cells_are_those_of_the_posterior(browser, pictures):
    with opened(browser, pictures / "map.html") as page:
        tree = page.evaluate("map.scene.tree")
        found = page.evaluate("cut(map.scene.faces, 30).map((cell) => cell.p)")
        assert sorted(found) == pytest.approx(sorted(decode_tree(tree)[1]), rel=1e-9)
        total = page.evaluate("map.scene.faces.reduce((sum, face) => sum + face.p, 0)")
        assert total == pytest.approx(1, abs=1e-3)


def test_rings_and_areas_are_those_of_the_cells(browser, pictures):
    with opened(browser, pictures / "map.html") as page:
        level = page.evaluate("map.scene.levels.at(4)")
        drawn = page.evaluate(
            f"cut(map.scene.faces, {level}).filter((cell, k) => k % 23 === 0)"
            ".map((cell) => [cell.level, corners(cell, 1), areaKm2(cell)])"
        )
        assert len(drawn) > 10
        for depth, ring, area_km2 in drawn:
            lng, lat = np.array(ring).T
            cell_id = cells.from_xyz(to_xyz(lat, lng).mean(axis=0), depth)
            expected = np.array(cells.corners(cell_id)).T
            gaps = haversine_km(lat[:, None], lng[:, None], expected[:, 0], expected[:, 1])
            assert gaps.min(axis=0).max() < 1e-6  # each corner of the S2 cell is one of the ring's
            assert area_km2 == pytest.approx(float(cells.area_km2(cell_id)), rel=1e-6)


def test_rings_run_on_over_the_antimeridian_and_around_poles(browser, pictures):
    with opened(browser, pictures / "map.html") as page:
        spans = page.evaluate(
            """[0, 2, 4].map((level) => Math.max(...cut(map.scene.faces, level)
            .map((cell) => { const s = shape(cell); return s.x1 - s.x0; })))"""
        )
        assert spans[0] == pytest.approx(1, abs=0.01)  # the face around a pole is as wide as the world
        assert spans[1] <= 0.2501
        assert spans[2] <= 0.2501
        found = page.evaluate(
            "[[0, 179.999], [0, -179.999], [89.99, 5], [-89.99, 5]]"
            ".map(([lat, lng]) => cellAt(map.scene.faces, 2, lat, lng).face)"
        )
        assert found == [3, 3, 2, 5]


def test_keys_wheel_and_buttons_move_the_map(browser, pictures):
    with opened(browser, pictures / "map.html", reduced_motion="reduce") as page:
        scale = "map.view.scale"
        page.get_by_role("application").focus()
        start = page.evaluate(scale)
        page.keyboard.press("+")
        assert page.evaluate(scale) > start
        page.keyboard.press("w")
        assert page.evaluate(scale) == page.evaluate("map.minScale()")
        page.mouse.move(300, 300)
        page.mouse.wheel(0, -600)
        wait_until(page, "map.view.scale > map.minScale()")
        x = page.evaluate("map.view.x")
        page.mouse.down()
        page.mouse.move(200, 300, steps=3)
        page.mouse.up()
        assert page.evaluate("map.view.x") > x
        page.get_by_role("button", name="Show the answer").click()
        assert page.evaluate(scale) == pytest.approx(start, rel=1e-6)
        before = picture_of(page)
        page.get_by_text("Layers").click()
        page.get_by_label("Cells by probability").uncheck()
        assert (picture_of(page) != before).any()


def test_two_fingers_zoom_and_one_moves(browser, pictures):
    with opened(browser, pictures / "map.html", has_touch=True, reduced_motion="reduce") as page:
        touch = page.context.new_cdp_session(page)

        def fingers(kind, *points):
            places = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(points)]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

        page.evaluate("map.world()")
        fingers("touchStart", (250, 300), (350, 300))
        for spread in (20, 60, 100):
            fingers("touchMove", (250 - spread, 300), (350 + spread, 300))
        fingers("touchEnd")
        assert page.evaluate("map.view.scale / map.minScale()") == pytest.approx(3, rel=0.15)
        x = page.evaluate("map.view.x")
        fingers("touchStart", (250, 300))
        fingers("touchMove", (150, 300))
        fingers("touchEnd")
        assert page.evaluate("map.view.x") != x


def test_a_tip_tells_what_is_under_the_pointer(browser, pictures):
    with opened(browser, pictures / "map.html", reduced_motion="reduce") as page:
        x, y = page.evaluate("map.toScreen(...map.scene.answer)")
        page.mouse.move(x, y)
        assert page.locator(".tip").inner_text().startswith("Answer: ")
        page.mouse.move(x + 60, y + 40)
        assert "cell of level" in page.locator(".tip").inner_text()
        row = page.locator(".photo[open] .found .show").nth(3)
        row.click()
        x, y = page.evaluate("map.toScreen(map.ring.lat, map.ring.lng)")
        page.mouse.move(x, y)
        assert page.locator(".tip").is_visible()


def test_photos_of_one_page_are_shown_one_at_a_time(browser, pictures):
    with opened(browser, pictures / "map.html") as page:
        entries = page.locator("details.photo")
        assert entries.count() == 3
        first = page.evaluate("map.scene.answer")
        name = entries.nth(2).locator("summary strong").inner_text()
        entries.nth(2).locator("summary").click()
        wait_until(page, f"map.scene && JSON.stringify(map.scene.answer) !== {json.dumps(json.dumps(first))}")
        assert page.locator("details.photo[open]").count() == 1
        assert name in page.get_by_role("application").get_attribute("aria-label")
        assert page.locator("details.photo img").evaluate_all(
            "all => all.every((one) => one.naturalWidth > 0)"
        )
        page.locator("details.photo", has_text="Not located").locator("summary").click()
        wait_until(page, "map.scene === null")


def test_a_region_that_photos_share_is_drawn_for_each(browser, tiny_model, examples, tmp_path):
    photos = [str(examples / name) for name in ("himeji-castle.jpg", "sydney-opera-house.jpg")]
    flags = ["--map", str(tmp_path / "map.html"), "--within", "bbox=0,0,20,20"]
    result = CliRunner().invoke(app, ["locate", *photos, "--model", str(tiny_model), *flags])
    assert result.exit_code == 0, result.output
    with opened(browser, tmp_path / "map.html", reduced_motion="reduce") as page:
        for number in range(2):
            if number:
                page.locator("details.photo summary").nth(number).click()
                wait_for_paint(page)
            assert page.evaluate("map.scene.lines.region.length") == 1
            assert page.locator(".map.held-to").count() == 1


def test_a_near_view_says_that_the_outline_is_simplified(browser, pictures):
    with opened(browser, pictures / "map.html", reduced_motion="reduce") as page:
        page.evaluate("map.world()")
        wait_until(page, "map.canvas.dataset.simplified === 'false'")
        page.evaluate("map.zoom(1e4)")
        wait_until(page, "map.canvas.dataset.simplified === 'true'")


def test_a_region_is_outlined(browser, pictures):
    with opened(browser, pictures / "map.html", reduced_motion="reduce") as page:
        page.evaluate("map.world()")
        before = picture_of(page)
        page.evaluate(
            "(square) => { map.scene.lines.region = regionLines(square).map((line) => withBox(unroll(line)));"
            " map.draw(); }",
            SQUARE,
        )
        changed = (picture_of(page) != before).any(axis=2)
        assert 20 < changed.sum() < 5000
        assert np.ptp(np.flatnonzero(changed.any(axis=1))) < 0.2 * len(changed)


def test_the_table_sorts_filters_and_leads_to_the_photos(browser, pictures):
    with opened(browser, pictures / "report" / "index.html") as page:
        names = page.locator("table.answers tbody tr .name")
        header = page.get_by_role("columnheader", name="Name")
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == "ascending"
        rising = names.all_inner_texts()
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == "descending"
        assert names.all_inner_texts() == rising[::-1]
        assert HOSTILE.split("/")[-1] in rising
        page.get_by_role("columnheader", name="50 % radius").get_by_role("button").click()
        values = page.locator("td[data-label='50 %:']").evaluate_all(
            "all => all.map((one) => one.dataset.value)"
        )
        assert values[-1] == ""
        assert [float(value) for value in values[:-1]] == sorted(float(value) for value in values[:-1])
        assert header.get_attribute("aria-sort") is None
        page.get_by_role("searchbox").fill("himeji")
        assert page.locator("table.answers tbody tr:visible").count() == 1
        assert page.get_by_text("1 of 3 photos").is_visible()
        assert page.evaluate("map.dots.filter((dot) => !dot.hidden).length") == 1
        page.locator("table.answers tbody tr:visible a").click()
        page.wait_for_url("**/photos/*.html")
        wait_for_paint(page)
        assert "Himeji" in page.locator("article").inner_text()
        page.get_by_role("link", name="All photos").click()
        page.locator("tr:target").wait_for()


@pytest.mark.parametrize("name", ["map.html", "report/index.html", "report/photos/0003.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(browser, pictures, name, scheme):
    size = {"width": 375, "height": 720}
    with opened(browser, pictures / name, viewport=size, color_scheme=scheme, has_touch=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert page.locator(".map canvas").first.bounding_box()["height"] > 200


def test_thumbnails_of_a_report_carry_nothing_but_pixels(pictures):
    thumbnails = sorted((pictures / "report" / "thumbnails").iterdir())
    assert len(thumbnails) == 2
    for path in thumbnails:
        with Image.open(path) as image:
            assert max(image.size) == 240
            assert not image.getexif()
