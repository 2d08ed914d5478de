"""Calls as tasks of a Dask cluster: each runs in a warm child of a worker, and again elsewhere where a worker is lost.

A call is one task; its key is new each time, so that nothing of an earlier attempt is taken for it. A failed call is an answer, too: the
task itself succeeds, and no exception is pickled or kept by the cluster.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError as FuturesCancelledError
from concurrent.futures import Future as ThreadFuture
from contextlib import suppress
from dataclasses import replace
from typing import Any

from distributed import Client, get_worker
from distributed.scheduler import KilledWorker

from tdmx_dask.clusters.cancellation import JOB_PREFIX, cancellation_flag, install_cancellation
from tdmx_dask.clusters.capacity import Capacity, CapacityWatch
from tdmx_dask.clusters.progress import JOBS
from tdmx_dask.clusters.rebalance import install_rebalance
from tdmx_dask.errors import ClusterError, InputError, JobCancelled, JobLost, TdmxError
from tdmx_dask.jobs.children import shared_children
from tdmx_dask.jobs.executor import Answer, Call
from tdmx_dask.jobs.failure import error_from, error_message

__all__ = ["DaskExecutor"]

_FRESH = 1.0
_LOOK = 1.0
_GRACE = 2
_RELEASE = 0.05
_SEND = 0.001


class DaskExecutor:
    """An `Executor` over a Dask cluster that somebody else closes.

    Parameters
    ----------
    client : synchronous, of this process
    max_workers : calls at a time at most, >= 1; None: as many as the workers have threads

    Raises
    ------
    InputError
        `max_workers` is no whole number >= 1.
    ClusterError
        The client is asynchronous, or its scheduler does not answer.
    """

    def __init__(self, client: Client, *, max_workers: int | None = None) -> None:
        if max_workers is not None and (
            isinstance(max_workers, bool) or not isinstance(max_workers, int) or max_workers < 1
        ):
            raise InputError(
                "max_workers", max_workers, "a whole number >= 1 is needed", "Leave it out for all threads."
            )
        if client.asynchronous:
            raise ClusterError(
                "on", client, "a client that waits is needed", "Make it with asynchronous=False."
            )
        self._client = client
        self._loop: Any = client.loop
        self._most = max_workers
        self._token = uuid.uuid4().hex[:12]
        self._topic = (
            f"{JOBS}:{self._token}"  # of its calls' events: job, name, phase (started, ended), pid, worker
        )
        self._numbers = itertools.count()
        self._began: dict[str, Callable[[str], None]] = {}
        self._futures: dict[str, Any] = {}
        self._done: list[Any] = []
        self._watch = CapacityWatch(client)
        self._looked = time.monotonic()
        self._looking = threading.Lock()
        self._closed = False
        try:
            install_cancellation(client)
            install_rebalance(client)
            self._capacity = self._watch.now()
        except (OSError, TimeoutError, RuntimeError) as error:
            raise ClusterError(
                "on", client, f"the scheduler does not answer ({error})", "Start it again."
            ) from error
        client.subscribe_topic(self._topic, self._heard)

    @property
    def slots(self) -> int:
        """Calls that can run at once: threads of all workers, as they were a moment ago, or of all that can be asked for."""
        threads = self._latest().all_threads
        return max(1, threads if self._most is None else min(threads, self._most))

    @property
    def ahead(self) -> int:
        """Short calls that may wait on the cluster besides: one a thread, where all threads are used."""
        threads = sum(self._latest().threads)
        return threads if self._most is None or self._most >= threads else 0

    @property
    def on(self) -> Client:
        """The client."""
        return self._client

    async def run(self, call: Call, started: Callable[[str], None]) -> Answer:
        """Run one call; see `Executor.run`."""
        capacity = self._latest()
        _refuse_too_large(call, capacity)
        if self._closed:
            raise JobCancelled("job", call.label, "its executor was closed")
        if self._client.status != "running":
            raise _scheduler_lost(call)
        loop = asyncio.get_running_loop()
        key = f"{JOB_PREFIX}-{_words(call.name)}{call.label}-{next(self._numbers)}-{self._token}"
        self._began[key] = lambda where: _on_loop(loop, started, where)
        theirs: asyncio.AbstractEventLoop = self._loop.asyncio_loop
        outcome = asyncio.run_coroutine_threadsafe(self._follow(key, call, capacity), theirs)
        try:
            found = await self._wait(call, outcome)
        finally:
            self._began.pop(key, None)
            if not outcome.done() and not theirs.is_closed():
                outcome.cancel()
        if isinstance(found, BaseException):
            raise found
        return found

    async def close(self) -> None:
        """End what runs; the cluster stays."""
        self._closed = True
        if self._client.status == "running":
            _on_loop(self._loop.asyncio_loop, self._cancel, list(self._futures.values()))
            await asyncio.to_thread(self._client.unsubscribe_topic, self._topic)

    async def _wait(
        self, call: Call, outcome: ThreadFuture[Answer | BaseException]
    ) -> Answer | BaseException:
        """Wait for what the client's loop finds out; notice where that loop is gone, or no worker can hold the call any more."""
        waiting = asyncio.wrap_future(outcome)
        lost = 0
        while not (await asyncio.wait([waiting], timeout=_LOOK))[0]:
            lost = 0 if self._client.status == "running" else lost + 1
            if lost > _GRACE:
                return _scheduler_lost(call)
            _refuse_too_large(call, self._latest())
        return _scheduler_lost(call) if waiting.cancelled() else waiting.result()  # cancelled with its loop

    def _latest(self) -> Capacity:
        """Capacity as it was known last; where that is old, somebody else asks for it meanwhile."""
        if (
            time.monotonic() - self._looked >= _FRESH
            and self._client.status == "running"
            and self._looking.acquire(blocking=False)
        ):
            self._looked = time.monotonic()
            threading.Thread(target=self._look, name="tdmx-capacity", daemon=True).start()
        return self._capacity

    def _look(self) -> None:
        try:
            with suppress(Exception):  # the scheduler is gone: whoever waits is told by the client
                self._capacity = self._watch.now()
        finally:
            self._looking.release()

    # on the client's loop

    async def _follow(self, key: str, call: Call, capacity: Capacity) -> Answer | BaseException:
        """Submit a call and wait for its answer."""
        self._hasten()
        asked = {"MEM": call.memory_mb} if call.memory_mb and capacity.declared else None
        try:
            self._futures[key] = future = self._client.submit(
                _on_worker,
                call,
                self._topic,
                key,
                key=key,
                resources=asked,
                priority=call.priority,
                pure=False,
            )
            gathering = asyncio.ensure_future(self._client.gather(future, asynchronous=True))
            gathering.add_done_callback(_retrieve)
            found = await asyncio.shield(
                gathering
            )  # it ends by the cancellation of its future; itself cancelled, it complains later
        except asyncio.CancelledError:
            if self._client.status == "running":
                self._cancel([self._futures[key]])
            raise
        except Exception as error:
            return self._cause(call, error)
        finally:
            self._release(self._futures.pop(key, None))
        return found if isinstance(found, Answer) else error_from(found)

    def _hasten(self) -> None:
        """Have the client send its messages after 1 ms instead of 10: with few calls in flight, nearly half of a call's time."""
        stream: Any = self._client.scheduler_comm
        if getattr(stream, "interval", 0) > _SEND:
            stream.interval = _SEND

    def _release(self, future: Any) -> None:
        """Let the cluster forget a task, together with others: a message of its own would hold up the next call's by 10 ms."""
        if not self._done:
            with suppress(RuntimeError):  # the client is closing
                self._loop.call_later(_RELEASE, self._done.clear)
        self._done.append(future)

    def _cancel(self, futures: list[Any]) -> None:
        self._loop.add_callback(self._client.cancel, futures, force=True, asynchronous=True)

    def _cause(self, call: Call, error: Exception) -> BaseException:
        """Why there is no answer."""
        if self._closed:
            return JobCancelled("job", call.label, "it was cancelled")
        if isinstance(error, KilledWorker):
            return JobLost(
                "job",
                call.label,
                f"the worker died each time it was there ({error.allowed_failures + 1} times), most often for want of memory",
                "Ask for more with memory_mb, or give the workers more.",
            )
        if isinstance(error, FuturesCancelledError | OSError):
            return _scheduler_lost(call)
        return ClusterError(
            "workers",
            getattr(self._client.scheduler, "address", "gone"),
            f"they cannot run the call ({type(error).__name__}: {' '.join(str(error).split())[:200]})",
            "Is the same version of this package there?",
        )

    def _heard(self, event: tuple[float, Mapping[str, Any]]) -> None:
        message = event[1]
        began = self._began.get(message["key"])
        if began is not None and message["phase"] == "started":
            began(message["worker"])


def _retrieve(done: asyncio.Future[Any]) -> None:
    if not done.cancelled():
        done.exception()


def _on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: Any) -> None:
    with suppress(RuntimeError):  # it is closed: nobody waits there any more
        loop.call_soon_threadsafe(function, *arguments)


def _words(name: str) -> str:
    """A name as the first words of a key, by which the dashboard groups: letters and hyphens."""
    words = re.sub(r"[^A-Za-z]+", "-", name).strip("-")[:60]
    return f"{words}-" if words else ""


def _refuse_too_large(call: Call, capacity: Capacity) -> None:
    """Raise a ClusterError that names both figures, where no worker can ever hold the call."""
    if call.memory_mb and capacity.declared and call.memory_mb > capacity.ceiling_mb:
        raise ClusterError(
            "memory_mb",
            f"{call.memory_mb:.0f}",
            f"job {call.label} asks for {call.memory_mb:.0f} MB, and the largest worker declares {capacity.ceiling_mb:.0f} MB",
            "Start fewer workers with more memory each, or ask for less.",
        )


def _scheduler_lost(call: Call) -> ClusterError:
    return ClusterError(
        "job",
        call.label,
        "the scheduler was lost, or dropped its tasks",
        "Start the cluster again, and resume.",
    )


# on a worker


def _on_worker(call: Call, topic: str, key: str) -> Answer | dict[str, Any]:
    """Run a call in a child of this worker; what went wrong is an answer, too."""
    worker = get_worker()
    head = {"key": key, "job": call.label, "name": call.name, "worker": worker.address}

    def begun(pid: int) -> None:
        worker.log_event(topic, {**head, "phase": "started", "pid": pid})

    try:
        answer = shared_children().run_call(call, cancellation_flag(worker, key), begun)
        return replace(answer, worker=worker.address)
    except JobCancelled:  # whoever cancelled it does not read this
        return error_message(JobLost("job", call.label, "its worker was closed", "Run it again."))
    except (TdmxError, MemoryError) as error:
        return error_message(error)
    finally:
        with suppress(OSError, RuntimeError):  # the worker is closing
            worker.log_event(topic, {**head, "phase": "ended"})
