"""Warm child processes that run calls, from the side of whoever asks: taken, watched, ended with all that they started, replaced."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from tdmx_dask.clusters.resources import available_cores
from tdmx_dask.errors import JobCancelled, JobError, JobLost, JobTimeout, TdmxError
from tdmx_dask.jobs.child import PREFIX, pack
from tdmx_dask.jobs.executor import Answer, Call
from tdmx_dask.jobs.failure import error_from
from tdmx_dask.jobs.shortage import memory_is_short, times_memory_ran_out

__all__ = ["MOST_CALLS", "MOST_RESIDENT", "Children", "shared_children"]

MOST_CALLS = 1000
"""Calls after which a child is replaced, so that what leaks in one does no harm."""
MOST_RESIDENT = 512 * 10**6
"""Bytes of memory above which a child that has answered is replaced."""

_LOOK = 0.05
_PATIENCE = 60.0
_CLOSING = 1.0
_PIECE = 2**20
_TAIL = 4096
_LINES = 6
_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU)
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)
_MAIN = """
import json, sys
sys.path[:] = json.loads(sys.argv[3])
from tdmx_dask.jobs.child import main
main(int(sys.argv[1]), int(sys.argv[2]))
"""


class _Ended(Exception):  # noqa: N818  (it never leaves this file)
    """A child closed its end before it answered."""


class _Child:
    """One child process: its link, its console, and the pipe by whose closing the kernel kills it."""

    def __init__(self, path: tuple[str, ...]) -> None:
        self.path, self.calls, self.resident, self.left = path, 0, 0, False
        self.tail, self.ready = b"", False
        self.ran_out = times_memory_ran_out()
        self.killed = False
        self._lock = threading.Lock()
        self.link, theirs = socket.socketpair()
        life, self.life = os.pipe()
        try:
            arguments = [str(theirs.fileno()), str(life), json.dumps(path)]
            self.process = subprocess.Popen(  # noqa: S603  (this interpreter, no shell)
                [sys.executable, "-I", "-c", _MAIN, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno(), life],
                start_new_session=True,
                env={**os.environ, **_ONE_THREAD},
            )
        except BaseException:
            self.link.close()
            os.close(self.life)
            raise
        finally:
            theirs.close()
            os.close(life)
        assert self.process.stdout is not None  # noqa: S101  (a pipe was asked for)
        self.console: IO[bytes] = self.process.stdout
        os.set_blocking(self.console.fileno(), False)
        self.link.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self.console, select.POLLIN)

    def exchange(self, request: list[bytes], look: Callable[[], None]) -> tuple[dict[str, Any], bytes]:
        """Send a frame, if there is one, and wait for the next; `look` is called many times a second and may raise.

        Raises
        ------
        _Ended
            It closed its end.
        """
        waiting = [memoryview(piece) for piece in request]
        held, wanted, header = bytearray(), PREFIX.size, 0
        try:
            while True:
                while waiting:
                    try:
                        sent = self.link.send(waiting[0])
                    except BlockingIOError:
                        break
                    waiting = [waiting[0][sent:], *waiting[1:]] if sent < len(waiting[0]) else waiting[1:]
                self._poll.register(self.link, select.POLLIN | (select.POLLOUT if waiting else 0))
                for fd, _ in self._poll.poll(_LOOK * 1000):
                    if fd != self.link.fileno():
                        self.hear()
                        continue
                    with suppress(BlockingIOError):
                        piece = self.link.recv(min(_PIECE, max(wanted - len(held), 4096)))
                        if not piece:
                            raise _Ended
                        held += piece
                if not header and len(held) >= PREFIX.size:
                    header, body = PREFIX.unpack_from(held)
                    wanted = PREFIX.size + header + body
                if header and len(held) >= wanted:
                    self.hear()
                    start = PREFIX.size + header
                    return json.loads(held[PREFIX.size : start]), bytes(memoryview(held)[start:])
                look()
        except ConnectionError:
            raise _Ended from None

    def hear(self) -> None:
        """Keep the last of what it printed; no more than a moment's worth is read, however much it prints."""
        for _ in range(16):
            try:
                piece = os.read(self.console.fileno(), 2**16)
            except BlockingIOError:
                return
            if not piece:
                with suppress(KeyError):
                    self._poll.unregister(self.console)  # it closed its console; its link says when it ends
                return
            self.tail = (self.tail + piece)[-_TAIL:]

    def said(self) -> str:
        """The last of what it printed."""
        return self.tail.decode(errors="replace").removeprefix("\ufffd")

    def kill(self) -> None:
        """Kill it and all that it started; safe from any thread."""
        with self._lock:
            if self.process.returncode is None:
                self.killed = True
                with suppress(OSError):
                    os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> int | None:
        """Kill what is left of it, and forget it; how it had ended by itself, if it had."""
        until = time.monotonic() + (0.0 if self.killed else _CLOSING)
        while (code := self.code()) is None and time.monotonic() < until:
            time.sleep(0.001)
        self.kill()
        self.hear()
        with self._lock, suppress(subprocess.TimeoutExpired):
            self.process.wait(_PATIENCE)
        self.close()
        return code

    def code(self) -> int | None:
        """Its exit status, or minus the signal that ended it; None while it lives. Its number stays its own until it is waited for."""
        try:
            found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # somebody else in this process waited for it
            return self.process.poll()
        if found is None or not found.si_pid:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def close(self) -> None:
        """Close this side's ends."""
        self.link.close()
        os.close(self.life)
        self.console.close()

    def forget(self) -> None:
        """In a forked process: let go of it without ending it."""
        self.close()
        self.process.returncode = 0  # it is no child of this process, so there is nothing to wait for


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
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
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
        except _Ended:
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

    def _take(self, call: Call, flag: threading.Event) -> _Child:
        """An idle child, or a new one."""
        path = tuple(each for each in sys.path if isinstance(each, str))
        while True:
            with self._lock:
                if self._closed:
                    raise _cancelled(call)
                child = self._idle.pop() if self._idle else None
            if child is None:
                return self._start(call, path, flag)
            if child.path == path and child.code() is None:
                return child
            self._discard(child)

    def _start(self, call: Call, path: tuple[str, ...], flag: threading.Event) -> _Child:
        try:
            child = _Child(path)
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
        except _Ended:
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

    def _put_back(self, child: _Child, answer: dict[str, Any]) -> None:
        child.calls += 1
        child.tail = b""
        spent = child.calls >= MOST_CALLS or answer["rss"] > MOST_RESIDENT or answer["left"]
        with self._lock:
            keep = not spent and not self._closed and len(self._idle) < self._most
            if keep:
                self._idle.append(child)
        if not keep:
            self._discard(child)

    def _discard(self, child: _Child) -> None:
        child.kill()
        child.end()
        with self._lock:
            self._all.discard(child)

    def _how_it_ended(self, child: _Child, call: Call) -> MemoryError | TdmxError:
        """Why a child ended before its answer."""
        code = child.end()
        with self._lock:
            self._all.discard(child)
            if self._closed:
                return _cancelled(call)
        return _reason(child, call, code)


def _ask(child: _Child, call: Call, flag: threading.Event) -> tuple[dict[str, Any], bytes]:
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


def _reason(child: _Child, call: Call, code: int | None) -> MemoryError | TdmxError:
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


def shared_children() -> Children:
    """The children that all callers of this process share, such as the tasks of a Dask worker."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = Children(available_cores())
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
