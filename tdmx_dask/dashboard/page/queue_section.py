"""The section of jobs: counts by state, and a table of those that run, come next, or ended last."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

from tdmx_dask.dashboard.page.told import Queue, Row
from tdmx_dask.dashboard.page.words import NONE, bar, more, seconds, share, table, text

__all__ = ["ROWS", "SILENT", "queues_html"]

ROWS = 40
"""Jobs of a queue that are shown at most."""

QUEUES = 3

SILENT = 75.0
"""s after which a client that has not told of its queue counts as silent; it tells every 30 s."""

EMPTY = "No queue works on this cluster. <code>tdmx.JobQueue(on=cluster)</code> opens one."

_STATES = {"running": "", "completed": "good", "cached": "good", "failed": "bad", "cancelled": "soft"}
_HEADS = (
    ("job", "n"), ("what", ""), ("type", "wide"), ("state", "k"), ("priority", "n"), ("waited", "n"), ("ran", "n"), ("attempts", "n wide"),
    ("", ""),
)  # fmt: skip


def queues_html(queues: Iterable[Queue], now: float) -> str:
    """HTML of queues.

    Parameters
    ----------
    queues : as they were told
    now : s since 1970
    """
    found = list(queues)
    if not found:
        return f'<p class="soft">{EMPTY}</p>'
    return "".join(_queue(queue, now) for queue in found[:QUEUES]) + more(len(found) - QUEUES, "queues")


def _queue(queue: Queue, now: float) -> str:
    counts = queue.counts
    answered = counts["completed"] + counts["cached"]
    said = ", ".join(
        f'<span class="{_STATES.get(state, "")}">{n:,} {"from the cache" if state == "cached" else state}</span>'
        for state, n in counts.items()
        if n
    )
    hits = (
        f"; {100 * counts['cached'] / answered:.0f} % of the answers from the cache"
        if counts["cached"]
        else ""
    )
    silent = now - queue.heard
    warn = f' <span class="warn">silent for {silent:.0f} s</span>' if silent > SILENT else ""
    head = f'<h3 title="{text(queue.folder, 400)}">{text(PurePath(queue.folder).name)}{warn}</h3>'
    line = f'<p class="counts">{said or "empty"}{hits}; <span class="soft">{queue.slots:,} at once</span></p>'
    rows = [_row(row, now) for row in queue.rows[:ROWS]]
    return (
        head + line + (table(_HEADS, rows, "queue") if rows else "") + more(queue.total - len(rows), "jobs")
    )


def _row(row: Row, now: float) -> str:
    ran, waited = row.run, row.wait
    if row.state == "running" and row.started is not None:
        ran = now - row.started
    if row.state in ("queued", "waiting") and waited is None and row.submitted is not None:
        waited = now - row.submitted
    state = "from the cache" if row.state == "cached" else row.state
    how = (
        bar(share(row.done, row.total))
        if row.total and row.state == "running"
        else f'<span class="bad">{text(row.error)}</span>'
    )
    cells = (
        ("n soft", str(row.id)),
        ("title", text(row.title, 60)),
        ("wide soft", text(row.kind, 30)),
        ("k", f'<span class="{_STATES.get(row.state, "soft")}">{state}</span>'),
        ("n", f"{row.priority}"),
        ("n", seconds(waited)),
        ("n", NONE if row.state == "cached" else seconds(ran)),
        ("n wide", f"{row.attempts}"),
        ("how", how if row.state in ("running", "failed") else ""),
    )
    return "<tr>" + "".join(f'<td class="{kind}">{said}</td>' for kind, said in cells) + "</tr>"
