"""The workbench in a real browser: what a user does, and what a user may do wrong."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import psutil
import pytest

import tdmx_dask as tdmx
from tdmx_dask.domain.patient import read_patient

if TYPE_CHECKING:
    from playwright.sync_api import Page

_SERVE = """
from functools import partial
from pathlib import Path
from tdmx_dask.dashboard.workbench.run import run
run(partial(print, flush=True), port=0, library=Path("fits"), unused_seconds=2)
"""
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
SECONDS = 15_000
"""ms that anything on the page may take; a test that waits so long has failed."""


class Served(NamedTuple):
    """A server of the workbench that runs."""

    url: str
    process: psutil.Process
    library: Path


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """A workbench as a process of its own, in a folder; what it said in the end is no traceback."""
    command = [sys.executable, "-c", _SERVE]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        line = server.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
        assert found, line
        try:
            yield Served(found[0], psutil.Process(server.pid), folder / "fits")
        finally:
            server.send_signal(2)
        assert server.wait(20) == 0
        assert "Traceback" not in server.stderr.read()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("workbench")) as found:
        yield found


@pytest.fixture
def bench(served: Served, page: Page) -> Page:
    """A window of the workbench."""
    page.set_default_timeout(SECONDS)
    page.goto(served.url)
    page.wait_for_selector("#button-fit")
    return page


def turn_to(page: Page, tab: str) -> None:
    page.get_by_text(tab, exact=True).first.click()


def fill(page: Page, field: str, text: str) -> None:
    """Type into a field and leave it; of two tabs that have one, the tab that is seen is meant."""
    box = page.locator(f"#field-{field} .bk-input:visible").first
    box.fill(text)
    box.blur()


def model(page: Page, name: str, expression: str) -> Any:
    """A value of the model with a name or html id, in the browser."""
    find = "(name) => [...Bokeh.documents[0]._all_models.values()].find((m) => m.name == name || m.html_id == name)"
    return page.evaluate(
        f"(name) => {{ const m = ({find})(name); return m == null ? null : {expression} }}", name
    )


def shown(page: Page) -> str:
    """The texts of all `Div`s, from their shadow roots."""
    return "\n".join(page.locator(".bk-Div .bk-clearfix").all_inner_texts())


def curve(page: Page) -> list[float]:
    return list(model(page, "pta-lines", "Array.from(m.data.y[0] ?? [])") or [])


def wait_until(page: Page, holds: Any, what: str) -> None:
    until = time.monotonic() + SECONDS / 1000
    while not holds():
        assert time.monotonic() < until, what
        page.wait_for_timeout(50)


def expected(regimen: str, scenario: str = "CCr 100-129") -> np.ndarray:
    study = tdmx.read_study("meropenem_sepsis")
    setting = {each.name: each.covariates for each in study.scenarios}[scenario]
    found = tdmx.pta(
        study.population,
        regimen,
        "T>MIC >= 50%",
        mic=study.mic,
        n=4000,
        seed=0,
        scenarios={scenario: setting},
    )
    return np.asarray(found.pta.values.reshape(-1))


# --- the fit ------------------------------------------------------------------------------------------------


def test_fit__the_shipped_patient_with_live_chains(bench: Page, served: Served) -> None:
    fill(bench, "iter_warmup", "20000")
    fill(bench, "iter_sampling", "2000")
    bench.click("#button-fit")
    bench.wait_for_selector("#chains")
    seen = set()
    wait_until(
        bench,
        lambda: seen.add(bench.locator("#chains").inner_text()) or bench.locator("#posterior").count(),
        "posterior",
    )
    assert len(seen) > 2  # they moved
    assert bench.locator("#fit-status").inner_text() == "meropenem_tdm: done"
    options = {"iter_warmup": 20_000, "iter_sampling": 2000, "seed": 1}
    fit = tdmx.fit(read_patient("meropenem_tdm"), library=served.library, **options)
    row = bench.locator("#posterior tr", has_text="CL").inner_text()
    low, middle, high = np.quantile(fit.draws.CL.values, [0.05, 0.5, 0.95])
    assert f"{middle:.3g} ({low:.3g}–{high:.3g})" in row
    assert model(bench, "levels-course", "m.data.q50.length") > 100
    assert "outside" in bench.locator("#levels").inner_text()


def test_fit__then_pta_of_its_posterior_and_a_report(bench: Page, served: Served, tmp_path: Path) -> None:
    bench.click("#button-fit")
    bench.wait_for_selector("#posterior")
    turn_to(bench, "PTA/CFR")
    wait_until(bench, lambda: curve(bench), "a curve")
    fill(bench, "targets", "fT>MIC >= 100%")
    fill(bench, "pta-fu", "0.98")
    bench.locator("#field-kind select").select_option(label="a fit of this window")
    fill(bench, "regimens", "2000 mg q8h inf 3h")
    fit = tdmx.fit(read_patient("meropenem_tdm"), library=served.library, seed=1)
    study = tdmx.read_study("meropenem_sepsis")
    pta = tdmx.pta(fit.draws, "2000 mg q8h inf 3h", "fT>MIC >= 100%", mic=study.mic, fu=0.98)
    right = pta.pta.values.reshape(-1)
    wait_until(bench, lambda: np.array_equal(curve(bench), right), "the posterior's curve")

    turn_to(bench, "Report")
    fill(bench, "report-title", f"Ward 7 {HOSTILE}")
    fill(bench, "report-notes", f"First line {HOSTILE}\nsecond line")
    with bench.expect_download() as started:
        bench.click("#button-report")
    report = tmp_path / "report.html"
    started.value.save_as(report)
    assert started.value.suggested_filename == "report.html"
    with bench.expect_download() as started:
        bench.click("#button-pta-csv")
    started.value.save_as(tmp_path / "pta.csv")
    table = np.genfromtxt(tmp_path / "pta.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    assert np.array_equal(table["pta"], right)
    bench.goto(report.as_uri())
    text = bench.locator("body").inner_text()
    for wanted in (
        "Ward 7 <img",
        "second line",
        "2000 mg q8h inf 3h",
        "meropenem_tdm",
        "Not a medical device",
        "R-hat",
    ):
        assert wanted in text


def children(served: Served) -> list[psutil.Process]:
    """Engines that run: children of the zygote."""
    return [each for each in served.process.children(recursive=True) if each.ppid() != served.process.pid]


def start_long(page: Page, served: Served, seed: int) -> None:
    fill(page, "iter_sampling", "900000")  # of warm-up a fit that starts warm needs little
    fill(page, "seed", str(seed))
    page.click("#button-fit")
    page.wait_for_selector("#chains")
    wait_until(page, lambda: children(served), "engines")


def test_fit__is_cancelled_by_its_button(bench: Page, served: Served) -> None:
    start_long(bench, served, 11)
    assert all(each.nice() > served.process.nice() for each in children(served))  # the page goes first
    assert bench.locator("#button-fit button").is_disabled()
    bench.click("#button-cancel")
    bench.wait_for_selector("#fit-message >> text=cancelled")
    wait_until(bench, lambda: not children(served), "engines are gone")
    assert bench.locator("#button-fit button").is_enabled()


def test_fit__ends_with_its_window(bench: Page, served: Served) -> None:
    other = bench.context.new_page()
    other.goto(served.url)
    other.wait_for_selector("#button-fit")
    start_long(other, served, 12)
    other.close()
    wait_until(bench, lambda: not children(served), "engines are gone")


def test_fit__an_engine_that_is_killed_runs_again(bench: Page, served: Served) -> None:
    fill(bench, "iter_sampling", "40000")
    fill(bench, "seed", "13")
    bench.click("#button-fit")
    wait_until(bench, lambda: children(served), "engines")
    children(served)[0].kill()
    bench.wait_for_selector("#posterior")
    assert bench.locator("#fit-status").inner_text() == "meropenem_tdm: done"


# --- PTA ----------------------------------------------------------------------------------------------------


def test_slider__moves_the_curve_to_what_the_api_computes(bench: Page) -> None:
    turn_to(bench, "PTA/CFR")
    right = expected("1000 mg q8h inf 30min")
    wait_until(bench, lambda: np.array_equal(curve(bench), right), "the first curve")
    bench.locator("#slider-dose .noUi-handle").press("ArrowRight")
    right = expected("1050 mg q8h inf 30min")
    wait_until(bench, lambda: np.array_equal(curve(bench), right), "the curve of 1050 mg")
    bench.locator("#field-tau select").select_option(label="12 h")
    right = expected("1050 mg q12h inf 30min")
    wait_until(bench, lambda: np.array_equal(curve(bench), right), "the curve of q12h")
    assert bench.locator("#field-regimens input").input_value() == "1050 mg q12h inf 0.5h"
    bench.locator("#field-scenario select").select_option("CCr 160-200")
    right = expected("1050 mg q12h inf 30min", "CCr 160-200")
    wait_until(bench, lambda: np.array_equal(curve(bench), right), "the curve of another scenario")


def test_regimen__as_a_text_moves_the_sliders(bench: Page) -> None:
    turn_to(bench, "PTA/CFR")
    fill(bench, "regimens", "9000 mg q10h inf 7h")
    wait_until(bench, lambda: model(bench, "slider-dose", "m.value") == 9000, "the slider")
    assert model(bench, "slider-dose", "m.end") >= 9000
    assert model(bench, "slider-tinf", "m.value") == 7
    assert bench.locator("#field-tau select").input_value() == "10 h"
    fill(bench, "regimens", "2 g load inf 1h, then 1 g q8h ci")
    wait_until(bench, lambda: model(bench, "slider-dose", "m.disabled"), "sliders that cannot hold it")


def test_compare__side_by_side(bench: Page) -> None:
    turn_to(bench, "Compare")
    bench.wait_for_selector("#comparison")
    rows = bench.locator("#comparison tr").all_inner_texts()
    assert len(rows) == 5
    study = tdmx.read_study("meropenem_sepsis")
    regimens = ["1000 mg q8h inf 30min", "1000 mg q8h inf 3h", "1000 mg q8h ci", "2000 mg q8h inf 3h"]
    setting = {"CCr 100-129": {"CCr": 130}}
    pta = tdmx.pta(
        study.population, regimens, "T>MIC >= 50%", mic=study.mic, n=4000, seed=0, scenarios=setting
    )
    cfr = tdmx.cfr(pta, study.distributions).cfr.values.reshape(-1)
    for row, point, share in zip(rows[1:], pta.breakpoint.values.reshape(-1), cfr, strict=True):
        assert f"\t{point:g}\t" in row
        assert (">99" if share > 0.99 else f"{100 * share:.0f}") in row
    fill(bench, "compare-regimens", "1 g q8h\n1000 mg q8h")
    bench.wait_for_selector("#message-compare-regimens >> text=given twice")


def test_answers__that_are_not_of_the_form_are_not_shown(bench: Page) -> None:
    turn_to(bench, "PTA/CFR")
    wait_until(bench, lambda: curve(bench), "a curve")
    fill(bench, "n", "abc")
    bench.wait_for_selector("#message-n >> text=whole number")
    wait_until(bench, lambda: curve(bench) == [], "no curve")
    bench.locator("#field-study select").select_option("fluconazole_auc")
    fill(bench, "regimens", "2000 mg q8h inf 2h")
    bench.wait_for_timeout(300)
    assert curve(bench) == []  # of another study's draws there is none
    fill(bench, "n", "200000")
    bench.locator("#field-kind select").select_option(label="a fit of this window")
    bench.wait_for_selector("p >> text=there is no fit in this window yet")
    bench.wait_for_timeout(1500)
    assert curve(bench) == []  # nor of draws that were on their way
    turn_to(bench, "Compare")
    bench.wait_for_selector("p >> text=There are no draws yet")
    turn_to(bench, "Report")
    bench.click("#button-cfr-csv")
    bench.wait_for_selector("#report-message >> text=no rows for cfr.csv")
    bench.click("#button-report")
    bench.wait_for_selector("#report-message >> text=nothing to report")


def test_unbound_fraction__is_that_of_the_draws(bench: Page, served: Served) -> None:
    bench.click("#button-fit")
    bench.wait_for_selector("#posterior")
    turn_to(bench, "PTA/CFR")
    bench.locator("#field-study select").select_option("fluconazole_auc")
    wait_until(
        bench, lambda: "0.89" in model(bench, "field-pta-fu", "m.placeholder"), "the draws of fluconazole"
    )
    fill(bench, "targets", "fT>MIC >= 100%")
    fill(bench, "regimens", "1000 mg q8h inf 3h")
    fill(bench, "distributions", "")
    fill(bench, "mic", "1, 2, 4, 8")
    bench.locator("#field-kind select").select_option(label="a fit of this window")
    fit = tdmx.fit(read_patient("meropenem_tdm"), library=served.library, seed=1)  # fu = 0.98
    right = tdmx.pta(fit.draws, "1000 mg q8h inf 3h", "fT>MIC >= 100%", mic=[1, 2, 4, 8]).pta.values.reshape(
        -1
    )
    wait_until(bench, lambda: np.array_equal(curve(bench), right), "the curve with the patient's own fu")


def test_compare__regimens_without_a_day_and_with_two_units(bench: Page) -> None:
    turn_to(bench, "PTA/CFR")
    wait_until(bench, lambda: curve(bench), "a curve")
    fill(bench, "targets", "fAUC24/MIC >= 100 in 0..24h")
    fill(bench, "pta-fu", "1")
    fill(bench, "weight", "70")
    turn_to(bench, "Compare")
    fill(bench, "compare-regimens", "1000 mg once\n25 mg/kg load inf 1h, then 1000 mg q8h")
    wait_until(
        bench,
        lambda: "1000 mg at 0h" in "".join(bench.locator("#comparison tr").all_inner_texts()),
        "a comparison",
    )
    once, load = (row.split("\t") for row in bench.locator("#comparison tr").all_inner_texts()[1:])
    assert once[1:4] == ["–", "–", "–"]
    assert load[1] == "3000 mg"


def test_fit__of_the_next_patient_shows_nothing_of_the_last(bench: Page, served: Served) -> None:
    bench.click("#button-fit")
    bench.wait_for_selector("#posterior")
    fill(bench, "id", "patient B")
    start_long(bench, served, 14)
    assert bench.locator("#posterior").count() == 0
    bench.click("#button-cancel")
    bench.wait_for_selector("#fit-message >> text=cancelled")
    assert bench.locator("#posterior").count() == 0
    assert not model(bench, "levels", "m.visible")


# --- nonsense -----------------------------------------------------------------------------------------------

FIT_NONSENSE = {
    "id": ("", "a text of one line"),
    "covariates": ("CCr abc", "no value of a covariate"),
    "regimen": ("1000 q", "For example 1000 mg q8h"),
    "levels": ("41 12.3 7", "this is not a level"),
    "typical.CL": ("13.6 * (XYZ", "CL="),
    "spread.CL": ("22", "If it is a percent"),
    "correlations": ("CL Vc", "Write CL, Vc: 0.4"),
    "error": ("proportional", "has its figures"),
    "fu": ("98", "Give 0.98"),
    "chains": ("0", "chains=0"),
    "iter_warmup": ("many", "whole number"),
    "iter_sampling": ("-5", "iter_sampling=-5"),
    "target_ess": ("nan", "target_ess=nan"),
    "seed": ("-1", "seed=-1"),
    "units": ("CCr", "its unit"),
}  # fmt: skip


def test_fit__nonsense_in_each_field_is_said_beside_it(bench: Page) -> None:
    for field, (text, message) in FIT_NONSENSE.items():
        before = bench.locator(f"#field-{field} .bk-input".replace(".CL", "\\.CL")).first.input_value()
        fill(bench, field.replace(".", "\\."), text)
        bench.click("#button-fit")
        bench.wait_for_selector(f"#message-{field} >> text={message}".replace(".CL", "\\.CL"))
        assert bench.locator("#button-fit button").is_enabled()
        fill(bench, field.replace(".", "\\."), before)
    bench.click("#button-fit")
    bench.wait_for_selector("#posterior")


PTA_NONSENSE = {
    "regimens": ("1000 mg sometimes", "regimen=1000 mg sometimes"),
    "targets": ("fT>MIC", "target=fT>MIC"),
    "mic": ("0.25 to 8", "mic=0.25 to 8"),
    "distributions": ("E. coli: 1:-3", "weight=-3"),
    "pta-fu": ("0", "fu=0"),
    "weight": ("7000", "body weight"),
    "level": ("190%", "0 < level < 1"),
    "n": ("1e9", "number of virtual patients"),
}  # fmt: skip


PTA_SOUND = {
    "regimens": "1000 mg q8h inf 3h",
    "targets": "T>MIC >= 50%",
    "mic": "1, 2",
    "level": "90%",
    "n": "4000",
}


def test_pta__nonsense_in_each_field_is_said_beside_it(bench: Page) -> None:
    turn_to(bench, "PTA/CFR")
    right = expected("1000 mg q8h inf 30min")
    wait_until(bench, lambda: np.array_equal(curve(bench), right), "the first curve")
    for field, (text, message) in PTA_NONSENSE.items():
        box = bench.locator(f"#field-{field} .bk-input:visible").first
        before = box.input_value()
        box.fill(text)
        box.blur()
        bench.wait_for_selector(f"#message-{field}:visible >> text={message}")
        box.fill(before)
        box.blur()
        wait_until(
            bench,
            lambda field=field: not bench.locator(f"#message-{field} p").count(),
            f"{field}: said no more",
        )
    wait_until(bench, lambda: np.array_equal(curve(bench), right), "the first curve again")
    wait_until(
        bench, lambda: model(bench, "steady-state", "m.visible"), "the course"
    )  # its first showing is one
    layouts = "() => { const root = [...Bokeh.index][0], own = root.invalidate_layout; window.layouts = 0;"
    bench.evaluate(layouts + "root.invalidate_layout = () => { window.layouts += 1; own.call(root) } }")
    for text, marked in (("none", 1), ("90%", 0)):
        fill(bench, "level", text)
        wait_until(
            bench,
            lambda n=marked: bench.locator("#field-level[data-wrong]").count() == n,
            "the mark of a field",
        )
    assert bench.evaluate("window.layouts") == 0, "a complaint lays the page out anew, which takes 50 ms"
    bench.locator("#field-kind select").select_option(label="a store on disk")
    for path, message in (("", "path of a store"), ("nowhere.zarr", "nowhere.zarr")):
        fill(bench, "store", path)
        bench.wait_for_selector(f"#message-store >> text={message}")


def test_names__are_text_and_never_markup(bench: Page, tmp_path: Path) -> None:
    """In each field, as a name that is taken and as nonsense that is complained about; the fixture fails where anything of it runs."""
    fill(bench, "id", HOSTILE)
    bench.click("#button-fit")
    bench.wait_for_selector("#posterior")
    assert bench.locator("#fit-status").inner_text().startswith(HOSTILE)
    for field in FIT_NONSENSE:
        fill(bench, field.replace(".", "\\."), HOSTILE)
    bench.click("#button-fit")
    for field in FIT_NONSENSE.keys() - {"id", "units"}:  # anything is an id, and "<img" may be a covariate
        bench.wait_for_selector(f"#message-{field} >> text=onerror".replace(".CL", "\\.CL"))
    turn_to(bench, "PTA/CFR")
    wait_until(bench, lambda: curve(bench), "a curve")
    fill(bench, "distributions", f"{HOSTILE}: 0.5:10, 1:20")
    wait_until(bench, lambda: HOSTILE in shown(bench), "the organism in the table")
    isolates = tmp_path / "<img src=x onerror=alert(3)>.csv"
    isolates.write_text(f"organism,mic,count\n{HOSTILE},1,5\n{HOSTILE},2,x\n", encoding="utf-8")
    bench.locator("#upload-mic input").set_input_files(isolates)
    bench.wait_for_selector("#message-distributions >> text=count")
    for field in PTA_NONSENSE:
        fill(bench, field, HOSTILE)
        bench.wait_for_selector(f"#message-{field} >> text=onerror")
        fill(bench, field, PTA_SOUND.get(field, ""))
    turn_to(bench, "Compare")
    fill(bench, "compare-regimens", HOSTILE)
    bench.wait_for_selector("#message-compare-regimens >> text=onerror")
    turn_to(bench, "PTA/CFR")
    bench.locator("#field-kind select").select_option(label="a store on disk")
    fill(bench, "store", HOSTILE)
    bench.wait_for_selector("#message-store >> text=onerror")
    turn_to(bench, "Fit")
    yaml, table = f"id: a\nregimen: '{HOSTILE}'\n", f"ID,TIME,AMT\n{HOSTILE},0,x\n"
    for name, text, said in (
        ("<img src=x onerror=alert(4)>.yaml", yaml, "onerror"),
        ("<b>.csv", table, "<b>.csv"),
    ):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        bench.locator("#upload-patient input").set_input_files(file)
        bench.wait_for_selector(f"#fit-message >> text={said}")
    assert bench.locator("img").count() == 0


def test_upload__patients_and_isolates(bench: Page, tmp_path: Path) -> None:
    cohort = Path(__file__).resolve().parents[2] / "config" / "patients" / "example_cohort.csv"
    bench.locator("#upload-patient input").set_input_files(cohort)
    wait_until(bench, lambda: bench.locator("#field-whose option").count() == 12, "twelve patients")
    bench.locator("#field-whose select").select_option("3")
    wait_until(bench, lambda: bench.locator("#field-id input").input_value() == "3", "the third")
    patient = tdmx.read_cohort(cohort)[2]
    assert len(bench.locator("#field-levels textarea").input_value().splitlines()) == len(patient.levels)
    bench.click("#button-fit")
    bench.wait_for_selector("#posterior")
    turn_to(bench, "PTA/CFR")
    wait_until(bench, lambda: curve(bench), "a curve")
    table = tmp_path / "isolates.csv"
    table.write_text("organism,mic,count\nK. pneumoniae,0.5,60\nK. pneumoniae,2,40\n", encoding="utf-8")
    bench.locator("#upload-mic input").set_input_files(table)
    wait_until(bench, lambda: "K. pneumoniae" in shown(bench), "CFR of the uploaded isolates")
    table.write_text("organism,mic,count\nE. cloacae,0.5,60\nE. cloacae,2,40\n", encoding="utf-8")
    bench.locator("#upload-mic input").set_input_files(table)  # the same name, mended
    wait_until(bench, lambda: "E. cloacae" in shown(bench), "CFR of the mended file")
    table.write_bytes(b"organism,mic,count\n" + b"x,1,1\n" * 3_000_000)
    bench.locator("#upload-mic input").set_input_files(table)
    bench.wait_for_selector("#message-distributions >> text=at most 2,000,000 bytes")


# --- windows, strangers -------------------------------------------------------------------------------------


def test_two_windows__do_not_disturb_each_other(bench: Page, served: Served) -> None:
    other = bench.context.new_page()
    other.set_default_timeout(SECONDS)
    other.goto(served.url)
    other.wait_for_selector("#button-fit")
    for each, regimen in ((bench, "500 mg q8h inf 3h"), (other, "3000 mg q8h inf 3h")):
        turn_to(each, "PTA/CFR")
        wait_until(each, lambda each=each: curve(each), "a curve")
        fill(each, "regimens", regimen)
    for each, regimen in ((bench, "500 mg q8h inf 3h"), (other, "3000 mg q8h inf 3h")):
        right = expected(regimen)
        wait_until(each, lambda each=each, right=right: np.array_equal(curve(each), right), regimen)
    turn_to(other, "Fit")
    other.click("#button-fit")
    other.wait_for_selector("#posterior")
    turn_to(bench, "Fit")
    assert bench.locator("#posterior").count() == 0
    other.close()


def test_strangers__are_refused(served: Served) -> None:
    address = served.url.split("?")[0]
    ways = {
        "": 403,
        "?token=guess": 403,
        "?token=%C3%A9": 403,
        "autoload.js?bokeh-autoload-element=1": 404,
        "metadata": 404,
        "x": 404,
    }
    for way, status in ways.items():
        with pytest.raises(urllib.error.HTTPError, match=str(status)):
            urllib.request.urlopen(address + way)  # noqa: S310
    listening = [each.laddr.ip for each in served.process.net_connections("tcp") if each.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


def test_ctrl_c__does_not_wait_for_an_answer(browser: Any, tmp_path: Path) -> None:
    with serving(tmp_path) as own:
        page = browser.new_page()
        page.goto(own.url)
        page.wait_for_selector("#button-fit")
        turn_to(page, "PTA/CFR")
        wait_until(page, lambda: curve(page), "a curve")
        fill(page, "targets", "fT>MIC >= 50% in 0..2000h")
        fill(page, "regimens", "300 mg q0.5h inf 0.1h x4000")  # some ten seconds
        page.wait_for_timeout(500)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    page.close()


def test_narrow_and_dark__without_scrolling_sideways(served: Served, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 800, "height": 900}, color_scheme="dark")
    page = context.new_page()
    page.goto(served.url)
    page.wait_for_selector("#button-fit")
    for tab in ("Fit", "PTA/CFR", "Compare", "Report"):
        turn_to(page, tab)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 800, tab
    turn_to(page, "PTA/CFR")
    fill(page, "mic", "0.03..64")  # a table wider than the page, which scrolls by itself
    wait_until(page, lambda: re.search(r"\t32\s+64\s+", shown(page)), "twelve MICs")
    assert page.evaluate("document.documentElement.scrollWidth") <= 800
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", ground)[:3])) < 150  # dark
    context.close()
