"""Write docs/page-*.png, pictures of the page of `geotoken serve`: light, dark, on a phone, and at play.

Owns what is shown; must not know how the page is made.

    python tools/make_page_screenshots.py

Needs the [dev] extra and a Chromium called `chromium` on the path, which draws the map in software.
"""

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from make_screenshots import ARGUMENTS, ROOT

WEBGL: Final = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PATIENCE_MS: Final = 120_000
SETTLE_MS: Final = 2_500


def main() -> int:
    """Run the tool."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium on the path", file=sys.stderr)
        return 2
    with serving() as origin, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*ARGUMENTS, *WEBGL])
        with opened(browser, origin) as page:
            give(page, "himeji-castle", "taj-mahal-agra", "sydney-opera-house", "great-sphinx-giza")
            to_level(page, 2)
            shoot(page, "light")
        with opened(browser, origin, color_scheme="dark") as page:
            give(page, "taj-mahal-agra", "himeji-castle")
            shoot(page, "dark")
        with opened(browser, origin, color_scheme="dark") as page:
            give(page, "himeji-castle")
            page.wait_for_timeout(SETTLE_MS)
            page.click("#play")
            until(page, "document.querySelector('#level').value === '1'")
            shoot(page, "play", settle_ms=300)
        with opened(browser, origin, viewport={"width": 375, "height": 812}) as page:
            give(page, "sydney-opera-house", "himeji-castle")
            shoot(page, "phone")
        browser.close()
    return 0


@contextmanager
def serving() -> Iterator[str]:
    """A server with the bundled model, at the address that is given."""
    command = [sys.executable, "-m", "geotoken", "serve", "--port", "0", "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline() if process.stdout else ""
            yield re.findall(r"(http://\S+?)/(?:\s|$)", said)[0]
        finally:
            process.terminate()


@contextmanager
def opened(browser: Browser, origin: str, **options: Any) -> Iterator[Page]:
    """The page, once its map is there."""
    defaults = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}
    context = browser.new_context(**defaults | options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{origin}/")
    until(page, "document.documentElement.dataset.map")
    yield page
    context.close()


def give(page: Page, *names: str) -> None:
    """Choose example photos and wait for the answers."""
    page.set_input_files("#files", [ROOT / "examples" / f"{name}.jpg" for name in names])
    until(page, "!document.querySelector('#photos :is(.working, .busy)')")


def to_level(page: Page, position: int) -> None:
    """Move the slider, and the focus away from it."""
    page.focus("#level")
    page.keyboard.press("Home")
    for _ in range(position):
        page.keyboard.press("ArrowRight")
    page.evaluate("document.activeElement.blur()")


def until(page: Page, condition: str) -> None:
    """Wait for a condition in the page, whose policy forbids Playwright's own way."""
    while not page.evaluate(condition):
        page.wait_for_timeout(50)


def shoot(page: Page, name: str, settle_ms: int = SETTLE_MS) -> None:
    """Write a picture of what is seen."""
    page.wait_for_timeout(settle_ms)
    with Image.open(io.BytesIO(page.screenshot(timeout=PATIENCE_MS))) as image:
        image.convert("RGB").save(ROOT / "docs" / f"page-{name}.png", optimize=True)


if __name__ == "__main__":
    sys.exit(main())
