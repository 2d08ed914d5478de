"""A child process: it runs tasks for whoever holds the other end of its socket, and never outlives them."""

from __future__ import annotations

import faulthandler
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn

from tdmx_dask.errors import FitError, TdmxError
from tdmx_dask.fitting.engine import Emit, Engine, InitialisationFailed
from tdmx_dask.fitting.frame import FrameBuffer, pack
from tdmx_dask.fitting.message import error_message, event_message, result_message, task_from
from tdmx_dask.fitting.task import ChainEvent, ChainResult, ChainTask
from tdmx_dask.fitting.translation import known_translation, remember_translation

__all__ = ["GRANDCHILDREN", "MAX_INITS", "end", "engine_named", "peak_mb", "run_task", "serve"]

MAX_INITS = 5
"""Attempts to start a chain; each has a hundred random positions of its own."""

GRANDCHILDREN: set[int] = set()
"""Process groups other than the child's own that an engine started; they are killed with the child."""

_PIECE = 2**20
_LOOK = 0.25


def engine_named(name: str) -> Engine:
    """The engine of that name.

    Raises
    ------
    FitError
        There is no such engine, or it is not installed.
    """
    try:
        if name == "stanli":
            from tdmx_dask.fitting.stanli_engine import StanliEngine

            return StanliEngine()
        if name == "cmdstan":
            from tdmx_dask.fitting.cmdstan_engine import CmdStanEngine

            return CmdStanEngine()
    except ImportError as error:
        raise FitError(
            "engine", name, f"it cannot be loaded ({error})", "Install it where the fit is to run."
        ) from error
    raise FitError("engine", name, "it is stanli or cmdstan", "Give one of the two.")


def peak_mb() -> float:
    """Largest resident memory of this process so far, MB (10^6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def run_task(engine: Engine, task: ChainTask, emit: Emit) -> ChainResult:
    """Run one task; where a chain cannot be started, try again from another position.

    A next attempt starts at random, in a stream of its own; a later round goes on from where its chain stands and is not tried again.

    Raises
    ------
    FitError
        As `Engine.run` says; InitialisationFailed after `MAX_INITS` attempts.
    """
    began, log = time.perf_counter(), []
    for left in reversed(range(MAX_INITS)):
        try:
            (result,) = engine.run([task], emit)
        except InitialisationFailed as error:
            if task.round or not left:
                raise
            log.append(
                f"chain {task.chain}, attempt {task.attempt}: {error.rule}; tried again from another position"
            )
            task = replace(task, attempt=task.attempt + 1, start=replace(task.start, position={}))
            emit(_event(task, "retrying", time.perf_counter() - began, error.rule))
        else:
            return replace(result, log=(*log, *result.log), peak_mb=max(result.peak_mb, peak_mb()))
    raise AssertionError("unreachable")


def serve(link: socket.socket) -> NoReturn:
    """Answer requests until the other end closes, then end this process."""
    faulthandler.enable()
    parent = os.getppid()
    threading.Thread(target=_watch, args=(link, parent), daemon=True).start()
    lock = threading.Lock()

    def say(message: dict[str, Any]) -> None:
        frame = pack(message)
        with lock:
            link.sendall(frame)

    def emit(event: ChainEvent) -> None:
        say({"kind": "event", "event": event_message(event)})

    engines: dict[str, Engine] = {}
    data = ""
    try:
        for request in _requests(link):
            message = request["task"]
            data = message["data"] = data if message["data"] is None else message["data"]
            task = task_from(message)
            if request["translation"]:
                remember_translation(task.program.digest, request["translation"])
            try:
                name = request["engine"]
                engine = engines[name] = engines.get(name) or engine_named(name)
                result = result_message(run_task(engine, task, emit))
                if request["translation"] is None and (text := known_translation(task.program.digest)):
                    say({"kind": "translation", "digest": task.program.digest, "text": text})
                say({"kind": "result", "result": result})
            except Exception as error:
                _tell(task, error, emit, say)
    except OSError:
        pass  # whoever asked is gone
    end()


def _requests(link: socket.socket) -> Iterator[dict[str, Any]]:
    buffer = FrameBuffer()
    while piece := link.recv(_PIECE):
        yield from buffer.feed(piece)


def _tell(task: ChainTask, error: Exception, emit: Emit, say: Any) -> None:
    if isinstance(error, OSError) and not isinstance(error, TdmxError) and error.errno in (32, 104):
        raise error
    if not isinstance(error, TdmxError):
        last = traceback.format_exception(error)[-3:]
        rule = f"chain {task.chain} (seed {task.seed}) failed: {' '.join(''.join(last).split())}"
        error = FitError("program", task.program.name, rule, "Please report it with the program and data.")
    emit(_event(task, "failed", 0.0, str(error)))
    say({"kind": "error", "error": error_message(error)})


def _event(task: ChainTask, phase: Any, seconds: float, text: str) -> ChainEvent:
    total = task.sampling.warmup + task.sampling.draws
    return ChainEvent(
        task.fit, task.chain, task.round, task.attempt, phase, 0, total, seconds=seconds, text=text
    )


def _watch(link: socket.socket, parent: int) -> None:
    """End this process when the other end of its socket closes, or its parent is gone."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    while os.getppid() == parent:
        if not poll.poll(_LOOK * 1000):
            continue
        try:
            if not link.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                break
        except BlockingIOError:
            continue
        except OSError:
            break
        time.sleep(0.02)  # a request waits to be read
    end()


def end() -> NoReturn:
    """End this process and what it started, at once."""
    for group in tuple(GRANDCHILDREN):
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    with suppress(OSError):
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
    os._exit(0)
