"""Pages in a real browser."""

from contextlib import contextmanager

import pytest


@contextmanager
def opened(browser, path, **options):
    """A page; at the end, it must have been silent and have asked for nothing but files."""
    context = browser.new_context(**{"viewport": {"width": 1000, "height": 600}} | options)
    page = context.new_page()
    trouble = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", lambda dialog: trouble.append(dialog.message))
    page.on("request", lambda r: r.url.startswith(("file:", "data:")) or trouble.append(r.url))
    page.goto(path.as_uri())
    wait_for_paint(page)
    yield page
    assert trouble == []
    context.close()


def wait_for_paint(page):
    wait_until(page, "typeof map === 'object' && !map.waiting && map.canvas.dataset.painted > 0")


def wait_until(page, condition):
    """Wait for a condition in the page; Playwright's own way needs `eval`, which the page forbids."""
    for _ in range(500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"never: {condition}")
