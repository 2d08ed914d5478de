"""How fast the workbench answers in a real browser: ``python -m tests.browser.measure``. It prints, and never fails on time.

Idle, and while four fits and a PTA keep all cores busy: from the move of a slider to the drawn curve (4,000 draws, 12 MICs), a complaint
about a field, and the first paint of a window.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.browser.test_workbench import serving

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

ROUNDS = 100
_PTA = (
    "import tdmx_dask as tdmx; s = tdmx.read_study('meropenem_sepsis'); tdmx.pta(s.population, '1 g q8h', 'T>MIC >= 50%', "
    "mic=[1, 2], n=10**9, scenarios={'a': {'CCr': 100}}, run='threads', n_workers=1)"
)

# From the change of an input to two frames after the change that it caused: the first frame may have begun before.
_UNTIL = """async ([of, value, watched, property]) => {
  const models = [...Bokeh.documents[0]._all_models.values()]
  const input = models.find((m) => m.html_id == of), seen = models.find((m) => m.name == watched || m.html_id == watched)
  return await new Promise((done) => {
    const began = performance.now()
    const changed = () => {
      seen.properties[property].change.disconnect(changed)
      requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)))
    }
    seen.properties[property].change.connect(changed)
    input.value = value
  })
}"""


def _opened(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#button-fit")
    return page


def _asked(page: Page) -> None:
    page.get_by_text("PTA/CFR", exact=True).first.click()
    page.wait_for_function(
        "[...Bokeh.documents[0]._all_models.values()].some((m) => m.name == 'pta-lines' && m.data.y.length)"
    )


def _twelve(page: Page) -> None:
    """Twelve MICs, as is wanted of a slider."""
    box = page.locator("#field-mic .bk-input:visible").first
    box.fill("0.03..64")
    box.blur()
    page.wait_for_function(
        "[...Bokeh.documents[0]._all_models.values()].some((m) => m.name == 'pta-lines' && m.data.y[0]?.length == 12)"
    )


def _times(page: Page, arguments: Callable[[int], list[object]]) -> np.ndarray:
    found = []
    for k in range(ROUNDS):
        page.wait_for_timeout(100)
        found.append(page.evaluate(_UNTIL, arguments(k)))
    return np.array(found)


def _rows(context: BrowserContext, url: str, how: str) -> None:
    paints = []
    for _ in range(5):
        began = time.perf_counter()
        page = _opened(context, url)
        paints.append(1000 * (time.perf_counter() - began))
        page.close()
    page = _opened(context, url)
    _asked(page)
    _twelve(page)
    slider = _times(page, lambda k: ["slider-dose", 1050 + 50 * k, "pta-lines", "data"])
    field = _times(page, lambda k: ["field-level", ("none", "90%")[k % 2], "message-level", "text"])
    page.close()
    for name, times in (
        ("first paint", np.array(paints)),
        ("slider to curve", slider),
        ("field to complaint", field),
    ):
        low, middle, high = np.quantile(times, [0.0, 0.5, 0.99])
        print(f"{name:<20} {how:<6} {middle:>8.0f} {low:>8.0f} {high:>8.0f}")


def main() -> None:
    """Measure and print."""
    print(
        f"{platform.processor() or platform.machine()}, bokeh {version('bokeh')}, {Path(str(CHROMIUM)).name}"
    )
    print(f"{'ms':<20} {'':<6} {'median':>8} {'least':>8} {'p99':>8}")
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as served,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        _rows(context, served.url, "idle")
        fitting = []
        for seed in range(4):
            page = _opened(context, served.url)
            for field, value in (("iter_sampling", "900000"), ("seed", str(seed))):
                box = page.locator(f"#field-{field} .bk-input").first
                box.fill(value)
                box.blur()
            page.click("#button-fit")
            page.wait_for_selector("#fit-status")
            fitting.append(page)
        with subprocess.Popen(["nice", "-n", "19", sys.executable, "-c", _PTA]) as pta:
            _rows(context, served.url, "busy")
            pta.kill()
        for page in fitting:
            page.click("#button-cancel")
        browser.close()


if __name__ == "__main__":
    main()
