"""What a running batch says: events of its chains, thinned, over whatever carries them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple
from typing import Any

from tdmx_dask.fitting.task import ChainEvent

__all__ = ["EVENT_SECONDS", "Speaker"]

EVENT_SECONDS = 0.5
"""Events of one chain and phase are at least this far apart."""

MESSAGE_SECONDS = 0.25
"""What is said within this time of a message goes with the next one: a short fit says all in two or three."""


class Speaker:
    """Sends events on: the first and last of each phase of a chain, those with a summary of its draws, and others now and then.

    Parameters
    ----------
    carry : sends events, each a plain list, from any thread; where it can no more, no fit fails for it
    """

    def __init__(self, carry: Callable[[list[list[Any]]], object]) -> None:
        self._carry = carry
        self._waiting: list[list[Any]] = []
        self._sent = 0.0
        self._said: dict[int, tuple[tuple[int, int, str], float]] = {}
        self._lock = threading.Lock()

    def emit(self, event: ChainEvent) -> None:
        """Send an event unless one of its kind was sent a moment ago."""
        kind = (event.round, event.attempt, event.phase)
        now = time.monotonic()
        with self._lock:
            before, then = self._said.get(event.chain, (None, 0.0))
            known = before == kind and now - then < EVENT_SECONDS and event.iteration < event.total
            if known and not event.summary:
                return
            self._said[event.chain] = (kind, now)
            self._waiting.append(list(astuple(event)))
            if now - self._sent >= MESSAGE_SECONDS:
                self._send()

    def finish(self) -> None:
        """Send what waits."""
        with self._lock:
            if self._waiting:
                self._send()

    def _send(self) -> None:
        waiting, self._waiting, self._sent = self._waiting, [], time.monotonic()
        with suppress(OSError, RuntimeError):
            self._carry(waiting)
