"""What must hold after a soak."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

import numpy as np
import psutil

from tdmx_dask.jobs.failure import error_from
from tdmx_dask.store.cache import Cache
from tdmx_dask.store.scratch import sweep
from tdmx_dask.store.value import decode

if TYPE_CHECKING:
    from tests.jobs.soak import Soak
    from tests.jobs.soak_plan import Planned

T = TypeVar("T")

WORKERS = 4
"""That must die with a task on them until Dask gives it up: its allowed failures, 3, and one more."""


def check(soak: Soak) -> None:
    """Check all; fill in the figures."""
    planned = soak.planned()
    rows = _rows(soak)
    assert len(rows) == soak.jobs
    logs: dict[int, list[str]] = {}
    for job, text in soak.read("SELECT job, text FROM log ORDER BY rowid"):
        logs.setdefault(int(str(job)), []).append(str(text))
    problems: list[str] = []
    for job, plan in planned:
        row, log = rows[job], logs.get(job, [])
        problems += [
            f"job {job} {plan.kind} {plan.spec} {each}; log {log}" for each in _wrong(soak, plan, row, log)
        ]
    assert not problems, f"{len(problems)} jobs are not right:\n" + "\n".join(problems[:10])
    soak.figures.followed = sum(
        "is equal to it, and has the answer" in line for log in logs.values() for line in log
    )
    _once(soak, planned, rows)
    _accounts(soak, rows)
    _files(soak, rows)
    _clients(soak)
    assert soak.semaphores_seen == (soak.on == "local"), "only Dask's nannies have semaphores"
    left = until_none(soak.semaphores, 5.0)
    assert not left, f"left in shared memory: {left}"


def _rows(soak: Soak) -> dict[int, dict[str, Any]]:
    db = sqlite3.connect(soak.folder / "queue" / "queue.sqlite")
    db.row_factory = sqlite3.Row
    found = {row["id"]: dict(row) for row in db.execute("SELECT * FROM jobs")}
    db.close()
    return found


def _wrong(soak: Soak, plan: Planned, row: dict[str, Any], log: list[str]) -> list[str]:
    """What is not right with a job."""
    found = []
    state = row["state"]
    if state not in plan.states:
        return [f"is {state} ({row['error']}), not {' or '.join(plan.states)}"]
    lost = sum("killed from outside" in line or "the worker died" in line for line in log)
    unharmed = sum(line.startswith("given back") for line in log)
    tries = row["claims"] - row["failures"] - row["losses"] - unharmed
    if tries not in {"completed": (1,), "failed": (0,)}.get(state, (0, 1)):
        found.append(f"was claimed {row['claims']} times, {row['failures']} failed, {row['losses']} lost")
    if plan.succeeds:
        if not _same(decode(soak.ledger.result(row["id"])), plan.result):
            found.append("has another result")
        if row["failures"] > lost:
            found.append(f"failed {row['failures']} times")
    elif state == "failed":
        text = (
            str(error_from(json.loads(row["error"])))
            if str(row["error"]).startswith("{")
            else str(row["error"])
        )
        if not re.search(plan.error, text):
            found.append(f"failed with {text}")
        late = plan.kind == "endless"
        want = row["retries"] + 1 if late else row["failures"] if "which it needs" in text else lost + 1
        if row["failures"] != want:
            found.append(f"failed {row['failures']} times, not {want}")
        if late and "killed from outside" in text and not soak.figures.child_kills:
            found.append(f"nobody killed it: {text}")
        if late and "the worker died" in text and soak.figures.worker_kills < WORKERS:
            found.append(f"nobody killed its workers: {text}")
    return found


def _same(one: Any, other: Any) -> bool:
    if isinstance(other, np.ndarray):
        return isinstance(one, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and one == other


def _once(soak: Soak, planned: list[tuple[int, Planned]], rows: dict[int, dict[str, Any]]) -> None:
    """No answer was computed and taken twice; what ran twice was lost on the way by a kill."""
    begins: Counter[int] = Counter()
    ends: Counter[int] = Counter()
    for line in Path(soak.log).read_text(encoding="utf-8").splitlines():
        key, what, _ = line.split()
        (begins if what == "begins" else ends)[int(key)] += 1
    plans = {plan.key: plan for _, plan in planned}
    taken = Counter(plan.key for job, plan in planned if rows[job]["state"] == "completed")
    assert not [key for key, n in taken.items() if n > 1], "answers were computed and taken twice"
    again = 0
    for key, plan in plans.items():
        if plan.succeeds:
            n = ends[key] // (len(plan.spec["items"]) if plan.kind == "batch_processing" else 1)
            assert n >= 1 or plan.spec.get("errors") == "keep", f"{key}: there is a result, and nothing ran"
            again += n - 1 if plan.kind != "batch_processing" else 0
        elif plan.kind == "endless":
            assert not ends[key], f"{key}: it was not ended"
    figures = soak.figures
    kills = 2 * figures.client_kills + figures.worker_kills + figures.child_kills
    assert again <= kills, f"{again} executions were lost by {kills} kills"
    figures.executions, figures.again = sum(begins.values()), again


def _accounts(soak: Soak, rows: dict[int, dict[str, Any]]) -> None:
    """What groups were charged is what their jobs ran, and nothing is said to wait."""
    for name, waiting, waiting_s in soak.read("SELECT name, waiting, waiting_s FROM groups"):
        assert (waiting, waiting_s) == (0, 0.0), f"group {name} is said to wait"
    served = float(str(soak.read("SELECT seconds FROM served")[0][0]))
    ran = sum(row["run_s"] or 0.0 for row in rows.values())
    assert abs(served - ran) <= 1e-6 * max(1.0, ran), f"{served} s were charged, {ran} s ran"
    assert not soak.read(
        "SELECT 1 FROM jobs WHERE owner IS NOT NULL OR hold IS NOT NULL OR worker IS NOT NULL"
    )
    assert not soak.read("SELECT 1 FROM needs WHERE follows"), "a job still follows another"
    stats = soak.ledger.stats()
    assert (stats.ended, stats.pending, stats.clients) == (soak.jobs, 0, 0)
    figures = soak.figures
    figures.completed, figures.cached = stats.completed, stats.cached
    figures.failed, figures.cancelled = stats.failed, stats.cancelled
    figures.attempts = stats.attempts
    figures.retries = sum(max(0, row["failures"] - (row["state"] == "failed")) for row in rows.values())
    figures.recovered = sum(row["losses"] for row in rows.values())
    assert stats.attempts == sum(row["claims"] for row in rows.values())
    waits = [row["wait_s"] for row in rows.values() if row["wait_s"] is not None]
    figures.max_wait_s, figures.mean_wait_s = max(waits), sum(waits) / len(waits)
    with sqlite3.connect(soak.folder / "queue" / "queue.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert not db.execute("PRAGMA foreign_key_check").fetchall()
    db.close()


def _files(soak: Soak, rows: dict[int, dict[str, Any]]) -> None:
    """Nothing is left but what jobs refer to; what a kill left is removed when it is old."""
    kept = {row["result_file"] for row in rows.values() if row["result_file"] is not None}
    results = soak.folder / "queue" / "results"
    lost = {path.name for path in results.iterdir()} - kept
    soak.figures.unsettled_files = len(lost)
    kills = soak.figures.client_kills
    assert len(lost) <= 2 * kills, f"{len(lost)} files are left by {kills} killed clients"
    for name in lost:
        os.utime(results / name, (0, 0))
    assert soak.ledger.sweep() == len(lost)
    assert {path.name for path in results.iterdir()} == kept
    soak.ledger.close()
    found = {path.name for path in Path(soak.folder, "queue").iterdir()}
    assert found <= {"queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm", "results"}, found
    place = Path(soak.folder, "tmp")
    temporary = [path.name for path in place.iterdir() if path.name != "dask-scratch-space"]
    assert len(temporary) <= kills, f"temporary files are left by {kills} killed clients: {temporary}"
    for name in temporary:
        os.utime(place / name, (0, 0))
    with mock.patch.object(tempfile, "tempdir", str(place)):
        assert sweep() == len(temporary), f"some cannot be swept: {temporary}"
    cache = Cache(soak.folder / "cache")
    good, removed = cache.verify()
    assert good
    assert not removed, f"{removed} entries of the cache are damaged"
    odd = [path.name for path in cache.folder.glob("*/*") if not re.fullmatch("[0-9a-f]{64}", path.name)]
    assert len(odd) <= kills, f"unfinished entries of the cache: {odd}"


def _clients(soak: Soak) -> None:
    """Those that ended by themselves had heard of all their jobs, and left nothing open."""
    for who in soak.shares:
        report = json.loads(Path(soak.folder, f"report-{who}").read_text(encoding="utf-8"))
        if who == "a":
            assert report["called"] == report["asked"], report
            soak.figures.more_fds = report["files"]
        assert report["files"] <= 8, report
        assert not report["threads"], report
        soak.figures.callbacks += report["called"]
    assert "Traceback" not in soak.said(), soak.said()


def lives(process: psutil.Process) -> bool:
    """Whether it runs; one that nobody has waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def until_none(look: Callable[[], list[T]], seconds: float) -> list[T]:
    """What is found, as soon as it is nothing, or after so long."""
    end = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return found
