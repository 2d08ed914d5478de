"""A daemon thread that is handed things, and takes all that wait at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Mailbox", "calls"]

T = TypeVar("T")
Call = Callable[[], object]

_log = logging.getLogger("tdmx_dask.fitting")


class Mailbox(Generic[T]):
    """Hands what is posted, in order, to `take` in a thread of its own, which starts with the first post.

    What comes while `take` is busy is handed over together, the next time: many small things cost little more than one.

    Parameters
    ----------
    name : of the thread
    take : called with a list of at least one; what it raises is logged
    hold : asked with the number that wait: seconds, from the first of them on, for which more are waited for
    """

    def __init__(
        self, name: str, take: Callable[[list[T]], object], hold: Callable[[int], float] = lambda _: 0.0
    ) -> None:
        self._name, self._take, self._hold = name, take, hold
        self._waiting: list[T] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._open = True

    def post(self, item: T) -> None:
        """Hand over one thing; from any thread, and at once. After `close` it is dropped."""
        with self._changed:
            if not self._open:
                return
            self._waiting.append(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, seconds: float = 2.0) -> None:
        """Take what waits, then end; wait for that so long at most."""
        with self._changed:
            self._open = False
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._open and not self._waiting:
                    self._changed.wait()
                if not self._waiting:
                    return
                first = time.monotonic()
                while self._open:
                    left = first + self._hold(len(self._waiting)) - time.monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(left)
                items, self._waiting = self._waiting, []
            try:
                self._take(items)
            except Exception:  # the thread serves other fits too
                _log.exception("%s", self._name)


def calls(items: list[Call]) -> None:
    """Call each; what one raises is logged and stops no other."""
    for call in items:
        try:
            call()
        except Exception:
            _log.exception("%s failed", getattr(call, "__name__", call))
