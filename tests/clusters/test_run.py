"""Blocks sent to a cluster: what cannot be fetched is an error or sent again, and never waited for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tdmx_dask as tdmx
from tdmx_dask.clusters.cluster import Cluster
from tdmx_dask.clusters.run import run_blocks


@pytest.fixture(scope="module")
def local() -> Iterator[Cluster]:
    with tdmx.cluster("local", n_workers=1, threads_per_worker=1, dashboard_port=0) as cluster:
        yield cluster


def _refuse(mark: str) -> str:
    """On the client, when a result is read: the first time an error of the connection."""
    if mark and Path(mark).exists():
        return "read"
    if mark:
        Path(mark).touch()
        raise ConnectionResetError("cut")
    raise RuntimeError("this cannot be read here")


class _Unreadable:
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return _refuse, (self.mark,)


def _answer(mark: str, _block: object, _values: object) -> _Unreadable:
    return _Unreadable(mark)


@pytest.mark.timeout(30)
def test_run__a_result_that_cannot_be_read_is_an_error(local: Cluster) -> None:
    with pytest.raises(RuntimeError, match="this cannot be read here"):
        run_blocks(local.client, _answer, "", [(0, None, None)], lambda *_: None, name="tdmx-pta")


@pytest.mark.timeout(30)
def test_run__a_connection_that_is_cut_while_a_result_comes_is_tried_again(
    local: Cluster, tmp_path: Path
) -> None:
    found: list[Any] = []
    run_blocks(
        local.client, _answer, str(tmp_path / "mark"), [(0, None, None)], lambda _, part: found.append(part),
        name="tdmx-pta",
    )  # fmt: skip
    assert found == ["read"]


def test_cluster__ends_its_workers_where_its_client_cannot_be_closed() -> None:
    cluster = tdmx.cluster("local", n_workers=1, threads_per_worker=1, dashboard_port=0)
    client, started = cluster.client, cluster.engine._started  # type: ignore[attr-defined]

    class Broken:
        def close(self) -> None:
            raise TimeoutError("20 s")

    cluster.client = Broken()  # type: ignore[assignment]
    with pytest.raises(TimeoutError, match="20 s"):
        cluster.close()
    assert started.status.name == "closed"
    assert client.status == "closed"
