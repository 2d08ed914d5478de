"""The sections of workers and their memory, and of what cannot run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tdmx_dask.clusters.diagnosis import Report, Snapshot, Worker
from tdmx_dask.dashboard.page.words import NONE, bar, memory, more, share, table, text

__all__ = ["ROWS", "Totals", "head_html", "stuck_html", "totals", "workers_html"]

ROWS = 40
"""Workers that are shown at most, and lines on what waits."""

LINES = 12

EMPTY = "No worker is here."

_FULL = 0.8
_MEGA = 1e6
_HEADS = (
    ("worker", ""), ("tasks", "n"), ("memory of fits", ""), ("", "n"), ("measured", "n"), ("memory of arrays", "wide"), ("", "n wide"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Totals:
    """Workers and tasks together.

    Parameters
    ----------
    workers, threads, running, waiting : numbers
    asked, used, budget : `MEM`, MB: of tasks that wait, of those that run, of all workers
    """

    workers: int
    threads: int
    running: int
    waiting: int
    asked: float
    used: float
    budget: float


def totals(seen: Snapshot) -> Totals:
    """Add up what the scheduler knows."""
    return Totals(
        len(seen.workers),
        sum(worker.threads for worker in seen.workers),
        sum(worker.running for worker in seen.workers),
        sum(group.count for group in seen.waiting),
        sum(group.count * group.needs.get("MEM", 0.0) for group in seen.waiting),
        sum(worker.used.get("MEM", 0.0) for worker in seen.workers),
        sum(worker.total.get("MEM", 0.0) for worker in seen.workers),
    )


def head_html(seen: Totals) -> str:
    """The line at the top of the page."""
    said = (
        (seen.workers, "worker"), (seen.threads, "thread"), (seen.running, "task runs" if seen.running == 1 else "tasks run"),
        (seen.waiting, "waits" if seen.waiting == 1 else "wait"),
    )  # fmt: skip
    parts = [f"<b>{n:,}</b> {what if n == 1 or at > 1 else what + 's'}" for at, (n, what) in enumerate(said)]
    return f'<h1>tdmx</h1><p class="soft">{" · ".join(parts)}</p>'


def workers_html(seen: Snapshot, measured: Mapping[str, int]) -> str:
    """Memory of workers: what fits have asked for of what they may, what their processes really use, and what arrays use.

    Parameters
    ----------
    seen : what the scheduler knows
    measured : name of a worker -> resident bytes of the processes that it started
    """
    if not seen.workers:
        return f'<p class="soft">{EMPTY}</p>'
    ordered = sorted(seen.workers, key=lambda worker: (len(worker.name), worker.name))
    rows = [_row(worker, measured.get(worker.name)) for worker in ordered[:ROWS]]
    all_ = totals(seen)
    line = ""
    if all_.budget:
        line = (
            f"<p>{memory(_MEGA * all_.used)} of {memory(_MEGA * all_.budget)} for fits is taken"
            + (f", {memory(_MEGA * all_.asked)} more is asked for by tasks that wait" if all_.asked else "")
            + ".</p>"
        )
    return line + table(_HEADS, rows, "workers") + more(len(ordered) - len(rows), "workers")


def _row(worker: Worker, measured: int | None) -> str:
    budget, used = worker.total.get("MEM"), worker.used.get("MEM", 0.0)
    fits = NONE if budget is None else f"{memory(_MEGA * used)} of {memory(_MEGA * budget)}"
    part = share(used, budget or 0.0)
    arrays = share(worker.memory, worker.limit)
    over = budget is not None and measured is not None and measured > _MEGA * budget
    state = "" if worker.status == "running" else f' <span class="warn">{text(worker.status)}</span>'
    cells = (
        ("worker", text(worker.name, 40) + state),
        ("n", f"{worker.running} / {worker.threads}"),
        ("", "" if budget is None else bar(part)),
        ("n", fits),
        (
            "n",
            NONE if measured is None else f'<span class="{"bad" if over else ""}">{memory(measured)}</span>',
        ),
        ("wide", bar(arrays, "warn" if arrays > _FULL else "") if worker.limit else ""),
        ("n wide", memory(worker.memory) + (f" of {memory(worker.limit)}" if worker.limit else "")),
    )
    return "<tr>" + "".join(f'<td class="{kind}">{said}</td>' for kind, said in cells) + "</tr>"


def stuck_html(report: Report) -> str:
    """What can never run, and what else waits, a line each."""
    if not report.lines:
        return '<p class="soft">Everything that was sent runs, or is done.</p>'
    lines = [
        f'<p class="{"bad" if line in report.stuck else "soft"}">{text(line, 400)}</p>'
        for line in report.lines[:LINES]
    ]
    return "".join(lines) + more(len(report.lines) - LINES, "lines")
