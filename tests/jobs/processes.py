"""What the tests of executors ask about processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tdmx_dask.jobs.executor import Call
from tdmx_dask.store.value import encode


def call(function: str, /, *, timeout: float | None = None, label: str = "1-1", **arguments: Any) -> Call:
    """A call of a function of `tests.jobs.functions`, or of another module by its path."""
    path = function if ":" in function else f"tests.jobs.functions:{function}"
    return Call(path, encode(arguments), "test", label, timeout=timeout)


def gone(pids: list[int], seconds: float = 1.0) -> bool:
    """Whether these processes end in time; where nobody reaps orphans, a zombie is gone."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.005)
    return False


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], Any], seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError("it never came so far")


def pids_in(path: Path) -> list[int]:
    """Process ids that `spawn_child` wrote."""
    until(path.exists)
    return [int(word) for word in path.read_text().split()]


def children_of(pid: int | None = None) -> list[psutil.Process]:
    return psutil.Process(pid).children()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
