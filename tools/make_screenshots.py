"""Write docs/map.png and docs/report.png, pictures of the pages about the example photos.

Owns what is shown; must not know how the pages are made.

    python tools/make_screenshots.py

Needs the [dev] extra and a Chromium called `chromium` on the path.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import sync_playwright

from geotoken import Locator
from geotoken.pictures import MapPage, Report

ROOT: Final = Path(__file__).parents[1]
ARGUMENTS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
)
SHOW: Final = """() => {
    for (const entry of document.querySelectorAll("details.photo")) {
        if (entry.textContent.includes("himeji")) entry.open = true;
    }
    document.querySelector(".layers").open = true;
    document.querySelector(".side").scrollTop = 60;
}"""
"""What is done on the map page before its picture is taken."""


def main() -> int:
    """Run the tool."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium on the path", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        writers = MapPage(Path(folder, "map.html")), Report(Path(folder, "report"))
        photos = sorted((ROOT / "examples").glob("*.jpg"))
        for answer in Locator.from_pretrained().locate_many(photos):
            for writer in writers:
                writer.add(answer)
        for writer in writers:
            writer.close()
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(writers[0].path.as_uri())
        page.evaluate(SHOW)
        page.wait_for_timeout(1000)
        save(page.screenshot(), ROOT / "docs" / "map.png")
        page.set_viewport_size({"width": 1280, "height": 960})
        page.goto(writers[1].path.as_uri())
        page.wait_for_timeout(1000)
        save(page.screenshot(), ROOT / "docs" / "report.png")
        browser.close()
    return 0


def save(png: bytes, path: Path) -> None:
    """Write a screenshot with 256 colors, a third of its size."""
    with Image.open(io.BytesIO(png)) as image:
        colors = image.convert("RGB").quantize(
            256, Image.Quantize.FASTOCTREE, kmeans=3, dither=Image.Dither.NONE
        )
        colors.save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
