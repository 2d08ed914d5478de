"""``tdmx cluster status`` and ``list``: how clusters are, on a terminal or as JSON."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from tdmx_dask.cli.exits import CLUSTER
from tdmx_dask.cli.options import HELP, examples
from tdmx_dask.cli.queue_options import json_option, print_json
from tdmx_dask.cli.queue_watch import keys
from tdmx_dask.cli.screen import open_screen
from tdmx_dask.cli.worker import Signals, signals
from tdmx_dask.clusters.page_names import page_of
from tdmx_dask.errors import ClusterError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from tdmx_dask.api.pool_status import Status
    from tdmx_dask.api.pools import Pool
    from tdmx_dask.clusters.cluster import Cluster
    from tdmx_dask.clusters.engine import BatchJob
    from tdmx_dask.clusters.pool_record import Record

__all__ = ["list_", "record_plain", "status", "tunnel"]

_PAUSE = 1.0
"""s between two looks."""

_JOBS = 10.0
"""s between two questions to a batch scheduler: it has others to answer."""

_LINES = 5.0
"""s between two lines where nobody watches."""


@click.command(
    context_settings=HELP,
    short_help="How a cluster is, or all.",
    epilog=examples(
        "tdmx cluster status", "tdmx cluster status slurm", "tdmx cluster status slurm --watch",
        "tdmx cluster status tls://host:8786 --json",
    ),
)  # fmt: skip
@click.argument("name", metavar="[NAME]", required=False)
@json_option
@click.option("--watch", is_flag=True, help="Look again and again; q or Ctrl-C ends it, the cluster runs on.")
def status(name: str | None, as_json: bool, watch: bool) -> None:
    """How a cluster is: workers, memory, jobs and why they wait, tasks, and what can never run. Without NAME: all, a line each.

    NAME may be an address, too. The exit code is 4 where something can never run, or where the cluster is gone.
    """
    if name is None:
        if watch:
            raise InputError("--watch", "given", "one cluster is watched", "Name it.")
        _list(as_json=as_json)
        return
    if watch and as_json:
        raise InputError("--watch", "given", "JSON is printed once", "Leave one of the two out.")
    from tdmx_dask.api.pool_status import enter, look

    joined, pool = enter(name)
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what goes wrong is said below, once
    with joined:
        if watch:
            _watch(_Looks(joined, pool, name))
            return
        now = look(joined, pool, name=name)
    if as_json:
        print_json(_plain(now))
    else:
        from tdmx_dask.cli.cluster_tables import frame

        screen = open_screen()
        screen.print(frame(now, width=screen.width))
    if not now.healthy:
        raise click.exceptions.Exit(CLUSTER)


@click.command(
    "list", context_settings=HELP, epilog=examples("tdmx cluster list", "tdmx cluster list --json")
)
@json_option
def list_(as_json: bool) -> None:
    """List the clusters that were started, a line each."""
    _list(as_json=as_json)


def _list(*, as_json: bool) -> None:
    from tdmx_dask.api.pools import pools

    found = [(pool, _workers(pool)) for pool in pools()]
    if as_json:
        print_json([{**record_plain(pool), "workers": workers} for pool, workers in found])
        return
    from tdmx_dask.cli.cluster_tables import pools_table

    screen = open_screen()
    if not found:
        screen.print("no cluster runs; `tdmx cluster start PROFILE` starts one")
        return
    screen.print(pools_table(found, width=screen.width))


def _workers(pool: Pool) -> int | None:
    """How many there are; None where it does not say."""
    if pool.state != "running":
        return None
    from tdmx_dask.api.pools import find

    try:
        joined = find(pool.record.name)
        if joined is None:
            return None
        with joined:
            return joined.n_workers
    except (ClusterError, InputError):
        return None


def record_plain(pool: Pool) -> dict[str, Any]:
    """What is known of a cluster, as JSON has it; credentials are named by their files alone."""
    record = pool.record
    said = {
        key: getattr(record, key)
        for key in ("name", "profile", "kind", "host", "pid", "address", "dashboard")
    }
    files = {key: str(pool.folder / getattr(record, key)) for key in ("ca_file", "cert", "key")}
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.started))
    page = page_of(record.dashboard)
    return {
        **said,
        "page": page,
        "state": pool.state,
        "started": started,
        "credentials": files,
        "folder": str(pool.folder),
    }


def tunnel(record: Record) -> str:
    """The command that brings its dashboard to another machine's loopback."""
    port = urlsplit(record.dashboard).port or 8787
    return f"ssh -L {port}:127.0.0.1:{port} {record.host}"


def _plain(now: Status) -> dict[str, Any]:
    said = asdict(now)
    said.pop("pool")
    said["page"] = page_of(now.dashboard)
    return {**(record_plain(now.pool) if now.pool else {}), **said, "healthy": now.healthy}


class _Looks:
    """Looks at a cluster again and again, and seldom at its jobs."""

    def __init__(self, joined: Cluster, pool: Pool | None, name: str) -> None:
        self._joined, self._pool, self._name = joined, pool, name
        self._jobs: tuple[BatchJob, ...] = ()
        self._asked = -_JOBS

    def again(self) -> Status:
        """The cluster as it is now."""
        from tdmx_dask.api.pool_status import look

        if time.monotonic() - self._asked >= _JOBS:
            self._jobs, self._asked = self._joined.jobs, time.monotonic()
        return look(self._joined, self._pool, name=self._name, jobs=self._jobs)


def _watch(looks: _Looks) -> None:
    screen = open_screen()
    with signals() as heard:
        if screen.is_terminal:
            _live(looks, screen, heard)
        else:
            _lines(looks, heard)


def _live(looks: _Looks, screen: Console, heard: Signals) -> None:
    from rich.live import Live

    from tdmx_dask.cli.cluster_tables import frame

    with keys() as pressed, Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            size, now = screen.size, looks.again()
            live.update(frame(now, width=size.width, height=size.height), refresh=True)
            if pressed.pressed("q", _PAUSE) or heard.count:
                break
    screen.print(frame(now, width=screen.width, height=screen.height))


def _lines(looks: _Looks, heard: Signals) -> None:
    from tdmx_dask.cli.cluster_tables import line

    said, said_at = "", -_LINES
    while not heard.count:
        text = line(looks.again())
        if text != said and time.monotonic() - said_at > _LINES:
            said, said_at = text, time.monotonic()
            click.echo(f"{time.strftime('%H:%M:%S')} {text}")
            sys.stdout.flush()
        time.sleep(_PAUSE)
