"""Other versions are refused before they give other numbers."""

from __future__ import annotations

import sys

import pytest
from distributed import Client, LocalCluster

import tdmx_dask as tdmx
from tdmx_dask.clusters import versions
from tdmx_dask.clusters.versions import compare, installed, refuse_other_versions
from tdmx_dask.errors import ClusterError

OURS = {"python": "3.11.2", "tdmx-dask": "0.1.0", "dask": "2026.8.0", "numpy": "2.4.6"}


@pytest.mark.parametrize(
    ("theirs", "lines"),
    [
        ({}, ()),
        ({"python": "3.11.9", "numpy": "2.4.1"}, ()),
        ({"python": "3.12.2"}, ("python 3.12.2 there, 3.11.2 here",)),
        ({"numpy": "2.5.0"}, ("numpy 2.5.0 there, 2.4.6 here",)),
        ({"dask": "2026.8.1"}, ("dask 2026.8.1 there, 2026.8.0 here",)),
        ({"tdmx-dask": "not installed", "dask": "2025.1.0"}, (
            "tdmx-dask not installed there, 0.1.0 here", "dask 2025.1.0 there, 2026.8.0 here")),
    ],
)  # fmt: skip
def test_compare__names_what_matters(theirs: dict[str, str], lines: tuple[str, ...]) -> None:
    assert compare(OURS, {**OURS, **theirs}) == lines


def test_installed__knows_this_environment() -> None:
    found = installed()
    assert found["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert found["tdmx-dask"] == tdmx.__version__
    assert "not installed" not in found.values()


def test_join__refuses_a_cluster_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**installed(), "numpy": "1.26.4"}
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        monkeypatch.setattr(versions, "installed", lambda: other)  # what this process says of itself
        monkeypatch.setattr(client, "run_on_scheduler", lambda _: dict(OTHER))
        with pytest.raises(
            ClusterError,
            match=r"the scheduler has other versions than this process: numpy .* there, 1\.26\.4 here",
        ):
            refuse_other_versions(client)
        monkeypatch.undo()
        refuse_other_versions(client)
        asked: list[object] = []
        monkeypatch.setattr(client, "run", lambda *given, **_: asked.append(given) or {})
        refuse_other_versions(client)
        assert not asked  # each worker once
        cluster.scale(2)
        client.wait_for_workers(2, timeout=10)
        refuse_other_versions(client)
        assert len(asked) == 1


OTHER = installed()
