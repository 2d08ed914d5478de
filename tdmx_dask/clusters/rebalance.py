"""Move tasks that wait for a resource to workers where it is free.

Dask assigns a task that asks for resources by what workers have in all, not by what is free, so that tasks wait behind a long one while
another worker idles; and a worker starts none of its tasks before the first, though there be room for it. This plugin looks at what runs
and moves what waits, by the scheduler's own work stealing: a worker that has begun a task refuses to give it away, so that nothing runs
twice. A small task is let past a large one that waits for room only where it never delays it (as the backfilling of batch schedulers; here
by memory alone, for nobody knows how long a fit takes). It uses internals of distributed 2026.3 and later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, SchedulerPlugin
from tornado.ioloop import PeriodicCallback

__all__ = ["Rebalance", "install_rebalance"]

_log = logging.getLogger(__name__)

PERIOD = 0.5
"""Seconds between two looks."""

SOON = 0.02
"""Seconds from the assignment or end of a task to an extra look."""

SHARE = 0.05
"""Looks may take this share of the scheduler's time."""


@dataclass(slots=True, eq=False)
class _Place:
    """A worker as one look sees it.

    Parameters
    ----------
    worker : of the scheduler
    free, threads : what no task uses
    spare, spare_threads : what no task uses that was let past another: the first waiting task needs its part of it
    waiting : tasks, the first first
    """

    worker: Any
    free: dict[str, float]
    spare: dict[str, float]
    threads: int
    spare_threads: int
    waiting: list[Any] = field(default_factory=list)

    @property
    def first(self) -> Any:
        """The task that is to start next; the worker starts none before it."""
        return self.waiting[0] if self.waiting else None

    def holds(self, task: Any) -> bool:
        """Whether a task could start now if it were the first."""
        return self.threads > 0 and all(self.free.get(name, 0.0) >= need for name, need in _needs(task))

    def is_behind(self, task: Any) -> bool:
        """Whether a task would wait here behind another."""
        return self.first is not None and self.first.priority < task.priority

    def lets_past(self, task: Any) -> bool:
        """Whether a task may start before the first: only where it never delays it, however long it runs."""
        if self.first is None or self.first is task or self.spare_threads < 2:
            return False
        first = dict(_needs(self.first))
        return all(self.spare.get(name, 0.0) - first.get(name, 0.0) >= need for name, need in _needs(task))

    def take(self, task: Any, ahead: set[Any]) -> None:
        """Count a task that runs here."""
        self.threads -= 1
        self.spare_threads -= task.key in ahead
        for name, need in _needs(task):
            self.free[name] = self.free.get(name, 0.0) - need
            if task.key in ahead:
                self.spare[name] = self.spare.get(name, 0.0) - need


def _needs(task: Any) -> Iterable[tuple[str, float]]:
    return (task.resource_restrictions or {}).items()


class Rebalance(SchedulerPlugin):
    """Looks every half second, and a moment after a task was assigned or has ended; its first failure ends it for good."""

    name = "tdmx-rebalance"
    idempotent = True

    def __init__(self) -> None:
        self._scheduler: Any = None
        self._clock: PeriodicCallback | None = None
        self._next = 0.0
        self._asked = False
        self._ahead: set[Any] = set()
        self.moves = 0

    async def start(self, scheduler: Any) -> None:
        """Begin to look, where the scheduler steals work at all."""
        if scheduler.extensions.get("stealing") is None:
            _log.warning("Work stealing is off: tasks are not moved to workers with room")
            return
        self._scheduler = scheduler
        self._clock = PeriodicCallback(self._look, PERIOD * 1000)
        self._clock.start()

    async def close(self) -> None:
        """Stop looking."""
        self._stop()

    def transition(self, key: Any, start: str, finish: str, *_args: Any, **_kwargs: Any) -> None:
        """Look soon after a task with resources was assigned to a worker, or left it."""
        if "processing" not in (start, finish) or self._scheduler is None:
            return
        if finish != "processing":
            self._ahead.discard(key)
        task = self._scheduler.tasks.get(key)
        if task is not None and task.resource_restrictions and not self._asked:
            self._asked = True
            self._scheduler.loop.call_later(SOON, self._look)

    def _look(self) -> None:
        """Look now, or as soon as the share of time allows it."""
        if self._scheduler is None:
            return
        began = time.monotonic()
        if began < self._next:
            if not self._asked:
                self._asked = True
                self._scheduler.loop.call_later(self._next - began, self._look)
            return
        self._asked = False
        try:
            self.moves += _rebalance(self._scheduler, self._ahead)
        except Exception:
            _log.exception("Tasks are no longer moved to workers with room")
            self._stop()
        now = time.monotonic()
        self._next = now + (now - began) / SHARE

    def _stop(self) -> None:
        self._scheduler = None
        if self._clock is not None:
            self._clock.stop()


def install_rebalance(client: Client) -> None:
    """Install the plugin on the client's scheduler; again does nothing. Where that fails, tasks are placed as Dask does it."""
    try:
        client.register_plugin(Rebalance())
    except Exception:  # a scheduler without this package, or that takes no plugins
        _log.warning("Tasks will not be moved to workers with room", exc_info=True)


def _rebalance(scheduler: Any, ahead: set[Any]) -> int:
    """Ask for the moves that let a waiting task start now; return how many.

    `ahead` has the keys of the tasks that were let past another, until they end.
    """
    stealing = scheduler.extensions["stealing"]
    if not any(worker.resources for worker in scheduler.running):
        return 0
    coming: dict[Any, list[Any]] = {}
    for task, info in stealing.in_flight.items():
        coming.setdefault(info["thief"], []).append(task)
    places = [
        _place(worker, stealing.in_flight, coming.get(worker, ()), ahead) for worker in scheduler.running
    ]
    waiting = [(task, place) for place in places for task in place.waiting if task.resource_restrictions]
    moves = 0
    for task, here in sorted(waiting, key=lambda pair: pair[0].priority):
        there = _best(task, here, places, scheduler.valid_workers(task))
        if there is None:
            continue
        here.waiting.remove(task)
        first = there.first
        if first is not None and first.priority < task.priority:
            ahead.add(task.key)
            task.priority = (first.priority[0], first.priority[1] - 1, *first.priority[2:])
        there.take(task, ahead)
        stealing.move_task_request(task, here.worker, there.worker)
        moves += 1
    return moves


def _place(worker: Any, leaving: Any, coming: Iterable[Any], ahead: set[Any]) -> _Place:
    """What runs on a worker, and what waits: a worker starts the first of its waiting tasks, and none before it."""
    place = _Place(worker, dict(worker.resources), dict(worker.resources), worker.nthreads, worker.nthreads)
    running = worker.executing
    for task in coming:
        place.take(task, ahead)
    tasks = list(worker.processing)
    tasks.reverse()  # of equal priority, a worker starts the one that came last
    tasks.sort(key=lambda task: (task not in running, task.priority))
    for task in tasks:
        if task in leaving:
            continue
        if task in running or (not place.waiting and place.holds(task)):
            place.take(task, ahead)
        else:
            place.waiting.append(task)
    return place


def _best(task: Any, here: _Place, places: list[_Place], valid: set[Any] | None) -> _Place | None:
    """The worker where a task can start now, and that has the least left after it; None where it must wait."""
    found = [
        place
        for place in places
        if (valid is None or place.worker in valid)
        and place.holds(task)
        and (place.lets_past(task) if place is here or place.is_behind(task) else True)
    ]
    needs = task.resource_restrictions
    with suppress(ValueError):
        return min(found, key=lambda place: (sum(place.free[name] for name in needs), place.worker.address))
    return None
