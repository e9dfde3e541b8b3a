"""The page of `geotoken serve` without WebGL: answers in words, files, errors, small screens, axe."""

import csv
import io
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from geotoken import Locator
from geotoken.exports import COLUMNS
from page_cases import CHROMIUM, WITHOUT_WEBGL, give, launched, opened, settled, wait_until
from serve_cases import serving

pytest.importorskip("playwright.sync_api", reason="playwright comes with the [dev] extra")
axe_package = pytest.importorskip("axe_playwright_python", reason="axe comes with the [dev] extra")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")

HOSTILE = "=<img src=x onerror=alert(1)>'&\".jpg"
KML = "{http://www.opengis.net/kml/2.2}"


@pytest.fixture(scope="module")
def browser():
    with launched(WITHOUT_WEBGL) as running:
        yield running


@pytest.fixture(scope="module")
def origin(tiny_model):
    with serving(tiny_model, "--workers", "1", "--max-waiting", "50") as (port, _):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def photos(examples, tmp_path_factory):
    """A photo with a hostile name, a plain one, and a file that is no photo."""
    folder = tmp_path_factory.mktemp("photos")
    shutil.copy(examples / "sydney-opera-house.jpg", folder / HOSTILE)
    shutil.copy(examples / "himeji-castle.jpg", folder / "b.jpg")
    (folder / "c.jpg").write_text("no photo", encoding="utf-8")
    return [folder / HOSTILE, folder / "b.jpg", folder / "c.jpg"]


def test_the_answer_stands_in_words_where_there_is_no_webgl(browser, origin, examples):
    with opened(browser, origin) as page:
        assert page.evaluate("document.documentElement.dataset.map") == "none"
        assert "needs WebGL" in page.inner_text("#stage")
        give(page, examples / "himeji-castle.jpg")
        assert "Japan" in page.inner_text("#headline")
        assert page.locator(".levels tbody tr").count() == 11
        assert "CC" in page.inner_text("#pane-evidence") or "Public" in page.inner_text("#pane-evidence")
        page.get_by_role("slider").press("Home")
        assert "Level 0" in page.inner_text("#dock-more")


def test_play_goes_down_to_the_leaf_and_back_and_can_be_stopped(browser, origin, examples):
    with opened(browser, origin) as page:
        give(page, examples / "himeji-castle.jpg")
        page.evaluate(
            """window.told = [];
            new MutationObserver(() => told.push(document.querySelector("#level").value))
                .observe(document.querySelector("#level"), { attributeFilter: ["aria-valuetext"] })"""
        )
        rest = page.input_value("#level")
        page.click("#play")
        assert page.get_attribute("#play", "aria-label") == "Pause"
        wait_until(page, "told.length >= 3")
        page.click("#play")
        stopped = page.evaluate("told.length")
        page.wait_for_timeout(2000)
        assert page.evaluate("told.length") == stopped
        page.click("#play")  # on from there
        wait_until(page, "document.querySelector('#play').ariaLabel !== 'Pause'")
        told = list(dict.fromkeys(page.evaluate("told")))
        assert told[: told.index("10") + 1] == [str(level) for level in range(11)]
        assert page.input_value("#level") == rest


def test_photos_may_be_dropped_and_pasted(browser, origin, examples):
    data = list((examples / "himeji-castle.jpg").read_bytes())
    with opened(browser, origin) as page:
        page.evaluate(
            """(data) => {
                const carried = new DataTransfer();
                carried.items.add(new File([new Uint8Array(data)], "dropped.jpg", { type: "image/jpeg" }));
                for (const kind of ["dragenter", "drop"]) {
                    dispatchEvent(new DragEvent(kind, { dataTransfer: carried, cancelable: true }));
                    if (kind === "dragenter") window.curtain = !document.querySelector("#curtain").hidden;
                }
                document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: carried }));
            }""",
            data,
        )
        settled(page)
        assert page.evaluate("curtain")
        assert page.locator("#photos li.done").count() == 2
        page.get_by_role("button", name="Remove dropped.jpg").first.click()
        assert page.locator("#photos li").count() == 1


def test_files_hold_every_answer_and_names_are_text(browser, origin, photos, tiny_model):
    expected = Locator.from_pretrained(tiny_model).locate(photos[0])
    with opened(browser, origin, allowed=("422",)) as page:
        give(page, *photos)
        assert HOSTILE in page.inner_text("#headline")
        page.click("#tab-export")
        texts = {}
        for kind in ("geojson", "kml", "csv", "cells"):
            with page.expect_download() as saved:
                page.click(f"[data-format={kind}]")
            texts[kind] = Path(saved.value.path()).read_text(encoding="utf-8")

    features = json.loads(texts["geojson"])["features"]
    assert [one["properties"]["image"] for one in features] == [HOSTILE, "b.jpg", "c.jpg"]
    assert features[0]["geometry"]["coordinates"] == pytest.approx([expected.lng, expected.lat])
    assert features[2]["geometry"] is None
    assert "not a photo" in features[2]["properties"]["error"]

    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert set(rows[0]) <= set(COLUMNS)
    assert [row["image"] for row in rows] == [f"'{HOSTILE}", "b.jpg", "c.jpg"]  # no formula
    assert float(rows[0]["radius_50_km"]) == pytest.approx(expected.radius_km(0.5))
    assert rows[2]["status"] == "error"

    marks = list(ElementTree.fromstring(texts["kml"]).iter(f"{KML}Placemark"))
    assert [mark.findtext(f"{KML}name") for mark in marks] == [HOSTILE, "b.jpg", "c.jpg"]
    assert len(list(marks[0].iter(f"{KML}coordinates"))) == 1
    assert not list(marks[2].iter(f"{KML}coordinates"))

    listed = json.loads(texts["cells"])["features"]
    assert sum(one["properties"]["probability"] for one in listed) <= 1.001


def test_errors_say_what_helps(browser, origin, photos, examples):
    with opened(browser, origin, allowed=("422", "ERR_FAILED")) as page:
        give(page, photos[2])
        assert "not a photo" in page.inner_text("#headline")
        page.route("**/v1/locate", lambda route: route.abort())
        give(page, examples / "himeji-castle.jpg")
        page.get_by_role("button", name="himeji-castle.jpg").first.click()
        assert "The server does not answer" in page.inner_text("#headline")
        page.unroute("**/v1/locate")
        page.get_by_role("button", name="Try again").click()
        settled(page)
        assert "Japan" in page.inner_text("#headline")


def test_a_busy_server_is_asked_again_when_it_says(browser, origin, examples):
    asked = []

    def busy_once(route):
        asked.append(route.request.url)
        if len(asked) > 1:
            return route.continue_()
        body = json.dumps({"error": {"code": "busy", "message": "too much to do"}})
        return route.fulfill(status=429, headers={"Retry-After": "1"}, body=body)

    with opened(browser, origin, allowed=("429",)) as page:
        page.route("**/v1/locate", busy_once)
        page.set_input_files("#files", str(examples / "himeji-castle.jpg"))
        wait_until(page, "document.querySelector('#photos .busy')")
        assert "busy" in page.inner_text("#headline")
        settled(page)
        assert "Japan" in page.inner_text("#headline")
    assert len(asked) == 2


def test_a_key_is_asked_for_where_the_server_wants_one(browser, tiny_model, examples):
    with serving(tiny_model, "--workers", "1", "--api-key", "a-long-key") as (port, _):
        with opened(browser, f"http://127.0.0.1:{port}", allowed=("401",)) as page:
            give(page, examples / "himeji-castle.jpg")
            page.get_by_label("API key").fill("a-long-key")
            page.get_by_label("API key").press("Enter")
            wait_until(page, "document.querySelector('#headline').innerText.includes('Japan')")
            page.click("#tab-hints")
            page.check("input[value=country]")
            wait_until(page, "document.querySelector('select[name=country]').options.length > 200")


def test_numbers_that_make_no_region_are_told_and_not_sent(browser, origin, examples):
    with opened(browser, origin) as page:
        give(page, examples / "himeji-castle.jpg")
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.click("#tab-hints")
        page.check("input[value=bbox]")
        for name, value in {"west": "1", "south": "100", "east": "2", "north": "3"}.items():
            page.fill(f"input[name={name}]", value)
        page.locator("input[name=north]").press("Tab")
        assert "100 is not the south" in page.inner_text("#hint-note")
        assert page.get_attribute("input[name=south]", "aria-invalid") == "true"
        page.fill("input[name=south]", "50")
        page.locator("input[name=south]").press("Tab")
        assert "north must be greater" in page.inner_text("#hint-note")
        page.fill("input[name=guess]", "nowhere")
        page.locator("input[name=guess]").press("Tab")
        assert "Give a latitude" in page.inner_text("#guess-note")
        assert asked == []
        page.fill("input[name=guess]", "-33.86, 151.21")
        page.locator("input[name=guess]").press("Tab")
        settled(page)
        assert len(asked) == 1


def test_photos_of_one_place_get_one_answer(browser, origin, photos):
    with opened(browser, origin) as page:
        give(page, *photos[:2])
        page.click("#tab-hints")
        page.check("input[name=together]")
        settled(page)
        points = page.evaluate(
            "import('/static/store.js').then(({ state, answerOf }) => "
            "state.photos.map((photo) => [answerOf(photo).lat, answerOf(photo).lng]))"
        )
        assert points[0] == points[1]


def test_it_is_whole_on_a_small_screen(browser, origin, examples):
    with opened(browser, origin, viewport={"width": 375, "height": 700}) as page:
        give(page, examples / "himeji-castle.jpg", examples / "taj-mahal-agra.jpg")
        for name in ("evidence", "hints", "settings", "export"):
            page.click(f"#tab-{name}")
            assert page.evaluate("document.documentElement.scrollWidth") == 375
        page.click("#tab-settings")
        page.check("input[name=compare]")
        settled(page)
        wait_until(page, "document.querySelector('.compare')")
        assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_the_keyboard_goes_everywhere(browser, origin, examples):
    with opened(browser, origin) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        give(page, examples / "himeji-castle.jpg", examples / "taj-mahal-agra.jpg")
        page.focus("#tab-evidence")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == "tab-hints"
        assert page.locator("#pane-hints").is_visible()
        page.keyboard.press("End")
        assert page.locator("#pane-export").is_visible()
        second = page.get_by_role("button", name="taj-mahal-agra.jpg: located")
        second.focus()
        page.keyboard.press("Enter")
        assert "Agra" in page.inner_text("#headline")
        assert page.evaluate("document.activeElement.ariaLabel") == "taj-mahal-agra.jpg: located"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(browser, origin, photos, scheme):
    source = (Path(axe_package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    with opened(browser, origin, color_scheme=scheme, allowed=("422",)) as page:
        page.evaluate(f"{source}; 0")

        def check():
            found = page.evaluate("axe.run()")
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []
            assert len(found["passes"]) > 15

        check()
        give(page, *photos[1:])
        check()
        for name in ("hints", "settings", "export"):
            page.click(f"#tab-{name}")
            if name == "hints":
                page.check("input[value=bbox]")
            if name == "settings":
                page.check("input[name=compare]")
                settled(page)
            check()
        page.get_by_role("button", name="c.jpg: not located").click()
        check()
