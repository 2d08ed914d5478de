"""The job queue: what durability costs, what a hit saves, and how close to the ideal the workers are kept busy."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tdmx_dask as tdmx
from tdmx_dask.bench.queue_work import nothing
from tdmx_dask.bench.table import Row
from tdmx_dask.jobs.ledger import Ledger
from tdmx_dask.store.cache import Cache

__all__ = ["rows"]

WORK = "tdmx_dask.bench.queue_work"
N_TRIVIAL = 500
N_QUEUED = 100_000
N_BATCHES, N_ITEMS, ITEM_SECONDS = 20, 10, 0.1
N_UNEQUAL, SPREAD = 40, 1.0
RUNS = 3


def rows() -> Iterator[Row]:
    """Throughput, submitting, hits, a long queue, batches, unequal jobs, and a late urgent job."""
    yield from _trivial()
    yield from _submitting()
    yield from _hits()
    yield from _long()
    for on in ("local", "processes"):
        for workers in (1, 2, 4):
            yield _batches(on, workers)
    for workers in (2, 4):
        yield from _unequal(workers)
    yield _urgent()


@contextmanager
def _queue(on: str, workers: int) -> Iterator[tuple[Any, Any]]:
    """An empty queue with warm workers and no cache, and its cluster."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        cluster = None
        if on == "local":
            cluster = stack.enter_context(tdmx.cluster("local", n_workers=workers, threads_per_worker=1))
        queue = stack.enter_context(tdmx.JobQueue(workers, False, cluster, folder=Path(folder, "queue")))
        queue.register("nothing", f"{WORK}:nothing")
        queue.register("nap", f"{WORK}:nap")
        queue.wait_all(
            queue.submit_batch({"type": "nap", "spec": {"seconds": 0.2, "number": k}} for k in range(workers))
        )
        yield queue, cluster


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# trivial jobs


def _trivial() -> Iterator[Row]:
    """Jobs a second from submit to the last one's end, each a task or call of its own."""
    specs = [{"type": "nothing", "spec": {"x": k}} for k in range(N_TRIVIAL)]
    for on, name in (
        ("local", "trivial jobs, LocalCluster of two workers"),
        ("processes", "  in two processes"),
    ):
        with _queue(on, 2) as (queue, cluster):
            rates, raw = [], []
            for run in range(RUNS + 1):
                if on == "local":
                    raw.append(N_TRIVIAL / _raw(cluster.client, run))
                seconds = _seconds(lambda: queue.wait_all(queue.submit_batch(specs)))
                rates.append(N_TRIVIAL / seconds)
        rate = statistics.median(rates[1:])
        bare = statistics.median(raw[1:]) if raw else None
        yield Row(
            name, rate, "1/s", RUNS, "" if bare is None else f"bare no-op tasks {bare:.0f}/s", None if bare is None else rate / bare,
            ">= 100/s", rate >= 100,
        )  # fmt: skip


def _raw(client: Any, run: int) -> float:
    """Seconds of as many tasks of Dask that do nothing."""
    start = time.perf_counter()
    client.gather([client.submit(nothing, k, key=f"raw-{run}-{k}") for k in range(N_TRIVIAL)])
    return time.perf_counter() - start


# submitting, and answers that are there


def _submitting() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        with tdmx.JobQueue(0, False, folder=Path(folder, "queue")) as queue:
            queue.register("nothing", f"{WORK}:nothing")
            once = [_seconds(lambda k=k: queue.submit("nothing", {"x": k})) for k in range(200)]  # type: ignore[misc]
            many = [{"type": "nothing", "spec": {"x": k}} for k in range(1000)]
            batch = [_seconds(lambda: queue.submit_batch(many)) / len(many) for _ in range(RUNS)]
        ms = 1e3 * statistics.median(once)
        sync = 1e3 * statistics.median(_synced(Path(folder, "file"), 100))
    yield Row(
        "submit one job, on the disk when it returns", ms, "ms", len(once), f"4 kB written and synced {sync:.3g} ms", ms / sync,
        "<= 5 ms", ms <= 5,
    )  # fmt: skip
    yield Row("  of 1,000 in one submit_batch, each", 1e3 * statistics.median(batch), "ms", RUNS)


def _synced(path: Path, runs: int) -> list[float]:
    """Seconds of a write that the disk has."""
    import os

    with path.open("wb", buffering=0) as file:

        def write() -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        return [_seconds(write) for _ in range(runs)]


def _hits() -> Iterator[Row]:
    value = np.random.default_rng(1).bytes(10**6)
    digests = [f"{k:064x}" for k in range(50)]
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder, "answers"))
        for digest in digests:
            cache.put(digest, value)
        memory = [_seconds(lambda: cache.get(digests[-1])) for _ in range(200)]
        other = Cache(Path(folder, "answers"), memory_bytes=0)
        disk = [_seconds(lambda d=d: other.get(d)) for d in digests]  # type: ignore[misc]
        read = statistics.median(
            _seconds(next(Path(folder, "answers").glob("*/*")).read_bytes) for _ in range(50)
        )
        with tdmx.JobQueue(1, Path(folder, "own"), folder=Path(folder, "queue")) as queue:
            queue.register("nothing", f"{WORK}:nothing")
            queue.result(queue.submit("nothing", {"x": 1}))
            whole = [_seconds(lambda: queue.result(queue.submit("nothing", {"x": 1}))) for _ in range(100)]
    ms, kept, all_ = (1e3 * statistics.median(each) for each in (memory, disk, whole))
    yield Row("an answer of 1 MB from memory", ms, "ms", len(memory), reach="<= 1 ms", met=ms <= 1)
    yield Row(
        "  from the disk",
        kept,
        "ms",
        len(disk),
        f"read alone {1e3 * read:.3g} ms",
        kept / (1e3 * read),
        "<= 10 ms",
        kept <= 10,
    )
    yield Row("  submit and result of a small one, a durable job", all_, "ms", len(whole))


# many jobs


def _long() -> Iterator[Row]:
    """Submit and claim with a long queue of three groups and five priorities."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "queue")
        with tdmx.JobQueue(0, False, folder=folder) as queue:
            queue.register("nothing", f"{WORK}:nothing")
            for first in range(0, N_QUEUED, 10_000):
                queue.submit_batch(
                    {"type": "nothing", "spec": {"x": k}, "priority": k % 5, "group": f"g{k % 3}"}
                    for k in range(first, first + 10_000)
                )
            submit = [_seconds(lambda k=k: queue.submit("nothing", {"x": -k})) for k in range(200)]  # type: ignore[misc]
        ledger = Ledger(folder)
        claim = [_seconds(lambda: ledger.turn("bench", n=1)) for _ in range(200)]
        stats = statistics.median(_seconds(ledger.stats) for _ in range(5))
        ledger.close()
    for text, found in (("submit", submit), ("next job", claim)):
        ms, late = 1e3 * statistics.median(found), 1e3 * float(np.quantile(found, 0.99))
        yield Row(
            f"{text}, with {N_QUEUED:,} queued",
            ms,
            "ms",
            len(found),
            f"99th percentile {late:.3g} ms",
            None,
            "< 5 ms",
            ms < 5,
        )
    yield Row("  get_stats", 1e3 * stats, "ms", 5)


def _batches(on: str, workers: int) -> Row:
    """Several divisible jobs of random priorities, beside workers that never wait."""
    ideal = N_BATCHES * N_ITEMS * ITEM_SECONDS / workers
    priorities = np.random.default_rng(1).integers(0, 21, N_BATCHES)
    spec = {"function": "time:sleep", "items": [ITEM_SECONDS] * N_ITEMS}
    with _queue(on, workers) as (queue, _):
        queue.result(queue.submit("batch_processing", spec))
        jobs = [{"type": "batch_processing", "spec": spec, "priority": int(each)} for each in priorities]
        seconds = _seconds(lambda: queue.wait_all(queue.submit_batch(jobs)))
    where = "LocalCluster" if on == "local" else "processes"
    ratio = seconds / ideal
    return Row(
        f"{N_BATCHES} batches of {N_ITEMS} x {ITEM_SECONDS} s, {where}, {workers} worker{'s' * (workers > 1)}", seconds, "s", 1,
        f"ideal {ideal:g} s", ratio, "<= 1.05 x", ratio <= 1.05,
    )  # fmt: skip


def _unequal(workers: int) -> Iterator[Row]:
    """Jobs of log-normal length: with estimates that were learned (longest first), and without (as they came)."""
    ratios, ideals = [], []
    for run in range(RUNS):
        random = np.random.default_rng(run)
        lengths = np.round(0.1 * np.exp(SPREAD * random.standard_normal(N_UNEQUAL)), 3)
        ideal = max(lengths.sum() / workers, lengths.max())
        seconds = [_makespan(lengths.tolist(), workers, learned=learned) for learned in (True, False)]
        ratios.append(seconds[0] / seconds[1])
        ideals.append((seconds[0] / ideal, seconds[1] / ideal))
    first, naive = (statistics.median(each) for each in zip(*ideals, strict=True))
    ratio = statistics.median(ratios)
    yield Row(
        f"{N_UNEQUAL} unequal jobs, longest first, {workers} workers", first, "of ideal", RUNS, f"in order {naive:.3g} of ideal", ratio,
    )  # fmt: skip


def _makespan(lengths: Sequence[float], workers: int, *, learned: bool) -> float:
    """Seconds from submit to the last one's end. Each job is of a family of its own, which may have run before."""
    with _queue("processes", workers) as (queue, _):
        names = [f"nap{k}" for k in range(len(lengths))]
        for name in names:
            queue.register(name, f"{WORK}:nap")
        jobs = [
            {"type": name, "spec": {"seconds": seconds, "number": k}}
            for k, (name, seconds) in enumerate(zip(names, lengths, strict=True))
        ]
        if learned:
            queue.wait_all(queue.submit_batch(jobs))
        return _seconds(lambda: queue.wait_all(queue.submit_batch(jobs)))


def _urgent() -> Row:
    """Seconds that a late urgent job waits while batches and ordinary jobs keep both workers busy."""
    with _queue("local", 2) as (queue, _):
        batch = {"function": "time:sleep", "items": [ITEM_SECONDS] * 200}
        queue.submit("batch_processing", batch)
        queue.submit_batch({"type": "nap", "spec": {"seconds": 0.1, "number": k}} for k in range(200))
        waits = []
        for k in range(20):
            time.sleep(0.23)
            job = queue.submit("nothing", {"x": k}, priority=1000)
            waits.append(_seconds(lambda job=job: queue.result(job)))  # type: ignore[misc]
        queue.cancel([job.id for job in queue.jobs() if not job.done])
    ms = 1e3 * statistics.median(waits)
    return Row(
        "a late urgent job, submit to result, two busy workers", ms, "ms", len(waits),
        f"slowest {1e3 * max(waits):.0f} ms; the others run 100 ms each",
    )  # fmt: skip
