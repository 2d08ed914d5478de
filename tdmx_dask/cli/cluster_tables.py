"""A cluster as a terminal shows it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tdmx_dask.clusters.page_names import page_of
from tdmx_dask.jobs.display import seconds

if TYPE_CHECKING:
    from tdmx_dask.api.pool_status import Status
    from tdmx_dask.api.pools import Pool
    from tdmx_dask.clusters.engine import BatchJob
    from tdmx_dask.clusters.pool_look import WorkerLook
    from tdmx_dask.clusters.progress import Work

__all__ = ["frame", "line", "pools_table"]

_STATES = {
    "running": "green", "starting": "cyan", "ending": "yellow", "waiting": "yellow", "gone": "bold red", "silent": "bold red",
    "elsewhere": "dim", "unknown": "dim",
}  # fmt: skip

_WIDE = 100
"""Columns from which on there is room for hosts and dashboards."""

_SHOWN = 20
"""Workers, and jobs, that are shown where there is no window to fill."""

_LINE_WORK = 3
"""Things that run which one line names."""

_LITTLE = 6
"""Lines for tables below which there is none of what runs."""

_SAID = 10
"""Lines on what is not well that are shown, the worst first."""

_FIXED = 21
"""Lines of a frame beside its tables."""


def pools_table(found: Sequence[tuple[Pool, int | None]], *, width: int) -> RenderableType:
    """All clusters, a line each, with their workers."""
    wide = width >= _WIDE
    table = _table("name", "kind", "state", "workers", "on", "for", *(["dashboard"] if wide else []))
    for pool, workers in found:
        record = pool.record
        cells: list[str | Text] = [record.name, record.kind, Text(pool.state, _STATES[pool.state])]
        cells += ["" if workers is None else str(workers), record.host, _since(record.started)]
        table.add_row(*cells, *([record.dashboard if pool.state == "running" else ""] if wide else []))
    return table


def line(now: Status) -> str:
    """A cluster as one line, for where nobody watches."""
    said = [f"workers: {_workers_text(now)}", f"tasks: {_tasks_text(now)}"]
    said += [_work_text(each) for each in now.work[:_LINE_WORK]]
    if now.jobs:
        said.append(f"jobs: {_jobs_text(now)}")
    return "; ".join([*said, *now.stuck, *now.trouble])


def frame(now: Status, *, width: int, height: int | None = None) -> RenderableType:
    """All of a cluster that fits into a window of so many columns and lines; None: as many lines as it needs."""
    room = (
        2 * _SHOWN
        if height is None
        else max(2, height - _FIXED - min(len(now.stuck) + len(now.trouble), _SAID + 1))
    )
    n_jobs = min(len(now.jobs), max(1, room // 3)) if now.jobs else 0
    n_work = min(len(now.work), (room - n_jobs) // 2) if room >= _LITTLE else 0
    n_workers = min(len(now.workers), max(1, room - n_jobs - n_work))
    parts: list[RenderableType] = [*_head(now, work=not n_work)]
    if now.stuck or now.trouble:
        lines = [
            *(Text(said, "bold red") for said in now.stuck),
            *(Text(said, "yellow") for said in now.trouble),
        ]
        more = [Text(f"and {len(lines) - _SAID:,} more", "dim")] if len(lines) > _SAID else []
        parts += [Text(), *lines[:_SAID], *more]
    if n_work:
        parts += [Text(), _work_table(now.work, n_work, wide=width >= _WIDE)]
    if now.workers:
        parts += [Text(), _workers_table(now.workers, n_workers, wide=width >= _WIDE)]
    if now.jobs:
        parts += [Text(), _jobs_table(now.jobs, n_jobs)]
    return Group(*parts)


def _head(now: Status, *, work: bool) -> list[RenderableType]:
    """Totals; with what runs, where there is no room for a table of it."""
    from tdmx_dask.cli.cluster_status import tunnel

    title = Text(f"cluster {now.name}", "bold")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    if now.pool is not None:
        record = now.pool.record
        kind = "" if record.kind == record.name else f"{record.kind}, "
        title.append(f": {kind}on {record.host}, pid {record.pid}, for {_since(record.started)}", "not bold")
    table.add_row("page", page_of(now.dashboard))
    table.add_row("dashboard", now.dashboard)
    if now.pool is not None:
        table.add_row("from afar", tunnel(now.pool.record))
    table.add_row("workers", _workers_text(now))
    if now.jobs:
        table.add_row("jobs", _jobs_text(now))
    table.add_row("tasks", _tasks_text(now))
    if work and now.work:
        more = f"; and {len(now.work) - 1:,} more" if len(now.work) > 1 else ""
        table.add_row("runs", _work_text(now.work[0]) + more)
    return [title, table]


def _workers_text(now: Status) -> str:
    if not now.workers:
        return "none yet" if any(job.state in ("waiting", "running") for job in now.jobs) else "none"
    threads = sum(each.threads for each in now.workers)
    used, limit = sum(each.memory for each in now.workers), sum(each.memory_limit for each in now.workers)
    fits = sum(each.fits_mb or 0 for each in now.workers)
    text = f"{len(now.workers):,} with {_n(threads, 'thread')}, {_memory(used, limit)} used"
    return f"{text}; {_bytes(fits * 1e6)} more for fits" if fits else text


def _tasks_text(now: Status) -> str:
    return ", ".join(f"{n:,} {state}" for state, n in now.tasks.items() if n) or "none"


def _jobs_text(now: Status) -> str:
    states = Counter((job.state, job.reason if job.state != "running" else "") for job in now.jobs)
    return ", ".join(
        f"{n} {state}" + (f" ({reason})" if reason else "") for (state, reason), n in states.items()
    )


def _work_text(each: Work) -> str:
    """Such as ``tdmx-pta: 40 of 155 (26 %), 2 min left``."""
    text = f"{each.kind} {each.name}".strip()
    if each.total:
        text += f": {each.phase + ' ' if each.phase else ''}{_share(each)}"
    return text if each.seconds_left is None else f"{text}, {seconds(each.seconds_left)} left"


def _share(each: Work) -> str:
    return f"{each.done:,} of {each.total:,} ({100 * each.done // each.total} %)" if each.total else ""


def _work_table(found: Sequence[Work], n: int, *, wide: bool) -> RenderableType:
    table = _table("runs", "name", "phase", *(["divergences"] if wide else []), "done", "for", "left")
    for each in found[:n]:
        divergences = [Text(f"{each.divergences:,}" if each.divergences else "", "yellow")] if wide else []
        times = (seconds(each.seconds), seconds(each.seconds_left))
        name = Text(each.name)
        name.truncate(30 if wide else 12, overflow="ellipsis")
        table.add_row(each.kind, name, each.phase, *divergences, _share(each), *times)
    if n < len(found):
        table.add_row(f"and {len(found) - n:,} more")
    return table


def _workers_table(found: Sequence[WorkerLook], n: int, *, wide: bool) -> RenderableType:
    table = _table("worker", *(["host"] if wide else []), "threads", "tasks", "cpu", "memory", "for fits")
    for each in found[:n]:
        host = [each.host] if wide else []
        memory = Text(_memory(each.memory, each.memory_limit))
        if each.memory_limit and each.memory > 0.8 * each.memory_limit:
            memory.stylize("bold red")
        fits = "" if each.fits_mb is None else _bytes(each.fits_mb * 1e6)
        table.add_row(each.name, *host, str(each.threads), str(each.running), f"{each.cpu:.1f}", memory, fits)
    if n < len(found):
        table.add_row(f"and {len(found) - n:,} more")
    return table


def _jobs_table(found: Sequence[BatchJob], n: int) -> RenderableType:
    table = _table("job", "worker", "state", "node", "left", "reason")
    order = ("waiting", "ending", "unknown", "gone", "running")
    for job in sorted(found, key=lambda each: order.index(each.state))[:n]:
        state = Text(job.state, _STATES[job.state])
        table.add_row(job.id, job.worker, state, job.node, seconds(job.seconds_left), job.reason)
    if n < len(found):
        table.add_row(f"and {len(found) - n:,} more")
    return table


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in heads:
        right = head in (
            "workers",
            "threads",
            "tasks",
            "cpu",
            "memory",
            "for fits",
            "divergences",
            "done",
            "for",
            "left",
        )
        fold = head in ("reason", "worker", "host")
        table.add_column(
            head,
            justify="right" if right else "left",
            no_wrap=not fold,
            overflow="fold" if fold else "ellipsis",
        )
    return table


def _since(started: float) -> str:
    return seconds(max(0.0, time.time() - started))


def _n(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _memory(used: float, limit: float) -> str:
    return f"{_bytes(used)} of {_bytes(limit)}" if limit else _bytes(used)


def _bytes(size: float) -> str:
    for unit, scale in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size / 2**10:.0f} KiB"
