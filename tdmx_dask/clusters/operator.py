"""What the Dask operator's autoscaler may ask of the scheduler: a preload, ``dask scheduler --preload tdmx_dask.clusters.operator``.

The operator speaks plain HTTP, without credentials. So the scheduler's own HTTP (dashboard, statistics, metrics) stays on loopback, and
this opens a door beside it that answers three questions and no more: how many workers of the default group are wanted, which of them may
go, and since when nothing has run. Whoever reaches it learns these numbers and the workers' names, and changes nothing; no code and no
data pass. The network policy lets the operator alone reach it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from distributed.http.utils import RequestHandler
from tornado.escape import json_decode
from tornado.httpserver import HTTPServer
from tornado.web import Application

from tdmx_dask.clusters.manifest import DOOR

__all__ = ["dask_setup", "dask_teardown", "expendable", "wanted"]

_doors: dict[Any, HTTPServer] = {}


def wanted(target: int, workers: Iterable[Any], prefix: str) -> int:
    """Workers wanted in the default group: of all that are wanted, those that other groups do not have.

    Parameters
    ----------
    target : workers that the scheduler wants in all
    workers : that there are, with their names
    prefix : of the names of the default group's
    """
    others = sum(not str(worker.name).startswith(prefix) for worker in workers)
    return max(0, target - others)


def expendable(workers: Iterable[Any], n: int, prefix: str) -> list[Any]:
    """The n workers of the default group that lose least by going: those with the fewest tasks, then with the fewest bytes.

    Their pods end what they run before they go (see `drain`).
    """
    group = [worker for worker in workers if str(worker.name).startswith(prefix)]
    return sorted(group, key=lambda worker: (len(worker.processing), worker.nbytes))[: max(0, n)]


class _Target(RequestHandler):
    def get(self) -> None:
        scheduler = self.server
        self.write(
            {"workers": wanted(scheduler.adaptive_target(), scheduler.workers.values(), self.extra["prefix"])}
        )


class _Retire(RequestHandler):
    def post(self) -> None:
        try:
            n = int(json_decode(self.request.body)["n"])
        except (ValueError, TypeError, KeyError):
            self.send_error(400)
            return
        going = expendable(self.server.workers.values(), n, self.extra["prefix"])
        self.write({worker.address: {"name": worker.name} for worker in going})


class _Idle(RequestHandler):
    def get(self) -> None:
        self.write({"idle_since": self.server.check_idle()})


def dask_setup(scheduler: Any) -> None:
    """Open the door. The variable TDMX_DOOR_CLUSTER names the DaskCluster, TDMX_DOOR_PORT another port than that of the service."""
    extra = {"prefix": f"{os.environ.get('TDMX_DOOR_CLUSTER', 'tdmx')}-default-worker-"}
    what = {"dask_server": scheduler, "extra": extra}
    routes = [
        ("/api/v1/adaptive_target", _Target, what),
        ("/api/v1/retire_workers", _Retire, what),
        ("/api/v1/check_idle", _Idle, what),
    ]
    door = HTTPServer(Application(routes))
    door.listen(int(os.environ.get("TDMX_DOOR_PORT", DOOR)), os.environ.get("TDMX_DOOR_HOST", ""))
    _doors[scheduler] = door


def dask_teardown(scheduler: Any) -> None:
    """Shut the door."""
    door = _doors.pop(scheduler, None)
    if door is not None:
        door.stop()
