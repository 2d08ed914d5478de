"""Those who wait for jobs of this queue: threads in `result` and `as_completed`, and callbacks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from tdmx_dask.errors import JobTimeout, StoreError
from tdmx_dask.fitting.mailbox import Mailbox
from tdmx_dask.jobs.ledger import Ledger
from tdmx_dask.jobs.state import State

__all__ = ["Watch"]

_log = logging.getLogger("tdmx_dask.jobs")

_LOOK_SECONDS = 0.5


class Watch:
    """Knows which jobs are waited for, and tells when they end.

    Parameters
    ----------
    ledger : looked at when something has happened
    check : called now and then while a thread waits; raises where waiting is in vain
    """

    def __init__(self, ledger: Ledger, check: Callable[[], None]) -> None:
        self._ledger, self._check = ledger, check
        self._changed = threading.Condition()
        self._wanted: dict[int, int] = {}
        self._ended: dict[int, State] = {}
        self._callbacks: dict[int, list[Callable[[int], object]]] = {}
        self._calls: Mailbox[tuple[int, Callable[[int], object]]] = Mailbox("tdmx-callbacks", _call)
        self._next = 0.0

    def when_ended(self, job: int, call: Callable[[int], object]) -> None:
        """Call ``call(job)`` once a job has ended, in the thread of callbacks; what it raises is logged."""
        with self._changed:
            self._callbacks.setdefault(job, []).append(call)
        self._hear(self._ledger.ended_among([job]))

    def told(self, ended: list[int], others: bool) -> None:
        """Something happened: these ended, or other processes have written. From the dispatcher, at each of its visits."""
        with self._changed:
            watched = [*self._wanted, *self._callbacks]
        if not watched:
            return
        mine = set(ended) & set(watched)
        now = time.monotonic()
        if (
            others or now >= self._next
        ):  # jobs also end by others' ends: look at all, but spend a tenth of the time on it
            found = self._ledger.ended_among(watched)
            self._next = time.monotonic() + max(0.05, 10 * (time.monotonic() - now))
        elif mine:
            found = self._ledger.ended_among(mine)
        else:
            return
        self._hear(found)

    def _hear(self, found: dict[int, State]) -> None:
        with self._changed:
            for job, state in found.items():
                if job in self._wanted:
                    self._ended[job] = state
                for call in self._callbacks.pop(job, ()):
                    self._calls.post((job, call))
            if found:
                self._changed.notify_all()

    def as_ended(self, jobs: Iterable[int], timeout: float | None) -> Iterator[tuple[int, State]]:
        """Each of some jobs with its state, as they end.

        Raises
        ------
        JobTimeout
            Not all have ended in time.
        """
        left = dict.fromkeys(jobs)
        until = None if timeout is None else time.monotonic() + timeout
        self._want(left)
        try:
            self._hear(self._ledger.ended_among(left))
            while left:
                found = self._wait(left, until, timeout or 0.0)
                for job in found:
                    left.pop(job)
                yield from found.items()
        finally:
            self._forget(dict.fromkeys(left))

    def _wait(self, left: dict[int, None], until: float | None, seconds: float) -> dict[int, State]:
        """Wait until some of the jobs have ended; they are not wanted any more."""
        checked = time.monotonic()
        while True:
            with self._changed:
                found = {job: self._ended[job] for job in left if job in self._ended}
                if found:
                    self._forget(dict.fromkeys(found))
                    return found
                pause = _LOOK_SECONDS if until is None else min(_LOOK_SECONDS, until - time.monotonic())
                if pause <= 0:
                    rule = f"{len(left)} of the jobs have not ended in the time that was given"
                    raise JobTimeout("timeout", f"{seconds:g} s", rule, "They go on; ask again.")
                self._changed.wait(pause)
            if time.monotonic() - checked > _LOOK_SECONDS:
                checked = time.monotonic()
                self._check()

    def _want(self, jobs: dict[int, None]) -> None:
        with self._changed:
            for job in jobs:
                self._wanted[job] = self._wanted.get(job, 0) + 1

    def _forget(self, jobs: dict[int, None]) -> None:
        with self._changed:
            for job in jobs:
                self._wanted[job] -= 1
                if not self._wanted[job]:
                    del self._wanted[job]
                    self._ended.pop(job, None)

    def close(self) -> None:
        """Run the callbacks that wait, and end their thread."""
        try:
            self.told([], True)
        except StoreError:
            return
        finally:
            self._calls.close()


def _call(posted: list[tuple[int, Callable[[int], object]]]) -> None:
    for job, call in posted:
        try:
            call(job)
        except Exception:  # the user's own; the queue goes on
            _log.exception("A callback of job %d failed", job)
