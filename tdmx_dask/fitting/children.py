"""Batches of chains in child processes, from the side of whoever asks for them."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tdmx_dask.errors import FitCancelled, FitError
from tdmx_dask.fitting.engine import ChildKilled, Emit
from tdmx_dask.fitting.frame import FrameBuffer, pack
from tdmx_dask.fitting.message import error_from, event_from, result_from, task_message
from tdmx_dask.fitting.nursery import fork_child
from tdmx_dask.fitting.task import Batch, ChainResult, ChainTask
from tdmx_dask.fitting.translation import known_translation, remember_translation
from tdmx_dask.fitting.zygote import STATUS

__all__ = ["ChildKilled", "run_batch"]

_LOOK = 0.05
_PATIENCE = 5.0
_PIECE = 2**20
_TAIL = 4096
_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU)


@dataclass
class _Child:
    link: socket.socket
    console: socket.socket
    status: socket.socket
    pid: int
    buffer: FrameBuffer = field(default_factory=FrameBuffer)
    tail: bytes = b""
    index: int = -1
    task: ChainTask | None = None
    data: str | None = None

    def ask(self, index: int, task: ChainTask, engine: str) -> None:
        """Send a task; data that it has are not sent again."""
        message = task_message(task)
        if self.data is task.data:
            message["data"] = None
        has_it = self.task is not None and self.task.program == task.program
        translation = "" if has_it else known_translation(task.program.digest)  # None asks for it
        self.index, self.task, self.data = index, task, task.data
        with suppress(BrokenPipeError, ConnectionResetError):  # its end is seen when it is read
            self.link.sendall(pack({"engine": engine, "task": message, "translation": translation}))

    def hear(self) -> None:
        """Keep the last of what it prints."""
        with suppress(BlockingIOError):
            self.tail = (self.tail + self.console.recv(_TAIL, socket.MSG_DONTWAIT))[-_TAIL:]

    def close(self, *, wait: bool) -> None:
        """Let it end; it is gone a moment later, or before this returns."""
        with suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)
        self.link.close()
        if wait:
            with suppress(OSError):
                self.status.settimeout(_PATIENCE / 5)
                self.status.recv(STATUS.size)
        self.status.close()  # the zygote kills whom nobody waits for
        self.console.close()


def run_batch(batch: Batch, emit: Emit, cancelled: threading.Event | None = None) -> list[ChainResult]:
    """Run a batch in child processes, `batch.parallel` at a time; block until it is done.

    Safe to call from several threads, and from a process that has any. When the calling process dies, so do the children.

    Parameters
    ----------
    batch : what to run
    emit : called with each event, from this thread
    cancelled : set to end the children, whatever they do

    Returns
    -------
    Results in the order of the tasks.

    Raises
    ------
    FitError
        As `Engine.run` says, or a child ended early: with the program, the seed, the signal and the last lines it printed.
    ChildKilled
        A child was killed from outside.
    FitCancelled
        `cancelled` was set; the children are gone.
    """
    found: dict[int, ChainResult] = {}
    waiting = deque(enumerate(batch.tasks))
    children: list[_Child] = []
    done = False
    with selectors.DefaultSelector() as selector:
        try:
            while len(found) < len(batch.tasks):
                if cancelled is not None and cancelled.is_set():
                    raise FitCancelled("fit", batch.tasks[0].fit, "it was cancelled")
                if waiting and len(children) < max(1, batch.parallel):
                    children.append(_begin(selector))
                    children[-1].ask(*waiting.popleft(), batch.engine)
                    continue
                for key, _ in selector.select(_LOOK):
                    child, what = key.data
                    if what == "console":
                        child.hear()
                        continue
                    for index, result in _heard(child, emit):
                        found[index] = result
                        if waiting:
                            child.ask(*waiting.popleft(), batch.engine)
            done = True
        finally:
            for child in children:
                child.close(wait=not done)
    return [found[index] for index in range(len(batch.tasks))]


def _begin(selector: selectors.BaseSelector) -> _Child:
    child = _Child(*fork_child())
    selector.register(child.link, selectors.EVENT_READ, (child, "link"))
    selector.register(child.console, selectors.EVENT_READ, (child, "console"))
    return child


def _heard(child: _Child, emit: Emit) -> list[tuple[int, ChainResult]]:
    """Read what is there: events are passed on, an error is raised, results are returned."""
    try:
        piece = child.link.recv(_PIECE)
    except ConnectionResetError:
        piece = b""
    if not piece:
        raise _end_of(child)
    results = []
    for message in child.buffer.feed(piece):
        kind: Any = message["kind"]
        if kind == "event":
            emit(event_from(message["event"]))
        elif kind == "translation":
            remember_translation(message["digest"], message["text"])
        elif kind == "error":
            raise error_from(message["error"])
        else:
            results.append((child.index, result_from(message["result"])))
    return results


def _end_of(child: _Child) -> FitError:
    """Why a child ended before its answer."""
    task = child.task
    assert task is not None  # noqa: S101  (a child has a task from its beginning)
    whose = f"the process of chain {task.chain} (seed {task.seed})"
    child.status.settimeout(_PATIENCE)
    status = b""
    with suppress(OSError):
        status = child.status.recv(STATUS.size)
    if len(status) < STATUS.size:
        return ChildKilled(
            "program",
            task.program.name,
            f"{whose} was ended with the process that forks them",
            "Run it again.",
        )
    code = os.waitstatus_to_exitcode(STATUS.unpack(status)[0])
    until = time.monotonic() + 1
    before = None
    while child.tail != before and time.monotonic() < until:
        before = child.tail
        child.hear()
    lines = [line for line in child.tail.decode(errors="replace").splitlines() if line.strip()]
    said = "; it printed last: " + " | ".join(lines[-8:]) if lines else ""
    if -code in _OUTSIDE:
        name = signal.Signals(-code).name
        return ChildKilled(
            "program",
            task.program.name,
            f"{whose} was killed from outside by {name}{said}",
            "Did its memory run out? Give it more (memory_mb), or run fewer chains at a time.",
        )
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return FitError(
        "program",
        task.program.name,
        f"{whose} crashed with {how}{said}",
        "Try the other engine, or report it.",
    )
