"""Warm child processes that run calls, from the side of whoever asks: taken, watched, ended with all that they started, replaced."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tdmx_dask.clusters.resources import available_cores
from tdmx_dask.errors import JobCancelled, JobError, JobLost, JobTimeout, TdmxError
from tdmx_dask.jobs.child import pack
from tdmx_dask.jobs.executor import Answer, Call
from tdmx_dask.jobs.failure import error_from
from tdmx_dask.jobs.shortage import memory_is_short
from tdmx_dask.jobs.warm_child import Ended, WarmChild

__all__ = ["MOST_CALLS", "MOST_RESIDENT", "Children", "shared_children"]

MOST_CALLS = 1000
"""Calls after which a child is replaced, so that what leaks in one does no harm."""
MOST_RESIDENT = 512 * 10**6
"""Bytes of memory above which a child that has answered is replaced."""

_PATIENCE = 60.0
_LINES = 6
_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU)


class Children:
    """Children of this process: one a call, kept warm between calls. Safe to use from several threads.

    Parameters
    ----------
    idle : kept at most when they have nothing to do, >= 0
    """

    def __init__(self, idle: int) -> None:
        self._most = idle
        self._begin_anew()
        _pools.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[WarmChild] = []
        self._all: set[WarmChild] = set()
        self._closed = False

    def run_call(
        self, call: Call, flag: threading.Event, begun: Callable[[int], object] | None = None
    ) -> Answer:
        """Run a call in a child; block until it is done.

        Parameters
        ----------
        call : what to run
        flag : set to end the child and all that it started, whatever they do
        begun : called with the process id just before it runs, from this thread

        Raises
        ------
        JobCancelled
            The flag was set, or the children were closed.
        JobLost, JobTimeout, MemoryError, TdmxError, JobError
            As `Executor.run` says.
        """
        child = self._take(call, flag)
        try:
            if begun is not None:
                begun(child.process.pid)
            answer, value = _ask(child, call, flag)
        except Ended:
            raise self._how_it_ended(child, call) from None
        except BaseException:
            self._discard(child)
            raise
        pid, said = child.process.pid, child.said()
        self._put_back(child, answer)
        if "error" in answer:
            error = error_from(answer["error"])
            if said.strip() and not isinstance(error, MemoryError):
                error.add_note(f"It printed last:\n{said.rstrip()}")
            raise error
        return Answer(value, answer["seconds"], f"pid {pid}", said)

    def keep(self, idle: int) -> None:
        """Keep at least so many that have nothing to do."""
        self._most = max(self._most, idle)

    def close(self) -> None:
        """End all children, those that run a call included."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            running = self._all - set(idle)
        for child in running:  # the thread that waits for it does the rest
            child.kill()
        for child in idle:
            self._discard(child)

    def forget(self) -> None:
        """In a forked process: let go of the parent's children; new ones are started when they are wanted."""
        for child in self._all:
            with suppress(OSError):
                child.forget()
        self._begin_anew()

    def _take(self, call: Call, flag: threading.Event) -> WarmChild:
        """An idle child, or a new one."""
        path = tuple(each for each in sys.path if isinstance(each, str))
        while True:
            with self._lock:
                if self._closed:
                    raise _cancelled(call)
                child = self._idle.pop() if self._idle else None
            if child is None:
                return self._start(call, path, flag)
            if child.path == path and child.code() is None and not child.outdated():
                return child
            self._discard(child)

    def _start(self, call: Call, path: tuple[str, ...], flag: threading.Event) -> WarmChild:
        try:
            child = WarmChild(path)
        except OSError as error:
            raise JobLost(
                "job", call.label, f"no process can be started for it ({error})", "Free memory or processes."
            ) from error
        with self._lock:
            self._all.add(child)
            closed = self._closed
        until = time.monotonic() + _PATIENCE
        try:
            if closed:
                raise _cancelled(call)
            child.exchange([], lambda: _look(call, flag, until))
        except Ended:
            raise self._how_it_ended(child, call) from None
        except JobTimeout:
            self._discard(child)
            raise JobLost(
                "job", call.label, f"no process came up for it in {_PATIENCE:g} s", "Run it again."
            ) from None
        except BaseException:
            self._discard(child)
            raise
        child.ready = True
        return child

    def _put_back(self, child: WarmChild, answer: dict[str, Any]) -> None:
        child.calls += 1
        child.tail = b""
        child.sources |= answer["sources"]
        spent = child.calls >= MOST_CALLS or answer["rss"] > MOST_RESIDENT or answer["left"]
        with self._lock:
            keep = not spent and not self._closed and len(self._idle) < self._most
            if keep:
                self._idle.append(child)
        if not keep:
            self._discard(child)

    def _discard(self, child: WarmChild) -> None:
        child.kill()
        child.end()
        with self._lock:
            self._all.discard(child)

    def _how_it_ended(self, child: WarmChild, call: Call) -> MemoryError | TdmxError:
        """Why a child ended before its answer."""
        code = child.end()
        with self._lock:
            self._all.discard(child)
            if self._closed:
                return _cancelled(call)
        return _reason(child, call, code)


def _ask(child: WarmChild, call: Call, flag: threading.Event) -> tuple[dict[str, Any], bytes]:
    until = None if call.timeout is None else time.monotonic() + call.timeout
    request = pack({"function": call.function}, call.arguments)
    return child.exchange(request, lambda: _look(call, flag, until))


def _look(call: Call, flag: threading.Event, until: float | None) -> None:
    if flag.is_set():
        raise _cancelled(call)
    if until is not None and time.monotonic() >= until:
        raise JobTimeout(
            "job", call.label, f"it ran longer than its {call.timeout} s, and was ended", "Give it more time."
        )


def _cancelled(call: Call) -> JobCancelled:
    return JobCancelled("job", call.label, "it was cancelled")


def _reason(child: WarmChild, call: Call, code: int | None) -> MemoryError | TdmxError:
    own = child.said().partition("Fatal Python error:")[0]  # what follows is for the log
    lines = [line for line in own.splitlines() if line.strip()]
    said = "; it printed last: " + " | ".join(lines[-_LINES:]) if lines else ""
    if code is not None and -code in _OUTSIDE:
        how = signal.Signals(-code).name
        if code == -signal.SIGKILL and memory_is_short(child.ran_out):
            return MemoryError(f"job={call.label}: its process was killed by {how} when memory ran out{said}")
        return JobLost(
            "job", call.label, f"its process was killed from outside by {how}{said}", "Run it again."
        )
    if not child.ready:
        return JobLost("job", call.label, f"its process did not start{said}", "Is the package whole there?")
    if code is None:
        how = "closed its connection"
    else:
        how = f"crashed with {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
    error = JobError(
        "function",
        call.function,
        f"its process {how} before it answered{said}",
        "A function returns its result, and ends no process.",
    )
    error.add_note(f"It printed last:\n{child.said().rstrip()}")
    return error


_pools: weakref.WeakSet[Children] = weakref.WeakSet()
_shared: Children | None = None
_shared_lock = threading.Lock()


def shared_children(callers: int = 1) -> Children:
    """The children that all callers of this process share, such as the tasks of a Dask worker; at least one for each is kept warm."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = Children(available_cores())
        _shared.keep(callers)
        return _shared


def _end_all() -> None:
    for pool in list(_pools):
        pool.close()


def _forget_all() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for pool in list(_pools):
        pool.forget()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forget_all)
