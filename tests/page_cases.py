"""What tests of the page of the server share: browsers, and a page that is watched."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WITH_WEBGL = (*ARGUMENTS, "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WITHOUT_WEBGL = (*ARGUMENTS, "--disable-gpu", "--disable-3d-apis")

SHIFTS = """
window.shifts = [];
const nameOf = (node) => node && (node.id || node.className || node.nodeName);
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
        const moved = entry.sources.map(({ node }) => nameOf(node));
        if (!entry.hadRecentInput) window.shifts.push([entry.value, ...moved]);
    }
}).observe({ type: "layout-shift", buffered: true });
"""
"""Notes what moved though nobody touched anything."""


@contextmanager
def launched(flags: Sequence[str]) -> Iterator:
    """Chromium with these flags, as Playwright drives it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(flags))
        yield running
        running.close()


@contextmanager
def opened(browser, origin: str, *, allowed: tuple[str, ...] = (), **options) -> Iterator:
    """The page; at the end it must have been silent, have moved nothing and have asked nobody else.

    A message of the console that contains one of `allowed` is let pass: the browser itself reports each reply
    that is an error.
    """
    defaults = {"viewport": {"width": 940, "height": 560}, "reduced_motion": "reduce"}
    context = browser.new_context(**defaults | options)
    page = context.new_page()
    page.set_default_timeout(180_000)
    trouble = []

    def note(text: str) -> None:
        if "GPU stall" not in text and not any(part in text for part in allowed):
            trouble.append(text)

    page.on("console", lambda message: note(message.text))
    page.on("pageerror", lambda error: note(str(error)))
    page.on("dialog", lambda dialog: note(dialog.message))
    page.on(
        "request",
        lambda r: r.url.startswith((f"{origin}/", "blob:", "data:")) or note(f"asked {r.url}"),
    )
    page.add_init_script(SHIFTS)
    page.goto(f"{origin}/")
    wait_until(page, "document.documentElement.dataset.map")
    yield page
    shifts = page.evaluate("shifts")
    assert sum(size for size, *_ in shifts) < 0.005, shifts  # a line of a note, long after a click on it
    assert not trouble, trouble
    context.close()


def wait_until(page, condition: str, seconds: float = 180) -> None:
    """Wait for a condition in the page; Playwright's own way needs `eval`, which the page forbids."""
    for _ in range(int(seconds * 20)):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never: {condition}")


def give(page, *paths) -> None:
    """Choose photos, and wait until all are settled."""
    page.set_input_files("#files", [str(path) for path in paths])
    settled(page)


def settled(page) -> None:
    """Wait until no photo is under way."""
    wait_until(
        page, "!document.querySelector('#photos :is(.working, .busy)') && !document.querySelector('.ghost')"
    )
