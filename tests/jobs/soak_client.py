"""A client of the soak: opens the queue, submits what is missing of its share, and works until it is told to stop, or killed."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import json
import logging
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import tdmx_dask as tdmx
from tdmx_dask.errors import InputError
from tests.jobs.soak import MARK
from tests.jobs.soak_plan import KINDS, RETRIES, Planned, share

ONCE = 20
"""Jobs that are submitted at once."""


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--folder", "--log", "--who", "--on"):
        parser.add_argument(name, required=True)
    for name in ("--jobs", "--seed", "--workers"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--pause", type=float, required=True)
    asked = parser.parse_args()
    faulthandler.register(signal.SIGUSR1)
    # so that its semaphores, and those of its children, are told from others of this machine
    multiprocessing.current_process()._config["semprefix"] = f"/{os.environ[MARK]}"  # type: ignore[attr-defined]
    for name in ("distributed", "asyncio", "tornado.application"):  # killed workers are told of at length
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    folder = Path(asked.folder)
    files = _open_files()
    heard = _Heard()
    with contextlib.ExitStack() as stack:
        on = None
        if asked.on == "local":
            on = stack.enter_context(tdmx.cluster("local", n_workers=asked.workers, threads_per_worker=1))
        queue = stack.enter_context(
            tdmx.JobQueue(
                asked.workers,
                folder / "cache",
                on,
                folder=folder / "queue",
                retries=RETRIES,
                retry_delay=0.05,
            )
        )
        Path(folder, f"open-{os.getpid()}").touch()
        for kind in KINDS:
            queue.register(kind, f"tests.jobs.soak_work:{kind}")
        _submit(queue, asked, share(asked.who, asked.jobs, asked.seed, asked.log), heard)
        stop = folder / f"stop-{asked.who}"
        while not stop.exists():
            time.sleep(0.02)
    gc.collect()
    report = {
        "asked": heard.asked,
        "called": heard.called,
        "files": _open_files() - files,
        "threads": _threads(),
    }
    Path(folder, f"report-{asked.who}").write_text(json.dumps(report), encoding="utf-8")


class _Heard:
    """Counts callbacks; they come in a thread of their own."""

    def __init__(self) -> None:
        self.asked = self.called = 0

    def options(self) -> dict[str, Any]:
        self.asked += 1
        return {"callback": self._call, "error_callback": self._call}

    def _call(self, _: object) -> None:
        self.called += 1


def _submit(queue: Any, asked: Any, jobs: list[Planned], heard: _Heard) -> None:
    """Submit what the queue has not got yet: jobs of this client's groups, in the order of the plan."""
    ids = sorted(job.id for job in queue.jobs() if job.group.startswith(asked.who))
    random_ = random.Random()  # noqa: S311
    while len(ids) < len(jobs):
        first = len(ids)
        if "failed" in jobs[first].states and jobs[first].after:
            ids.append(_submit_doomed(queue, asked, jobs[first], ids, heard))
        else:
            some = []
            for job in jobs[first : first + ONCE]:
                if "failed" in job.states and job.after:
                    break
                after = [ids[i] for i in job.after]
                some.append(
                    {"type": job.kind, "spec": job.spec, "after": after, **job.options, **heard.options()}
                )
            ids += queue.submit_batch(some)
        time.sleep(random_.uniform(0, 2 * asked.pause))


def _submit_doomed(queue: Any, asked: Any, job: Planned, ids: list[int], heard: _Heard) -> int:
    """Submit a job that needs one which fails, or has failed already."""
    more = {**job.options, **heard.options()}
    try:
        return int(queue.submit(job.kind, job.spec, after=[ids[i] for i in job.after], **more))
    except InputError:
        return int(queue.submit("wrong", {"log": asked.log, "key": job.key}, **more))


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tdmx")]


if __name__ == "__main__":
    main()
