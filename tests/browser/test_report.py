"""The report in a real browser: light and dark, on paper, offline, and with names that would like to be markup."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tdmx_dask as tdmx
from tdmx_dask.api.study import run_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EVIL = "</title></style></td><script>alert(1)</script><img src=https://example.org/x onerror=alert(2)>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a study whose every text is hostile."""
    folder = tmp_path_factory.mktemp("report")
    study = tdmx.read_study("meropenem_sepsis")
    assert study.population is not None
    isolates = tdmx.MICDistribution("E. coli " + EVIL, (1.0, 2.0), (0.5, 0.5), source=EVIL)
    scenarios = tuple(replace(each, name=each.name + EVIL) for each in study.scenarios)
    design = tuple(
        (name + EVIL, tdmx.Regimen.build(regimen.history, regimen.cycle, name=regimen.label + EVIL))
        for name, regimen in study.design
    )
    named = replace(
        study, n=200, title=EVIL, description=EVIL, source=EVIL, published=None, scenarios=scenarios, design=design,
        distributions=(isolates,), population=replace(study.population, name=EVIL, source=EVIL), notes=(EVIL,),
    )  # fmt: skip
    run_study(named, folder / "out", progress=False)
    return folder / "out" / "report.html"


def colours(page: Page) -> tuple[str, str]:
    """Background and ink of the page."""
    script = "() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]; }"
    ground, ink = page.evaluate(script)
    return str(ground), str(ink)


def lightness(colour: str) -> float:
    return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3]) / 765


def test_report__light_and_dark_and_names_are_only_names(page: Page, report: Path) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(report.as_uri())
    assert page.title() == EVIL
    ground, ink = colours(page)
    assert lightness(ground) > 0.9 > 0.3 > lightness(ink)
    assert page.locator("script, iframe, object").count() == 0
    assert page.get_by_role("heading", level=1).inner_text() == EVIL
    figures = page.locator("figure img")
    assert figures.count() == 2
    assert page.locator("img").count() == 2
    assert all(figures.nth(k).evaluate("image => image.complete && image.naturalWidth > 0") for k in range(2))
    page.emulate_media(color_scheme="dark")
    ground, ink = colours(page)
    assert lightness(ground) < 0.2 < 0.7 < lightness(ink)
    page.emulate_media(color_scheme="dark", media="print")
    ground, ink = colours(page)
    assert lightness(ground) > 0.9 > 0.3 > lightness(ink)


def test_report__nothing_is_cut_off_on_a_phone(page: Page, report: Path) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_report__on_paper(page: Page, report: Path, paper: str) -> None:
    page.goto(report.as_uri())
    printed = page.pdf(format=paper, print_background=True)
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 3
    page.emulate_media(media="print")
    wide = page.evaluate(
        "Math.max(...[...document.querySelectorAll('table')].map(table => table.scrollWidth))"
    )
    page.set_viewport_size({"width": 688, "height": 900})  # between the margins of A4
    over = page.evaluate(
        "[...document.querySelectorAll('table, img')].filter(one => one.getBoundingClientRect().right > 690).length"
    )
    assert wide > 0
    assert over == 0


def test_report__shown_by_a_browser_that_is_offline(browser: Browser, report: Path) -> None:
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert "Research use only. Not a medical device." in page.inner_text("header")
    context.close()
