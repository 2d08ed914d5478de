"""A queue as a notebook shows it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from tdmx_dask.errors import StoreError

if TYPE_CHECKING:
    from tdmx_dask.jobs.view import QueueView

__all__ = ["queue_html"]

_SHOWN = 12


def queue_html(queue: QueueView) -> str:
    """Counts of the states, and the latest jobs."""
    try:
        stats, jobs = queue.get_stats(), queue.jobs(limit=_SHOWN)
    except StoreError:
        return f"<p>{html.escape(repr(queue))}</p>"
    counts = "".join(
        f"<td>{name} <b>{getattr(stats, name)}</b></td>"
        for name in ("waiting", "queued", "running", "completed", "cached", "failed", "cancelled")
    )
    rows = "".join(
        f"<tr><td>{job.id}</td><td>{html.escape(job.kind)}</td><td style='text-align:left'>{html.escape(job.title)}</td>"
        f"<td>{job.priority}</td><td>{job.state}</td><td>{seconds(job.wait_s)}</td><td>{seconds(job.run_s)}</td></tr>"
        for job in jobs
    )
    names = ("id", "type", "what", "priority", "state", "waited", "ran")
    head = "<tr>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"
    more = "" if stats.total <= _SHOWN else f"<p>… the latest {len(jobs)} of {stats.total} jobs</p>"
    folder = html.escape(str(queue.folder))
    return f"<b>JobQueue</b> {folder}, {queue.slots} at once<table><tr>{counts}</tr></table><table>{head}{rows}</table>{more}"


def seconds(value: float | None) -> str:
    """Seconds as people read them; empty where there are none."""
    if value is None:
        return ""
    if value < 1:
        return f"{1000 * value:.0f} ms"
    if value < 100:
        return f"{value:.1f} s"
    minutes = value / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
