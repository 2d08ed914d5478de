"""A queue as a terminal shows it: counts, a bar, what runs, what is next, what failed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tdmx_dask.jobs.display import seconds
from tdmx_dask.jobs.overview import Overview, Worker
from tdmx_dask.jobs.records import Job
from tdmx_dask.jobs.state import STATES, State

__all__ = ["STYLES", "Pace", "counts_text", "frame", "line", "workers_text"]

STYLES: dict[State, str] = {
    "waiting": "dim",
    "queued": "",
    "running": "cyan",
    "completed": "green",
    "cached": "green",
    "failed": "bold red",
    "cancelled": "yellow",
}
_WINDOW = 60.0
"""s over which jobs that end are counted."""

_LEAST = 3
"""Jobs that must have ended before a pace is said."""

_WIDE = 100
"""Columns from which on there is room for where a job runs, and for its group."""

_FIXED = 5
"""Lines of a frame beside its jobs."""


class Pace:
    """Jobs that end in a second, over the last minute.

    Parameters
    ----------
    lately : that ended in the minute before the first look
    seconds : since the first of them began, a minute at most
    """

    def __init__(self, lately: int, seconds: float) -> None:
        self._lately, self._seconds = lately, min(max(seconds, 0.0), _WINDOW)
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, ended: int) -> None:
        """Tell how many have ended by now."""
        now = time.monotonic()
        if self._seen and ended < self._seen[-1][1]:  # some were cleared
            self._seen.clear()
            self._lately = 0
        if not self._seen:
            self._seen.append((now - self._seconds, ended - self._lately))
        if ended != self._seen[-1][1] or len(self._seen) == 1:
            self._seen.append((now, ended))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """None where too few have ended to say."""
        if not self._seen:
            return None
        now = time.monotonic()
        (since, before), (_, ended) = self._seen[0], self._seen[-1]
        first = self._seen[1][0] if len(self._seen) > 2 and before == self._seen[1][1] else since
        if ended - before < _LEAST:
            return None
        return (ended - before) / max(1.0, min(now - first, _WINDOW))


def frame(
    now: Overview, pace: Pace, folder: Path, *, width: int, height: int | None = None
) -> RenderableType:
    """All of a queue that fits into a window.

    Parameters
    ----------
    now : what is going on
    pace : of late
    folder : of the queue
    width, height : columns and lines of the window; None: as many lines as it needs
    """
    room = 1000 if height is None else max(3, height - _FIXED)
    parts: list[RenderableType] = [_title(now, folder), counts_text(now), _bar(now, pace)]
    parts.append(Text(f"workers: {workers_text(now.workers)}", overflow="ellipsis", no_wrap=True))
    n_failed = min(len(now.failed), max(1, room // 5)) if now.failed else 0
    room -= n_failed + 2 if n_failed else 0
    n_next = min(len(now.upcoming), max(1, room // 3)) if now.upcoming else 0
    n_running = min(len(now.running), max(1, room - (n_next + 3 if n_next else 0) - 3))
    wide = width >= _WIDE
    if now.running:
        parts += [Text(), _running(now, n_running, wide=wide)]
    if n_next:
        parts += [Text(), _next(now, n_next, wide=wide)]
    if n_failed:
        parts += [Text(), Text("latest failures", style="bold")]
        parts += [_failure(job) for job in now.failed[:n_failed]]
    return Group(*parts)


def line(now: Overview, pace: Pace) -> str:
    """The same as one line, for where nobody watches."""
    counts = ", ".join(f"{n:,} {state}" for state, n in now.counts.items() if n) or "no jobs"
    left = _left(now, pace)
    return f"{now.ended:,}/{now.total:,} ended: {counts}{'; ' + left if left else ''}"


def counts_text(now: Overview) -> Text:
    """Jobs in each state, those of none left out."""
    shown = [state for state in STATES if now.counts[state]]
    parts = [Text(f"{now.counts[state]:,} {state}", style=STYLES[state]) for state in shown]
    return Text("   ").join(parts) if parts else Text("there are no jobs")


def workers_text(workers: Sequence[Worker]) -> str:
    """Who works on a queue."""
    if not workers:
        return "none; `tdmx worker` starts one"
    slots = sum(each.slots for each in workers)
    who = ", ".join(f"{each.host} pid {each.pid} ({_jobs(each.running)})" for each in workers)
    return f"{len(workers)}, {slots} calls at once: {who}"


def _jobs(n: int) -> str:
    return "1 job" if n == 1 else f"{n:,} jobs"


def _title(now: Overview, folder: Path) -> RenderableType:
    row = Table.grid(expand=True)
    row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    row.add_column(justify="right", no_wrap=True)
    row.add_row(Text(f"queue {folder}", style="bold"), time.strftime("%H:%M:%S", time.localtime(now.at)))
    return row


def _bar(now: Overview, pace: Pace) -> RenderableType:
    row = Table.grid(padding=(0, 2), expand=True)
    row.add_column(ratio=1)
    row.add_column(justify="right", no_wrap=True)
    row.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(total=max(1, now.total), completed=now.ended)
    row.add_row(bar, f"{now.ended:,}/{now.total:,}", _left(now, pace))
    return row


def _left(now: Overview, pace: Pace) -> str:
    per_second = pace.per_second
    if per_second is None:
        return ""
    speed = f"{per_second:.1f}/s" if per_second >= 1 else f"{60 * per_second:.1f}/min"
    if not now.pending:
        return speed
    return f"{speed}, about {_about(now.pending / per_second)} left"


def _about(value: float) -> str:
    return f"{value:.0f} s" if value < 100 else seconds(value)


def _jobs_table(*heads: str) -> Table:
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for head in heads:
        right = head in ("id", "try", "ran", "prio", "expected")
        table.add_column(
            head,
            justify="right" if right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if head == "what" else None,
        )
    return table


def _running(now: Overview, n: int, *, wide: bool) -> RenderableType:
    heads = ["id", "running", "what", "where", "try", "ran", "progress"]
    if not wide:
        heads.remove("where")
    table = _jobs_table(*heads)
    for job in now.running[:n]:
        ran = "" if job.started is None else seconds(max(0.0, now.at - job.started.timestamp()))
        cells: list[RenderableType] = [str(job.id), Text(job.kind, "cyan"), Text(job.title)]
        cells += [job.worker or "no slot yet"] if wide else []
        table.add_row(*cells, f"{job.attempts}/{job.retries + 1}", ran, _progress(job))
    if n < len(now.running):
        table.add_row("", f"and {len(now.running) - n:,} more")
    return table


def _progress(job: Job) -> RenderableType:
    if job.progress is None:
        return ""
    done, total = job.progress
    row = Table.grid(padding=(0, 1))
    row.add_row(
        ProgressBar(total=max(1, total), completed=done, width=8), f"{100 * done / max(1, total):.0f} %"
    )
    return row


def _next(now: Overview, n: int, *, wide: bool) -> RenderableType:
    heads = ["id", "next", "what", "group", "prio", "expected"]
    if not wide:
        heads.remove("group")
    table = _jobs_table(*heads)
    for job in now.upcoming[:n]:
        cells: list[RenderableType] = [str(job.id), job.kind, Text(job.title)]
        cells += [job.group] if wide else []
        table.add_row(*cells, str(job.priority), f"~{seconds(job.cost)}")
    return table


def _failure(job: Job) -> RenderableType:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{job.id} {job.kind}", style="red")
    text.append(f": {' '.join((job.error or '').split())}")
    return text
