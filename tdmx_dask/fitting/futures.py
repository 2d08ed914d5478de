"""Batches of chains as tasks of a Dask cluster: placed by memory, run again where a worker is lost, cancelled with their processes.

A batch is one task with the abstract resource `MEM`. Its key is new at each try, so that nothing of an earlier try is taken for it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError as FuturesCancelledError
from contextlib import suppress
from functools import partial
from typing import Any

from distributed import Client, get_worker
from distributed.scheduler import KilledWorker

from tdmx_dask.clusters.cancellation import PREFIX, cancellation_flag, install_cancellation
from tdmx_dask.clusters.capacity import Capacity, CapacityWatch
from tdmx_dask.clusters.rebalance import install_rebalance
from tdmx_dask.errors import ClusterError, FitCancelled, FitError, TdmxWarning
from tdmx_dask.fitting.engine import Emit
from tdmx_dask.fitting.memory import LEAST_MB
from tdmx_dask.fitting.runner import Done
from tdmx_dask.fitting.shipping import (
    MissingExecutable,
    content_of,
    digests_of,
    receive,
    with_executables_here,
)
from tdmx_dask.fitting.speaker import Speaker
from tdmx_dask.fitting.task import Batch, ChainEvent, ChainResult
from tdmx_dask.fitting.ticket import (
    Ticket,
    cancelled,
    place_in_queue,
    refuse_too_large,
    resources,
    scheduler_lost,
    slug,
    workers_died,
)

__all__ = ["ClusterRunner", "RunBatch"]

_log = logging.getLogger(__name__)

RunBatch = Callable[[Batch, Emit, threading.Event], list[ChainResult]]

MORE_MEMORY = 1.5
"""A batch whose child was killed from outside asks for this much more memory."""

FREE_TRIES = 10
"""Times that a batch is sent again for no fault of its own: its worker was closed, or lacked the executable."""

UNLUCKY = 3
"""Times that Dask may give a batch up that was not seen to run: each time several workers died under which it waited."""

_WATCH_SECONDS = 1.0


class ClusterRunner:
    """A `Runner` over a Dask cluster that somebody else closes.

    Parameters
    ----------
    client : synchronous, of this process
    run : runs one batch on a worker; given in tests

    Raises
    ------
    ClusterError
        The client is asynchronous, or its scheduler does not answer.
    """

    def __init__(self, client: Client, *, run: RunBatch | None = None) -> None:
        if client.asynchronous:
            raise ClusterError(
                "on", client, "a client that waits is needed", "Make it with asynchronous=False."
            )
        self._client = client
        self._loop: Any = client.loop
        self._run = run
        self._tickets: dict[str, Ticket] = {}
        self._numbers = itertools.count()
        self._token = uuid.uuid4().hex
        self._topic = f"{PREFIX}:{self._token}"
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._least_mb = LEAST_MB
        self._capacity = CapacityWatch(client)
        try:
            install_cancellation(client)
            install_rebalance(client)
            capacity = self._capacity.now()
        except (OSError, TimeoutError) as error:
            raise ClusterError(
                "on", client, f"the scheduler does not answer ({error})", "Start it again."
            ) from error
        if capacity.n_workers and not capacity.declared:
            warnings.warn(
                "the workers declare no MEM: fits are placed by threads alone, and may need more memory than there is. "
                "Start workers with --resources MEM=<MB>.",
                TdmxWarning,
                stacklevel=2,
            )
        client.subscribe_topic(self._topic, self._heard)
        self._dispatcher = threading.Thread(target=self._dispatch, name="tdmx-fits", daemon=True)
        self._dispatcher.start()

    @property
    def slots(self) -> int:
        """Chains that the workers can run at once, by threads and memory, at least 1."""
        return self._capacity.now().slots(self._least_mb)

    @property
    def ceiling_mb(self) -> float | None:
        """The most memory that a batch may ask for, MB; None where no worker declares any."""
        capacity = self._capacity.now()
        return capacity.ceiling_mb if capacity.declared else None

    def submit(
        self,
        batch: Batch,
        *,
        name: str,
        memory_mb: float,
        priority: int,
        retries: int,
        emit: Emit,
        done: Done,
    ) -> str:
        """Queue a batch; see `Runner.submit`."""
        ticket = Ticket(name, batch, digests_of(batch), float(memory_mb), priority, retries, emit, done)
        capacity = self._capacity.now()
        refuse_too_large(ticket, capacity)
        number = str(next(self._numbers))
        self._tickets[number] = ticket
        self._send(number, ticket, capacity)
        return number

    def cancel(self, tickets: Sequence[str]) -> None:
        """Cancel batches; see `Runner.cancel`."""
        futures = []
        for number in tickets:
            ticket = self._tickets.get(number)
            if ticket is None:
                continue
            with ticket.lock:
                ticket.cancelled = True
                if ticket.future is not None:
                    futures.append(ticket.future)
        if futures:
            self._on_loop(self._cancel, futures)

    def close(self) -> None:
        """Cancel what runs, tell those who wait, and end the dispatcher; the cluster stays."""
        self.cancel(list(self._tickets))
        for number, ticket in list(self._tickets.items()):
            self._queue.put(partial(self._end, number, ticket, cancelled(ticket)))
        self._queue.put(None)
        if threading.current_thread() is not self._dispatcher:
            self._dispatcher.join(timeout=10)
        if self._client.status == "running":
            self._client.unsubscribe_topic(self._topic)

    # sending

    def _send(self, number: str, ticket: Ticket, capacity: Capacity) -> None:
        """Submit one try; its outcome comes to the queue."""
        with ticket.lock:
            if ticket.cancelled or ticket.over:
                self._queue.put(partial(self._end, number, ticket, cancelled(ticket)))
                return
            ticket.tries += 1
            ticket.running = False
            ticket.placed = capacity.n_workers > 0
            key = f"{PREFIX}-{number}-{ticket.tries}-{slug(ticket.name)}-{self._token[:12]}"
            ticket.future = self._client.submit(
                _on_worker,
                ticket.batch,
                ticket.digests,
                (self._topic, number, ticket.tries, key, ticket.name),
                self._run,
                key=key,
                resources=resources(ticket, capacity),
                priority=place_in_queue(ticket, int(number)),
                pure=False,
            )
            self._on_loop(self._follow, number, ticket, ticket.future)

    async def _follow(self, number: str, ticket: Ticket, future: Any) -> None:
        """Wait for one try on the client's loop, and hand its outcome to the dispatcher."""
        outcome: Any
        try:
            outcome = await self._client.gather(future, asynchronous=True)
        except (Exception, asyncio.CancelledError) as error:
            outcome = error
        self._queue.put(partial(self._judge, number, ticket, future, outcome))

    async def _cancel(self, futures: list[Any]) -> None:
        with suppress(OSError):
            await self._client.cancel(futures, force=True, asynchronous=True)

    def _on_loop(self, function: Callable[..., Any], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: the watch tells those who wait
            self._loop.add_callback(function, *arguments)

    # the dispatcher's thread

    def _dispatch(self) -> None:
        """Do what is queued, one job after another, and look around once a second."""
        looked = time.monotonic()
        while True:
            job: Callable[[], object] | None = self._watch
            if time.monotonic() - looked < _WATCH_SECONDS:
                try:
                    job = self._queue.get(timeout=_WATCH_SECONDS)
                except queue.Empty:
                    continue
            else:
                looked = time.monotonic()
            if job is None:
                return
            try:
                job()
            except Exception:  # a listener's own fault: no other fit may wait for it
                _log.exception("A listener of a fit failed")

    def _watch(self) -> None:
        """Tell those who wait that the client is gone; settle batches that were sent before there was a worker."""
        waiting = list(self._tickets.items())
        if waiting and self._client.status not in ("running", "connecting"):
            for number, ticket in waiting:
                self._end(number, ticket, cancelled(ticket) if ticket.cancelled else scheduler_lost(ticket))
        unplaced = [(number, ticket) for number, ticket in waiting if not ticket.placed and not ticket.over]
        if not unplaced:
            return
        capacity = self._capacity.now()
        if not capacity.n_workers:
            return
        for number, ticket in unplaced:
            ticket.placed = True
            try:
                refuse_too_large(ticket, capacity)
            except ClusterError as error:
                self._on_loop(self._cancel, [ticket.future])
                self._end(number, ticket, error)
            else:
                if not capacity.declared:
                    self._again(number, ticket)

    def _judge(self, number: str, ticket: Ticket, future: Any, outcome: Any) -> None:
        """Decide whether a try was the last."""
        if ticket.over or future is not ticket.future:
            return
        if not isinstance(outcome, BaseException):
            self._end(number, ticket, outcome)
        elif ticket.cancelled:
            self._end(number, ticket, cancelled(ticket))
        elif isinstance(outcome, MissingExecutable) and ticket.free < FREE_TRIES:
            ticket.free += 1
            self._on_loop(self._ship, number, ticket)
        elif isinstance(outcome, FitCancelled) and ticket.free < FREE_TRIES:
            ticket.free += 1  # its worker was closed
            self._again(number, ticket)
        elif isinstance(outcome, KilledWorker):
            self._worker_died(number, ticket, outcome)
        elif isinstance(outcome, FitError) and _killed_from_outside(outcome) and ticket.lost < ticket.retries:
            ticket.lost += 1
            ceiling = self._capacity.now().ceiling_mb
            more = ticket.memory_mb * MORE_MEMORY
            ticket.memory_mb = max(ticket.memory_mb, min(more, ceiling)) if ceiling else more
            self._tell(ticket, f"{outcome.rule}; it runs again with {ticket.memory_mb:.0f} MB")
            self._again(number, ticket)
        elif isinstance(outcome, asyncio.CancelledError | FuturesCancelledError):
            self._end(number, ticket, scheduler_lost(ticket))
        else:
            self._end(number, ticket, outcome)

    def _worker_died(self, number: str, ticket: Ticket, outcome: BaseException) -> None:
        """Dask gave it up. It counts every worker on which the batch lay; only one on which it ran may be its own fault."""
        if ticket.running:
            ticket.lost += 1
        else:
            ticket.unlucky += 1
        if ticket.lost > ticket.retries or ticket.unlucky > UNLUCKY:
            error = workers_died(ticket)
            error.__cause__ = outcome
            self._end(number, ticket, error)
        else:
            self._again(number, ticket)

    def _again(self, number: str, ticket: Ticket) -> None:
        if ticket.future is not None and not ticket.future.done():
            self._on_loop(self._cancel, [ticket.future])
        self._send(number, ticket, self._capacity.now())

    async def _ship(self, number: str, ticket: Ticket) -> None:
        """Send the executables to all workers, and the batch again."""
        try:
            for path, digest in ticket.digests.items():
                content = await self._loop.run_in_executor(None, content_of, path)
                await self._client.run(receive, digest, content, asynchronous=True)
        except Exception as error:
            self._queue.put(partial(self._end, number, ticket, error))
        else:
            self._queue.put(partial(self._again, number, ticket))

    def _end(self, number: str, ticket: Ticket, outcome: list[ChainResult] | BaseException) -> None:
        with ticket.lock:
            if ticket.over:
                return
            ticket.over = True
            ticket.future = None
        self._tickets.pop(number, None)
        ticket.done(outcome)

    # events

    def _heard(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Take an event on the client's loop; all else happens in the dispatcher."""
        message = event[1]
        ticket = self._tickets.get(message["ticket"])
        if ticket is None or message["try"] != ticket.tries:
            return
        if "events" in message:
            self._queue.put(partial(_tell_all, ticket, message["events"]))
        else:
            self._queue.put(partial(self._ran, message["ticket"], ticket, message["try"], message["running"]))

    def _ran(self, number: str, ticket: Ticket, attempt: int, running: bool) -> None:
        """Note that a try begins or ends. One that begins again before it ended was lost with its worker."""
        if attempt != ticket.tries or ticket.over:
            return
        again = running and ticket.running
        ticket.running = running
        if not again:
            return
        ticket.lost += 1
        if ticket.lost > ticket.retries:
            self._on_loop(self._cancel, [ticket.future])
            self._end(number, ticket, workers_died(ticket))
        else:
            self._tell(ticket, "its worker died; it runs again on another")

    def _tell(self, ticket: Ticket, text: str) -> None:
        for task in ticket.batch.tasks:
            total = task.sampling.warmup + task.sampling.draws
            ticket.emit(
                ChainEvent(task.fit, task.chain, task.round, task.attempt, "retrying", 0, total, text=text)
            )


def _tell_all(ticket: Ticket, events: list[list[Any]]) -> None:
    for event in events:
        ticket.emit(ChainEvent(*event))


# on a worker


def _on_worker(
    batch: Batch, digests: Mapping[str, str], address: tuple[str, str, int, str, str], run: RunBatch | None
) -> list[ChainResult]:
    """Run a batch in a thread of a worker; its children die with its flag."""
    topic, number, attempt, key, name = address
    worker = get_worker()
    flag = cancellation_flag(worker, key)
    head = {"ticket": number, "try": attempt}
    speaker = Speaker(lambda events: worker.log_event(topic, {**head, "events": events}))
    if run is None:
        from tdmx_dask.fitting.children import run_batch

        run = run_batch
    worker.log_event(topic, {**head, "running": True, "key": key, "name": name, "chains": batch.chains})
    try:
        return run(with_executables_here(batch, digests), speaker.emit, flag)
    finally:
        speaker.finish()
        with suppress(OSError, RuntimeError):
            worker.log_event(topic, {**head, "running": False})


def _killed_from_outside(outcome: FitError) -> bool:
    from tdmx_dask.fitting.children import ChildKilled

    return isinstance(outcome, ChildKilled)
