"""The page `/tdmx` in a real browser, on a real cluster: fits, PTA and jobs as they go, and what must not harm it."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tdmx_dask as tdmx
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.page import Page as Plugin
from tdmx_dask.clusters.page_names import CURVE, QUEUE
from tests.conftest import posterior
from tests.dashboard.said import HOSTILE, curve, event, events, job, queue

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)

MIC = [2.0**k for k in range(-2, 8)]
POINTS = """() => {
  for (const model of Bokeh.documents[0]._all_models.values())
    if (model.type == "ColumnDataSource" && "mic" in model.data) return Array.from(model.data["y"]);
}"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with tdmx.cluster("local", n_workers=2, threads_per_worker=1, dashboard_port=0) as started:
        yield started


@pytest.fixture
def opened(cluster: Cluster, page: Page) -> Page:
    page.goto(cluster.page_link)
    page.wait_for_selector("#fits table, #fits .soft")
    return page


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.03)
    return found


def said(page: Page, section: str) -> str:
    """Text of a section, or of the whole page: Bokeh keeps it in shadow trees, which `inner_text` of what is around them leaves out."""
    place = "main" if section == "main" else f"#{section}"
    return " ".join(page.locator(f"{place} .bk-clearfix").all_inner_texts())


def iterations(page: Page) -> list[int]:
    texts = page.locator("#fits .iteration").all_inner_texts()
    return [int(text.split(" / ")[0].replace(",", "")) for text in texts]


def test_page__is_there_with_what_would_appear(cluster: Cluster, page: Page) -> None:
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        page.goto(cluster.page_link)
        page.wait_for_selector("#queue .soft")
        page.wait_for_selector("#memory td")
        seconds.append(time.perf_counter() - began)
    print(f"first paint after {min(seconds):.2f} s")
    assert min(seconds) < 2.0
    for section, text in (("fits", "No fit runs"), ("pta", "No PTA runs"), ("queue", "No queue works")):
        assert text in said(page, section)
    assert "2 workers" in said(page, "main")
    assert "Not a medical device" in page.locator("footer").inner_text()
    page.goto(cluster.dashboard_link)
    page.locator("nav a, .navbar a").get_by_text("Tdmx", exact=True).click()
    page.wait_for_selector("#fits .soft")
    assert page.url.endswith("/tdmx")


def test_page__panes_alone_for_jupyterlab(cluster: Cluster, page: Page) -> None:
    root = cluster.page_link.removesuffix("/tdmx")
    listed = urllib.request.urlopen(f"{root}/individual-plots.json").read().decode()  # noqa: S310
    assert "/individual-task-stream" in listed
    for name, text in (
        ("fits", "No fit runs"),
        ("pta", "No PTA runs"),
        ("queue", "No queue"),
        ("memory", "memory of fits"),
    ):
        assert f"/individual-tdmx-{name}" in listed
        page.goto(f"{root}/individual-tdmx-{name}")
        page.get_by_text(text).first.wait_for()


def test_page__chains_move_and_a_killed_worker_harms_neither_fit_nor_page(
    cluster: Cluster, opened: Page, tmp_path: Path
) -> None:
    future = tdmx.fit_async(
        "meropenem_tdm", on=cluster, chains=2, iter_sampling=300_000, library=tmp_path / "fits"
    )
    opened.wait_for_selector("#fits tr.chain >> nth=1")
    assert list(cluster.client.cluster.scheduler.plugins[Plugin.name].board.fits.values())[-1].asked == 2
    before = until(lambda: iterations(opened))
    until(lambda: min(iterations(opened), default=0) > max(before))
    until(lambda: opened.locator("#fits .ess").first.inner_text() not in ("", "–"))
    assert float(opened.locator("#fits tr.fit td").nth(5).inner_text()) < 1.1
    until(lambda: opened.locator("#memory tbody tr td").nth(4).inner_text() != "0 MB")
    workers = {
        info["id"]: address
        for address, info in cluster.client.scheduler_info(n_workers=-1)["workers"].items()
    }
    pids = cluster.client.run(os.getpid)
    os.kill(pids[next(iter(workers.values()))], signal.SIGKILL)
    until(lambda: "1 worker " in said(opened, "main") or "waits for a worker" in said(opened, "fits"))
    until(lambda: "2 workers" in said(opened, "main"))
    again = until(lambda: iterations(opened))
    until(lambda: max(iterations(opened), default=0) > max(again))
    assert future.cancel()
    until(lambda: opened.locator("#fits tr.chain").count() == 0)


def test_page__a_pta_grows_to_the_value_that_it_has(cluster: Cluster, opened: Page, tmp_path: Path) -> None:
    tdmx.write_draws(posterior(), tmp_path / "draws.zarr")
    found: list[Any] = []

    def compute() -> None:
        asked = ["1 g q8h inf 1h", "2 g q8h inf 3h"]
        question: dict[str, Any] = {"fu": 0.98, "mic": MIC, "subjects": 400, "chunk_size": 1024}
        found.append(tdmx.pta(tmp_path / "draws.zarr", asked, "fT>MIC >= 50%", on=cluster, **question))

    run = threading.Thread(target=compute)
    run.start()
    opened.locator("#pta").get_by_text("grows").wait_for()
    partial = until(lambda: opened.evaluate(POINTS))
    opened.locator("#pta").get_by_text("complete").wait_for()
    assert "95 % credible interval" in said(opened, "pta")
    run.join()
    until(lambda: opened.evaluate(POINTS) != partial)
    assert opened.evaluate(POINTS) == pytest.approx(found[0].pta.values.ravel().tolist(), abs=1e-12)
    assert partial == pytest.approx(opened.evaluate(POINTS), abs=0.1)
    assert "2000 mg q8h" in said(opened, "pta")


def test_page__jobs_of_a_queue_and_names_that_are_code(
    cluster: Cluster, opened: Page, tmp_path: Path
) -> None:
    with tdmx.JobQueue(2, tmp_path / "cache", cluster, folder=tmp_path / "queue <b>x") as jobs:
        jobs.register(HOSTILE[1], "tests.jobs.functions:sleep")
        first = jobs.submit(HOSTILE[1], {"seconds": 0.5}, priority=7)
        row = opened.locator("#queue tbody tr")
        row.first.wait_for()
        until(lambda: "completed" in row.first.inner_text())
        jobs.result(first)
        jobs.submit(HOSTILE[1], {"seconds": 0.5})
        until(lambda: row.count() == 2)
        until(lambda: said(opened, "queue").count("from the cache") >= 2)
        text = said(opened, "queue")
        assert HOSTILE[1] in text
        assert "queue <b>x" in text
        assert "50 % of the answers" in text
        assert "\t7\t" in text
    until(lambda: "No queue works" in said(opened, "queue"))


def test_page__an_event_reaches_it_within_a_second(cluster: Cluster, opened: Page) -> None:
    seconds = []
    for iteration in range(1001, 1006):
        began = time.perf_counter()
        cluster.client.log_event("tdmx-fit:x", events(event("swift", 0, iteration=iteration)))
        opened.get_by_text(f"1,00{iteration - 1000} / 2,000").first.wait_for()
        seconds.append(time.perf_counter() - began)
    print(f"an event reaches the page in {1000 * float(np.median(seconds)):.0f} ms")
    assert float(np.median(seconds)) < 1.0


def test_page__a_thousand_jobs_and_two_hundred_chains_on_two_pages(
    cluster: Cluster, opened: Page, browser: Browser
) -> None:
    other = browser.new_context(viewport={"width": 800, "height": 900}, color_scheme="dark").new_page()
    other.goto(cluster.page_link)
    client = cluster.client
    rows = [job(at, title=HOSTILE[at % len(HOSTILE)]) for at in range(1000)]
    client.log_event(QUEUE, {**queue(), "client": client.id, "counts": {"queued": 1000}, "rows": rows})
    client.log_event(CURVE, {**curve(), "client": client.id, "labels": [HOSTILE[1]], "title": HOSTILE[0]})
    for iteration in (1100, 1200):
        for fit in range(50):
            chains = [event(f"{HOSTILE[fit % 5]} {fit}", chain, iteration=iteration) for chain in range(4)]
            client.log_event("tdmx-fit:many", events(*chains))
    for each in (opened, other):
        each.get_by_text("1,200 / 2,000").first.wait_for()
        each.get_by_text("960 more jobs").wait_for()
        assert each.get_by_text(HOSTILE[0]).count() > 3
        assert each.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert each.locator("main img").count() == each.locator("main svg[onload]").count() == 0
    opened.locator("#pta canvas").first.scroll_into_view_if_needed()
    box = opened.locator("#pta canvas").first.bounding_box()
    assert box is not None
    for step in (3, 0):  # onto the middle point
        opened.mouse.move(box["x"] + 0.518 * box["width"] - step, box["y"] + 0.44 * box["height"] - step)
    tip = opened.locator(".bk-tooltip-row-value")
    tip.first.wait_for()
    assert tip.first.inner_text() == HOSTILE[1]
    began = time.perf_counter()
    client.log_event("tdmx-fit:many", events(event(f"{HOSTILE[0]} 0", 0, iteration=1777)))
    for each in (opened, other):
        each.get_by_text("1,777 / 2,000").first.wait_for()
    seconds = time.perf_counter() - began
    print(f"with 1,000 jobs and 200 chains an event reaches two pages in {1000 * seconds:.0f} ms")
    assert seconds < 2.0
    other.context.close()
    client.log_event(CURVE, {"client": client.id, "name": "a", "dropped": True})
    client.log_event(QUEUE, {**queue(), "client": client.id, "closed": True})


def test_page__is_served_once_whoever_joins_and_stays_after_a_restart(cluster: Cluster, opened: Page) -> None:
    scheduler = cluster.client.cluster.scheduler
    n, plugin = len(scheduler.http_application.applications), scheduler.plugins[Plugin.name]
    with tdmx.cluster(cluster.scheduler_address):
        pass
    cluster.client.restart()
    assert len(scheduler.http_application.applications) == n
    assert scheduler.plugins[Plugin.name] is plugin
    assert all(fit.ended is not None for fit in plugin.board.fits.values())
    until(lambda: "2 workers" in said(opened, "main"))
