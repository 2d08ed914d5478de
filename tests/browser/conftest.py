"""A real browser, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, without a window; gone after these tests, for its driver keeps an event loop running in this thread."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # Only root needs to go without the sandbox, as in a container; pages are ours alone.
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a profile of its own; the test fails where the page's JavaScript did, or asked anything of another machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    opened.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(
                (
                    "http://127.0.0.1:",
                    "https://127.0.0.1:",
                    "ws://127.0.0.1:",
                    "wss://127.0.0.1:",
                    "data:",
                    "blob:",
                    "file:",
                    "about:",
                )
            )
            else wrong.append(f"asked of another machine: {request.url}")
        ),
    )
    yield opened
    context.close()
    assert wrong == []
