"""``tdmx worker`` as a real process: it shares a queue, ends when it is asked to, and may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tdmx_dask as tdmx
from tests.cli.conftest import TDMX

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [TDMX, "worker", "--folder", str(folder), "--no-cache", *options],
        cwd=folder.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


@pytest.fixture
def asking(tmp_path):
    """A client that submits and watches."""
    with tdmx.JobQueue(0, False, folder=tmp_path / "queue") as queue:
        queue.register("sleep", "tests.jobs.functions:sleep")
        queue.register("count", "tests.jobs.functions:count_runs")
        yield queue


def test_worker__two_share_a_queue(asking, tmp_path):
    (tmp_path / "runs").mkdir()
    jobs = asking.submit_batch(
        {"type": "count", "spec": {"folder": str(tmp_path / "runs"), "seconds": 0.02}} for _ in range(60)
    )
    workers = [start(tmp_path / "queue", "--max-workers", "1", "--until-done") for _ in range(2)]
    said = [worker.communicate(timeout=60)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert set(asking.wait_all(jobs, timeout=10).values()) == {"completed"}
    assert len(list((tmp_path / "runs").iterdir())) == 60, "each job ran once"
    done = [text.count(": completed in") for text in said]
    assert sum(done) == 60
    assert min(done) > 0, "both worked"
    assert "1 calls at once on this machine" in said[0] or "1 call" in said[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_worker__asked_to_end_gives_back(asking, tmp_path, number, code):
    job = asking.submit("sleep", {"seconds": 60})
    worker = start(tmp_path / "queue", "--max-workers", "1")
    until(lambda: asking.log(job))
    started = time.monotonic()
    worker.send_signal(number)
    said = worker.communicate(timeout=20)[1]
    assert worker.returncode == code, said
    assert time.monotonic() - started < 5
    assert asking.status(job) == "queued"
    assert "Traceback" not in said


def test_worker__drains(asking, tmp_path):
    running = asking.submit("sleep", {"seconds": 1.5})
    waiting = asking.submit("sleep", {"seconds": 60})
    worker = start(tmp_path / "queue", "--max-workers", "1", "--drain")
    until(lambda: asking.log(running))
    worker.send_signal(signal.SIGTERM)
    said = worker.communicate(timeout=20)[1]
    assert worker.returncode == 0, said
    assert asking.status(running) == "completed"
    assert asking.status(waiting) == "queued"


def test_worker__killed_one_is_replaced_at_once(asking, tmp_path):
    job = asking.submit("sleep", {"seconds": 1.0})
    first = start(tmp_path / "queue", "--max-workers", "1")
    until(lambda: asking.log(job))
    second = start(tmp_path / "queue", "--max-workers", "1", "--until-done")
    first.kill()
    first.communicate()
    said = second.communicate(timeout=30)[1]
    assert second.returncode == 0, said
    assert asking.result(job, timeout=10) == 1.0
    assert any("is gone" in line.text for line in asking.log(job))
