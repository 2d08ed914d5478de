"""What is told to a scheduler: in order, the latest, and by nobody who must go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

import tdmx_dask as tdmx
from tdmx_dask.clusters.messenger import Messenger

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def scheduler() -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """A scheduler in a process of its own, and a client of it."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = (re.search(r"Scheduler at: +(\S+)", line) for line in process.stderr)
        client = Client(next(each[1] for each in found if each), timeout=10)
        try:
            yield process, client
        finally:
            process.send_signal(signal.SIGCONT)
            client.close()
            process.terminate()


def said(client: Client) -> list[Any]:
    return [message["n"] for _, message in client.get_events("tdmx-test")]


def test_messenger__a_scheduler_that_does_not_answer_holds_up_nobody(
    scheduler: tuple[subprocess.Popen[str], Client], tmp_path: Path
) -> None:
    process, client = scheduler
    messenger = Messenger(client, "tdmx-test")
    messenger.send({"n": 0}, wait=10)
    assert said(client) == [0]
    queue = tdmx.JobQueue(folder=tmp_path / "queue", on=client)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    began = time.monotonic()
    for n in range(1, 100):
        messenger.send({"n": n})
    messenger.send({"n": 100}, wait=0.2)
    assert time.monotonic() - began < 1.0
    queue.close()
    assert time.monotonic() - began < 5.0
    process.send_signal(signal.SIGCONT)
    end = time.monotonic() + 10
    while said(client)[-1] != 100:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert said(client) in ([0, 1, 100], [0, 100])  # what came between is out of date
    os.kill(process.pid, signal.SIGKILL)
    messenger.send({"n": 101}, wait=0.2)


def test_messenger__a_client_that_closes_sends_nothing() -> None:
    class Closing:
        status = "closing"

    Messenger(Closing(), "tdmx-test").send({"n": 1}, wait=10)
