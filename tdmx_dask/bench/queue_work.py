"""What the jobs of the benchmark of the queue do."""

from __future__ import annotations

import time

__all__ = ["nap", "nothing"]


def nothing(x: int) -> int:
    """Return at once."""
    return x


def nap(seconds: float, number: int) -> int:
    """Wait, without using a processor; `number` tells equal jobs apart."""
    time.sleep(seconds)
    return number
