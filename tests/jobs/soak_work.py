"""What the jobs of the soak do: each leaves a line in a log when it begins, and another when it ends."""

from __future__ import annotations

import os
import subprocess
import time

import numpy as np
from numpy.typing import NDArray


def _say(log: str, key: int, what: str) -> None:
    """Append a line at once whole."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{key} {what} {os.getpid()}\n".encode())
    finally:
        os.close(descriptor)


def quick(log: str, key: int, seconds: float) -> int:
    _say(log, key, "begins")
    time.sleep(seconds)
    _say(log, key, "ends")
    return key * key + 1


def large(log: str, key: int, n: int) -> NDArray[np.int64]:
    """More than fits into the database."""
    _say(log, key, "begins")
    found = np.arange(n, dtype=np.int64) * key
    _say(log, key, "ends")
    return found


def allocate(log: str, key: int, mb: int) -> int:
    _say(log, key, "begins")
    found = int(np.ones(mb * 10**6 // 8).sum())
    _say(log, key, "ends")
    return found


def wrong(log: str, key: int) -> None:
    _say(log, key, "begins")
    raise ValueError(f"{key} is wrong")


def endless(log: str, key: int, child: bool) -> None:
    """Run until it is ended from outside, with a process of its own or without."""
    _say(log, key, "begins")
    if child:
        subprocess.run(["sleep", "600"], check=True)
    time.sleep(600)
    _say(log, key, "ends")


def square(item: int, log: str, key: int) -> int:
    """An item of a batch; every 13th is wrong."""
    _say(log, key, "begins")
    if item % 13 == 12:
        raise ValueError(f"{item} is wrong")
    time.sleep(0.002 * (item % 5))
    _say(log, key, "ends")
    return item * item
