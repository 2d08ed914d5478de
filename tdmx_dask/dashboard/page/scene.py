"""What all open pages of a scheduler show: made once for all of them, and only as often as it is looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tdmx_dask.clusters.diagnosis import Report, Snapshot, explain, snapshot_of
from tdmx_dask.clusters.measured import METRIC
from tdmx_dask.clusters.shape import KEY, Shape
from tdmx_dask.dashboard.page.board import Board
from tdmx_dask.dashboard.page.fits_section import fits_html
from tdmx_dask.dashboard.page.queue_section import queues_html
from tdmx_dask.dashboard.page.told import Curve
from tdmx_dask.dashboard.page.workers_section import head_html, stuck_html, totals, workers_html

__all__ = ["FRESH", "Scene"]

FRESH = 0.2
"""s for which what was made is shown again."""

LOOK, SHARE = 0.5, 0.02
"""s between two looks at all tasks at least, and the part of the time that they may take."""


class Scene:
    """A scheduler's state as its pages show it.

    Parameters
    ----------
    scheduler : of distributed
    board : what was said
    """

    def __init__(self, scheduler: Any, board: Board) -> None:
        self.board = board
        self._scheduler = scheduler
        self._made: dict[str, tuple[float, str]] = {}
        self._seen = Snapshot((), ())
        self._report = Report((), ())
        self._next = 0.0
        self.sections: dict[str, Callable[[], str]] = {
            "head": lambda: head_html(totals(self._look())),
            "fits": self._fits,
            "queue": lambda: queues_html(board.queues.values(), board.clock()),
            "memory": lambda: workers_html(self._look(), self._measured()),
            "stuck": self._stuck,
        }

    def html(self, section: str) -> str:
        """A section as it is now, or was a moment ago."""
        now = time.monotonic()
        when, made = self._made.get(section, (-FRESH, ""))
        if now - when >= FRESH:
            made = self.sections[section]()
            self._made[section] = now, made
        return made

    def curve(self) -> tuple[Curve | None, int]:
        """The PTA that is shown, and how many more run: the latest that began, else the latest that was complete."""
        curves = list(self.board.curves.values())
        running = [curve for curve in curves if not curve.over]
        return (running or curves or [None])[-1], max(0, len(running) - 1)  # type: ignore[list-item]

    def _fits(self) -> str:
        self.board.look(self._place)
        return fits_html(self.board.fits.values(), self.board.clock())

    def _place(self, key: str) -> str | None:
        task = self._scheduler.tasks.get(key)
        worker = None if task is None else task.processing_on
        return None if task is None else "" if worker is None else str(worker.address)

    def _stuck(self) -> str:
        self._look()
        return stuck_html(self._report)

    def _look(self) -> Snapshot:
        """Workers and tasks, now or a moment ago."""
        if time.monotonic() >= self._next:
            began = time.thread_time()
            self._seen = snapshot_of(self._scheduler)
            said = self._scheduler.get_metadata([KEY], default=None)
            shape = Shape(**said) if said else None
            self._report = explain(self._seen, None, shape)
            self._next = time.monotonic() + max(LOOK, (time.thread_time() - began) / SHARE)
        return self._seen

    def _measured(self) -> Mapping[str, int]:
        workers = self._scheduler.workers.values()
        return {
            str(each.name): int(each.metrics[METRIC]) for each in workers if METRIC in (each.metrics or {})
        }
