"""A real browser: Debian's chromium, driven by Playwright. `make test-browser` installs the latter."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers.clone import ROOT

HERE = Path(__file__).resolve().parent
SCREENSHOTS = ROOT / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_collection_modifyitems(items):
    """Mark the tests of this folder; skip them where there is nothing to run them with."""
    missing = "chromium: apt-get install chromium" if not CHROMIUM else ""
    if not find_spec("playwright"):
        missing = "playwright: make test-browser installs it"
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"needs {missing}"))


class Seen:
    """What a page did: messages in its console, errors, requests, dialogs and further windows."""

    def __init__(self, page):
        self.page, self.trouble, self.requests = page, [], []
        page.on("console", lambda one: one.type in ("error", "warning") and self.trouble.append(one.text))
        page.on("pageerror", lambda error: self.trouble.append(f"exception: {error}"))
        page.on("dialog", lambda one: (self.trouble.append(f"dialog: {one.message}"), one.dismiss()))
        page.on("popup", lambda one: self.trouble.append(f"window: {one.url}"))
        page.on("request", lambda one: self.requests.append(one.url))

    def elsewhere(self, start):
        """Return the requests for anything that does not begin with `start`."""
        return [url for url in self.requests if not url.startswith((start, "data:"))]

    def shot(self, name):
        """Keep what the page looks like."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Return a function that opens an address in a new window and returns what was `Seen` of it."""
    contexts = []

    def opened(url, ready="body[data-ready]", width=1440, height=900, dark=False):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        seen = Seen(context.new_page())
        seen.page.goto(url)
        seen.page.wait_for_selector(ready)
        return seen

    yield opened
    for context in contexts:
        context.close()
