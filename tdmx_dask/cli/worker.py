"""``tdmx worker`` and ``tdmx queue resume``: this process works on a queue, for ever or until nothing is left."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from tdmx_dask.cli.options import HELP, QUIET, examples
from tdmx_dask.cli.queue_options import executor_options, folder_option, json_option, print_json, reading
from tdmx_dask.errors import ClusterError, InputError, JobError

if TYPE_CHECKING:
    from tdmx_dask.api.queue import JobQueue
    from tdmx_dask.jobs.ledger import Ledger
    from tdmx_dask.jobs.records import Job

__all__ = ["find_modules_here", "resume", "worker"]

_PAUSE = 0.1
"""s between two looks at what was asked of this process; the queue has a thread of its own."""

_SHOWN = 10


class Signals:
    """How often this process was asked to end, and by what."""

    def __init__(self) -> None:
        self.count, self.last = 0, 0

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.count, self.last = self.count + 1, number


@contextmanager
def signals() -> Iterator[Signals]:
    """Count SIGINT and SIGTERM inside of the block, and do nothing else about them."""
    heard = Signals()
    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def find_modules_here() -> None:
    """Let functions be imported from the working directory, after all other places, as from a script that lies there."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


@click.command(
    context_settings=HELP,
    epilog=examples(
        "tdmx worker",
        "tdmx worker --folder /var/lib/tdmx/queue --max-workers 4",
        "tdmx worker --on ward --drain",
    ),
)
@folder_option
@executor_options
@click.option(
    "--until-done", is_flag=True, help="End once no job is left that has not ended, wherever it runs."
)
@click.option(
    "--drain",
    is_flag=True,
    help="When asked to end, begin nothing more but finish what runs; asked twice, give it back at once.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def worker(folder: Path | None, until_done: bool, drain: bool, quiet: bool, **options: Any) -> None:
    """Work on a queue until Ctrl-C or SIGTERM: run its jobs as they come, the next one first.

    Several workers share a queue: no job runs twice. When one ends, what it ran goes back to the queue at once; when it dies, others take
    it up. Each job that ends is a line on stderr. The queue is made where there is none.
    """
    find_modules_here()
    with signals() as heard, _logging(quiet=quiet), _open(folder, options) as queue:
        if not quiet:
            _say(f"{_place(queue, options)}, pid {os.getpid()}")
        with reading(queue.folder) as ledger:
            done = (lambda: _pending(ledger) == 0) if until_done else (lambda: False)
            _work(queue, heard, done, drain=drain)
        left = queue.busy
        if left and not quiet:
            _say(f"gives back {left} jobs")
    if heard.last == signal.SIGINT:
        what = "what ran here is back in the queue" if left else "nothing ran here any more"
        raise KeyboardInterrupt(f"interrupted; {what}")


@click.command(
    context_settings=HELP,
    epilog=examples(
        "tdmx queue resume", "tdmx queue resume --failed", "tdmx queue resume --on local --max-workers 8"
    ),
)
@folder_option
@executor_options
@json_option
@click.option("--failed", is_flag=True, help="First queue those again that failed.")
@QUIET
def resume(folder: Path | None, as_json: bool, failed: bool, quiet: bool, **options: Any) -> None:
    """Work on a queue until nothing is left to do: after a crash, or after jobs were submitted that nobody runs.

    What is completed stays completed; what ran when its process or machine died runs again. Waits for jobs that others run, too. The exit
    code is 5 where a job failed.
    """
    from tdmx_dask.api.progress import QueueBar

    find_modules_here()
    started = time.monotonic()
    with reading(folder) as ledger:
        before = {job.id for job in ledger.jobs(states=("failed",))}
        if failed and before:
            ledger.revive(sorted(before))
            before.clear()
        counts = ledger.count()
        with signals() as heard, _open(folder, options) as queue:
            if not quiet:
                _say(_place(queue, options))
            with QueueBar(ledger, quiet=quiet or as_json) as bar:
                _work(queue, heard, lambda: bar.look() == 0, drain=False)
        lost = [job for job in ledger.jobs(states=("failed",)) if job.id not in before]
        after = ledger.count()
        gained = {
            state: max(0, after[state] - counts[state]) for state in ("completed", "cached", "cancelled")
        }
        figures: dict[str, Any] = {**gained, "failed": len(lost), "left": _pending(ledger)}
    figures["seconds"] = time.monotonic() - started
    _summarise(figures, lost, as_json=as_json)
    if heard.count:
        raise KeyboardInterrupt(
            f"interrupted; {figures['left']} jobs are left and kept: `tdmx queue resume` goes on"
        )
    if lost:
        fix = f"`tdmx queue show {lost[0].id}` says more; `tdmx queue resume --failed` tries again."
        raise JobError("jobs", f"{len(lost)} failed", f"first {lost[0]}", fix)


def _work(queue: JobQueue, heard: Signals, done: Callable[[], bool], *, drain: bool) -> None:
    """Let the queue work until all is done, or this process was asked to end.

    Raises
    ------
    ClusterError
        The cluster on which jobs run is gone.
    JobError
        The queue stopped by itself.
    """
    n_signals, looked, pause = 0, 0.0, 0.5
    while True:
        if heard.count > n_signals:
            n_signals = heard.count
            if not drain or n_signals > 1:
                return
            queue.drain()
            _say(f"was asked to end: begins nothing more, and finishes {queue.busy} jobs")
        if n_signals and not queue.busy:
            return
        if not queue.alive:
            raise JobError(
                "queue", queue.folder, "it stopped working", "The log above says why; start again."
            )
        if not queue.slots:
            rule = "the cluster on which its jobs run is gone"
            raise ClusterError(
                "queue", queue.folder, rule, "Its jobs are kept: start again with --on another."
            )
        if not n_signals and time.monotonic() - looked > pause:
            looked = time.monotonic()
            if done():
                return
            pause = max(0.5, 30 * (time.monotonic() - looked))
        time.sleep(_PAUSE)


def _open(folder: Path | None, options: dict[str, Any]) -> JobQueue:
    from tdmx_dask.api.queue import JobQueue

    if options["no_cache"] and options["cache"] is not None:
        raise InputError("--no-cache", "given", "a cache was given with --cache", "Leave one of the two out.")
    cache = False if options["no_cache"] else options["cache"]
    return JobQueue(options["max_workers"], cache, options["on"], folder=folder)


def _place(queue: JobQueue, options: dict[str, Any]) -> str:
    where = f"on {options['on']}" if options["on"] else "on this machine"
    return f"works on {queue.folder}: {queue.slots} calls at once {where}"


def _pending(ledger: Ledger) -> int:
    counts = ledger.count()
    return counts["waiting"] + counts["queued"] + counts["running"]


def _summarise(figures: dict[str, Any], failed: list[Job], *, as_json: bool) -> None:
    if as_json:
        print_json(figures)
        return
    from tdmx_dask.cli.screen import open_screen
    from tdmx_dask.jobs.display import seconds

    screen = open_screen()
    names = ("completed", "cached", "failed", "cancelled", "left")
    counts = ", ".join(f"{figures[name]:,} {name}" for name in names if figures[name]) or "nothing to do"
    screen.print(f"{counts}; {seconds(figures['seconds'])}")
    for job in failed[:_SHOWN]:
        screen.print(f"job {job.id} {job.kind} ({job.title}): {job.error}", soft_wrap=True)
    if len(failed) > _SHOWN:
        screen.print(f"and {len(failed) - _SHOWN:,} more that failed: `tdmx queue list --state failed`")


@contextmanager
def _logging(*, quiet: bool) -> Iterator[None]:
    """Lines of the queue's log on stderr: each job that ends, and what is wrong with the queue itself."""
    log = logging.getLogger("tdmx_dask.jobs")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    level, spread = log.level, log.propagate
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = spread


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
