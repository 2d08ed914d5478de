"""The plugin that puts the page on a scheduler, from a preload too, and what it does where it cannot; measured memory of children."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
import urllib.request
from typing import Any

import pytest
from distributed import Client, LocalCluster

import tdmx_dask as tdmx
from tdmx_dask.clusters.measured import METRIC, children_bytes, install_measured
from tdmx_dask.clusters.page import Page, install_page
from tdmx_dask.clusters.page_names import page_of
from tests.dashboard.said import event, events

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


def test_page__on_a_cluster_of_dask_that_runs_once_for_several_clients() -> None:
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
        Client(cluster.scheduler_address) as other,
    ):
        install_page(client)
        plugin = cluster.scheduler.plugins[Page.name]
        n = len(cluster.scheduler.http_application.applications)
        install_page(other)
        assert cluster.scheduler.plugins[Page.name] is plugin
        assert len(cluster.scheduler.http_application.applications) == n
        said = (
            urllib.request.urlopen(f"http://127.0.0.1:{cluster.scheduler.http_server.port}/tdmx")
            .read()
            .decode()
        )
        assert "Not a medical device" in said
        assert "//cdn" not in said
        other.log_event("tdmx-fit:x", events(event("bed 4", 0)))
        assert [fit.name for fit in plugin.board.fits.values()] == ["bed 4"]
        install_measured(client)
        (worker,) = cluster.workers.values()
        assert METRIC in worker.metrics
        with tdmx.cluster(cluster.scheduler_address) as joined:
            assert joined.page_link.endswith("/tdmx")
            assert f"page {joined.page_link}" in repr(joined)


def test_page__where_none_is_served_none_is_named() -> None:
    with (
        LocalCluster(n_workers=0, protocol="tcp", processes=False, dashboard_address=None) as cluster,
        tdmx.cluster(cluster.scheduler_address) as joined,
    ):
        assert joined.page_link == ""
        assert "page" not in repr(joined)


def test_page__a_scheduler_without_a_dashboard_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    plugin = Page()
    with caplog.at_level(logging.INFO):
        plugin.begin(object())
    assert [record.message for record in caplog.records] == [
        "There is no page /tdmx on this scheduler: it has no dashboard"
    ]
    plugin.log_event("tdmx-fit:x", {})
    plugin.remove_client(None, "c")
    plugin.restart(None)


def test_page__without_a_dashboard_no_bokeh_is_loaded_and_with_one_its_pages_are_before_they_are_asked_for() -> (
    None
):
    code = """
import sys, time
from distributed import Client, LocalCluster
from tdmx_dask.clusters.page import install_page
for dashboard, wanted in ((None, "bokeh"), ("127.0.0.1:0", "tdmx_dask.dashboard.page.document")):
    with LocalCluster(n_workers=0, processes=False, dashboard_address=dashboard) as cluster, Client(cluster) as client:
        install_page(client)
        end = time.monotonic() + (20 if dashboard else 0)
        while wanted not in sys.modules and time.monotonic() < end:
            time.sleep(0.02)
        print(wanted in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True"]


def test_page__what_goes_wrong_in_it_is_logged_once_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def hear(self, topic: str, msg: Any) -> None:
            raise RuntimeError(topic)

    plugin = Page()
    plugin.board = Broken()
    for _ in range(3):
        plugin.log_event("tdmx-fit:x", {})
    assert [record.message for record in caplog.records] == ["The page /tdmx missed something"]


def test_preload__of_a_scheduler_that_starts() -> None:
    command = [
        sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0",
        "--preload", "tdmx_dask.dashboard.preload",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            address = next(line for line in lines if "Scheduler at:" in line).split()[-1]
            with Client(address, timeout=10) as client:
                install_page(client)
                said = urllib.request.urlopen(page_of(client.dashboard_link)).read().decode()  # noqa: S310
                assert "Not a medical device" in said
                assert client.run_on_scheduler(_applications) == 1
        finally:
            process.terminate()


def _applications(dask_scheduler: Any) -> int:
    return sum(
        "/tdmx" in getattr(app, "app_paths", ()) for app in dask_scheduler.http_application.applications
    )


def test_children_bytes__of_all_processes_below() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytearray(60_000_000); print(1, flush=True); input()'])"
    before = children_bytes(os.getpid())
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        grown = children_bytes(os.getpid()) - before
        process.communicate("\n")
    assert 60e6 < grown < 200e6
    end = time.monotonic() + 5
    while children_bytes(os.getpid()) > before + 10e6:
        assert time.monotonic() < end
    assert children_bytes(2**30) == 0
