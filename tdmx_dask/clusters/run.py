"""Send blocks to a cluster and take their counts as they come."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from distributed import Client, Future, as_completed
from distributed.scheduler import KilledWorker

from tdmx_dask.clusters.demand import Announcer
from tdmx_dask.clusters.identity import identity
from tdmx_dask.errors import ClusterError, JobLost

__all__ = ["run_blocks"]

IN_FLIGHT = 4
"""Tasks a thread that are sent ahead, so that no thread waits for the client."""

ATTEMPTS = 3
"""Times that a block is sent again after its data were lost with a worker."""


def run_blocks(
    client: Client,
    function: Callable[..., Any],
    shared: Any,
    blocks: Iterable[tuple[int, Any, Any]],
    take: Callable[[int, Any], None],
    *,
    name: str,
    total: int | None = None,
    seconds: float = 0.0,
    threads: int = 0,
) -> None:
    """Run ``function(shared, block, values)`` for every block; hand each result to ``take(position, result)``.

    Parameters
    ----------
    client : of the cluster
    shared : the plan; small, sent with each task
    blocks : (position, block, values) of each task; arrays among the values are sent ahead, never in a graph
    name : what the dashboard shows, a prefix of words such as ``tdmx-pta``
    total, seconds : how many blocks there are, and of one core that each takes: told to the scheduler, so that workers can be asked for
    threads : that there will be, where workers are still to come

    Raises
    ------
    ClusterError
        A task took its worker down again and again, or the scheduler was lost.
    TdmxError
        What a task raised.
    """
    sender = _Sender(client, function, shared, name)
    announcer = Announcer(client, sender.token, seconds, what=name, total=total or 0)
    limit = _Limit(client, threads)
    sent = done = 0
    todo = iter(blocks)
    # on the client's own loop: left out, it is that of whichever client is current, and two threads would handle one connection
    queue: Any = _Results(loop=client.loop, with_results=True, raise_errors=False)
    flying: dict[Future[Any], tuple[Any, int]] = {}

    def send(item: Any, attempt: int) -> None:
        future = sender.send(item, attempt)
        flying[future] = item, attempt
        queue.add(future)

    def fill() -> None:
        nonlocal sent
        for item in islice(todo, limit.now() - len(flying)):
            send(item, 0)
            sent += 1
        announcer.say(max(0, (total or 0) - sent), done=done)

    try:
        fill()
        for future, result in queue:
            item, attempt = flying.pop(future)
            failed = result.error if isinstance(result, _Failed) else None
            if failed is None and future.status == "finished":
                take(item[0], result)
                done += 1
                fill()
            else:
                _raise_unless_lost(client, future, attempt, failed)
                send(item, attempt + 1)
    finally:
        announcer.end()
        if flying:
            client.cancel(list(flying), force=True)


@dataclass(frozen=True, slots=True)
class _Failed:
    """In place of a result that could not be fetched."""

    error: Exception


class _Results(as_completed):
    """Futures and their results as they come; one whose result cannot be fetched comes, too, where Dask would wait for it for ever."""

    async def _track_future(self, future: Future[Any]) -> None:
        try:
            await super()._track_future(future)
        except Exception as error:
            with self.lock:
                if self.futures.pop(future, None) is not None:
                    self.queue.put_nowait((future, _Failed(error)))


class _Limit:
    """Tasks that may be sent ahead: some for each thread, which come and go; asked for at most once a second."""

    def __init__(self, client: Client, threads: int) -> None:
        self._client, self._least = client, max(1, threads)
        self._asked, self._threads = -1.0, 0

    def now(self) -> int:
        if time.monotonic() - self._asked > 1.0:
            self._asked = time.monotonic()
            with suppress(OSError):  # a scheduler that is lost takes its futures along, and they say so
                self._threads = int(identity(self._client)["total_threads"])
        return IN_FLIGHT * max(self._least, self._threads)


class _Sender:
    """Submits blocks; values that were lost with their worker are sent again with the block."""

    def __init__(self, client: Client, function: Callable[..., Any], shared: Any, name: str) -> None:
        self._client, self._function, self._shared, self._name = client, function, shared, name
        self.token = uuid.uuid4().hex

    def send(self, item: tuple[int, Any, Any], attempt: int) -> Future[Any]:
        position, block, values = item
        if hasattr(values, "dask"):
            values = self._client.compute(values)
        elif isinstance(values, dict):
            values = self._sent_ahead(values)
        key = f"{self._name}-{position}-{attempt}-{self.token}"
        return self._client.submit(self._function, self._shared, block, values, key=key)

    def _sent_ahead(self, values: Any) -> Any:
        """Arrays on a worker; with the task, where there is none yet to take them."""
        with suppress(OSError):  # as above
            if identity(self._client)["n_workers"]:
                (values,) = self._client.scatter([values], hash=False)
        return values


def _raise_unless_lost(client: Client, future: Future[Any], attempt: int, failed: Exception | None) -> None:
    """Raise what a task raised; return where only its data or its process were lost, and it may run again.

    `failed` : what kept its result from being fetched, where that was it
    """
    if client.status != "running":
        raise ClusterError("cluster", client, "the scheduler was lost", "Start it again, and resume.")
    if future.status in ("cancelled", "lost") or isinstance(failed, OSError):
        if attempt < ATTEMPTS:
            return
        raise ClusterError(
            "task", future.key, f"its data were lost {ATTEMPTS} times", "Give the workers more memory."
        ) from failed
    error = failed or future.exception()
    if attempt < ATTEMPTS and error is None:
        return
    if isinstance(error, KilledWorker | JobLost | MemoryError):
        raise ClusterError(
            "task", future.key, "its process died each time it ran, most often for want of memory",
            "Give the workers more memory, or make the tasks smaller with chunk_size.",
        ) from error  # fmt: skip
    assert error is not None  # noqa: S101  it is neither finished nor lost
    raise error
