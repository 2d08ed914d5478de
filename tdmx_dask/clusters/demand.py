"""The scheduler's answer to how many workers it wants: `scaling.workers_wanted`, instead of Dask's own guess.

dask-jobqueue's adaptive clusters and the Dask operator both ask the scheduler's `adaptive_target`. This plugin answers it, counts what
clients hold back (they send a few tasks a thread ahead, and announce the rest), and lets no worker be closed that is busy.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from distributed import Client, SchedulerPlugin, Status

from tdmx_dask.clusters.messenger import Messenger
from tdmx_dask.clusters.scaling import Demand, Room, assumed_seconds, workers_wanted
from tdmx_dask.clusters.shape import KEY

__all__ = ["TOPIC", "Announcer", "Wanted", "install_demand"]

TOPIC = "tdmx-demand"
"""Of the events by which clients announce work."""
PERIOD = 1.0
"""Seconds between two announcements."""
TARGET = 60.0
"""Seconds in which work should end, where who asks does not say."""

_log = logging.getLogger(__name__)


class Wanted(SchedulerPlugin):
    """Answers `adaptive_target`; where it fails, Dask's own answer is given from then on."""

    name = "tdmx-demand"
    idempotent = True

    def __init__(self) -> None:
        self._scheduler: Any = None
        self._own: Any = None
        self._held_back: dict[tuple[str, str], Demand] = {}

    async def start(self, scheduler: Any) -> None:
        """Take Dask's place."""
        self._scheduler, self._own = scheduler, scheduler.adaptive_target
        scheduler.adaptive_target = self.target
        scheduler.handlers["adaptive_target"] = self.target

    def log_event(self, topic: str, msg: Any) -> None:
        """Hear what a client holds back."""
        if topic != TOPIC:
            return
        with suppress(KeyError, TypeError, ValueError):
            who = (str(msg["client"]), str(msg["name"]))
            self._held_back.pop(who, None)
            if int(msg["tasks"]) > 0:
                self._held_back[who] = Demand(int(msg["tasks"]), float(msg["seconds"]))

    def remove_client(self, scheduler: Any, client: str) -> None:  # noqa: ARG002
        """Forget what it held back."""
        for who in [who for who in self._held_back if who[0] == client]:
            del self._held_back[who]

    def valid_workers_downscaling(self, scheduler: Any, workers: list[Any]) -> list[Any]:  # noqa: ARG002
        """Workers that may be closed: those that have nothing to do."""
        return [worker for worker in workers if not worker.processing]

    def target(self, target_duration: Any = None) -> int:
        """Workers wanted, for tasks that wait, run, or are held back."""
        from dask.utils import parse_timedelta

        try:
            seconds = TARGET if target_duration is None else float(parse_timedelta(target_duration))
            wanted = workers_wanted(self._demands(), self._room(), seconds)
            return max(wanted, self._holding())
        except Exception:
            _log.exception("How many workers are wanted is left to Dask")
            self._scheduler.adaptive_target = self._own
            self._scheduler.handlers["adaptive_target"] = self._own
            return int(self._own(target_duration))

    def _demands(self) -> Iterator[Demand]:
        yield from self._held_back.values()
        scheduler = self._scheduler
        groups: Counter[tuple[str, float, float]] = Counter()
        for task in self._tasks():
            needs = task.resource_restrictions or {}
            groups[task.prefix.name, needs.get("MEM", 0.0), needs.get("CPU", 0.0)] += 1
        for (prefix, memory, cores), count in groups.items():
            known = scheduler.task_prefixes[prefix].duration_average
            yield Demand(count, known if known > 0 else assumed_seconds(prefix), memory, cores)

    def _tasks(self) -> Iterator[Any]:
        scheduler = self._scheduler
        yield from scheduler.queued
        yield from scheduler.unrunnable
        for worker in scheduler.workers.values():
            yield from worker.processing

    def _room(self) -> Room:
        """A worker to come as it was announced, else the largest that is here."""
        said = self._scheduler.get_metadata([KEY], default=None)
        if said:
            return Room(int(said["threads"]), float(said["memory_mb"]))
        workers = self._scheduler.workers.values()
        most = max((worker.nthreads for worker in workers), default=1)
        return Room(
            most,
            max((worker.resources["MEM"] for worker in workers if "MEM" in worker.resources), default=None),
        )

    def _holding(self) -> int:
        """Workers that cannot be spared: busy ones, and one for results that somebody still wants."""
        workers = [worker for worker in self._scheduler.workers.values() if worker.status == Status.running]
        busy = sum(bool(worker.processing) for worker in workers)
        keeps = any(worker.has_what for worker in workers)
        return max(busy, 1 if keeps else 0)


class Announcer:
    """Tells the scheduler what a client holds back, and how far it is, at most once a second.

    Parameters
    ----------
    client : that holds it back
    name : of the work, unique
    seconds : of a task
    what : of the work, as the dashboard names its tasks
    total : tasks
    """

    def __init__(self, client: Client, name: str, seconds: float, *, what: str = "", total: int = 0) -> None:
        self._messenger = Messenger(client, TOPIC)
        self._fixed = {"client": client.id, "name": name, "seconds": seconds, "what": what, "total": total}
        self._last, self._said = -PERIOD, (0, -1)

    def say(self, tasks: int, *, done: int = 0) -> None:
        """So many tasks are held back, and so many done."""
        now = time.monotonic()
        if (tasks, done) == self._said:
            return
        if now - self._last >= PERIOD or (not tasks and self._said[0]):
            self._last, self._said = now, (tasks, done)
            self._send(tasks, done, over=False)

    def end(self) -> None:
        """Nothing is held back any more, and the work is over."""
        self._send(0, 0, over=True)

    def _send(self, tasks: int, done: int, *, over: bool) -> None:
        self._messenger.send({**self._fixed, "tasks": tasks, "done": done, "over": over})


def install_demand(client: Client) -> None:
    """Install the plugin; again does nothing. Where that fails, the number of workers follows Dask's own rule."""
    try:
        client.register_plugin(Wanted())
    except Exception:  # a scheduler without this package, or that takes no plugins
        _log.warning("The number of workers follows Dask's own rule", exc_info=True)
