"""Who may use a worker next, among jobs that run: the more urgent job, then the one that was served least."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tdmx_dask.errors import JobTimeout
from tdmx_dask.jobs.claims import Claim
from tdmx_dask.jobs.executor import Call, Executor
from tdmx_dask.store.value import encode

__all__ = ["JobPlace", "Slots"]

SHORT_SECONDS = 0.25
"""Calls that last so long on average are worth sending ahead; longer ones lose nothing by the milliseconds between two."""


class Slots:
    """As many permits as calls may run at once; of the event loop that uses it.

    Parameters
    ----------
    limit : asked each time; it may change
    ahead : more permits while calls are short, so that a worker which ends one has the next at hand
    """

    def __init__(self, limit: Callable[[], int], ahead: Callable[[], int] = lambda: 0) -> None:
        self._limit, self._ahead = limit, ahead
        self._pace = math.inf
        self._held = 0
        self._waiting: list[tuple[JobPlace, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    @property
    def limit(self) -> int:
        """Permits at the moment."""
        return self._limit() + (self._ahead() if self._pace < SHORT_SECONDS else 0)

    def heard(self, seconds: float) -> None:
        """Learn how long calls run."""
        self._pace = seconds if math.isinf(self._pace) else self._pace + 0.2 * (seconds - self._pace)

    async def acquire(self, place: JobPlace) -> None:
        """Wait for a permit."""
        permit: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, next(self._numbers), permit))
        self.admit()
        try:
            await permit
        except asyncio.CancelledError:
            if permit.done() and not permit.cancelled() and permit.exception() is None:
                self.release()
            raise

    def release(self) -> None:
        """Give a permit back."""
        self._held -= 1
        self.admit()

    def admit(self) -> None:
        """Give permits to those who wait, as far as there are any."""
        while self._waiting and self._held < self.limit:
            chosen = min(self._waiting, key=lambda each: (-each[0].priority, each[0].service, each[1]))
            self._waiting.remove(chosen)
            if not chosen[2].done():
                self._held += 1
                chosen[2].set_result(None)

    def refuse(self, error: Exception) -> None:
        """Raise an error in all who wait: there will be no permits any more."""
        waiting, self._waiting = self._waiting, []
        for _, _, permit in waiting:
            if not permit.done():
                permit.set_exception(error)


class JobPlace:
    """Where one claim runs; a `kind.Place`.

    Parameters
    ----------
    claim : what runs
    executor, slots : shared by all claims of the queue
    tell : called with a line of the log and, where a call begins, its worker
    told : called with (done, total)
    """

    def __init__(
        self,
        claim: Claim,
        executor: Executor,
        slots: Slots,
        *,
        tell: Callable[[str, str | None], None],
        told: Callable[[int, int], None],
    ) -> None:
        self._claim, self._executor, self._slots = claim, executor, slots
        self._tell, self._told = tell, told
        self._parts = itertools.count(1)
        self._began: float | None = None
        self._active = 0
        self.priority = claim.priority
        self._served = 0.0

    @property
    def on(self) -> Any:
        """The distributed Client, or None."""
        return self._executor.on

    @property
    def slots(self) -> int:
        """Calls that may run at once."""
        return self._executor.slots

    @property
    def width(self) -> int:
        """Calls of one job that are worth asking for at once: some may wait where they run next."""
        return self.slots + int(getattr(self._executor, "ahead", 0))

    @property
    def service(self) -> float:
        """Seconds of workers that this claim has had, each running call counted as one more."""
        return self._served + self._active

    @property
    def seconds(self) -> float | None:
        """Since its first call began; None where none did."""
        return None if self._began is None else time.monotonic() - self._began

    async def call(self, function: str, arguments: Mapping[str, Any], *, name: str = "") -> bytes:
        """Run a function in a process of its own; see `kind.Place.call`."""
        content = encode(arguments, name="arguments")
        async with self._held():
            claim = self._claim
            label = f"{claim.job}-{claim.number}-{next(self._parts)}"
            call = Call(
                function, content, name or "call", label, claim.priority, claim.memory_mb, self._left()
            )
            answer = await self._executor.run(call, self._started)
        self._slots.heard(answer.seconds)
        if answer.output.strip():
            self._tell("it printed: " + answer.output.strip()[-2000:], None)
        return answer.value

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it; see `kind.Place.slot`."""
        async with self._held():
            if self._began is None:
                self._began = time.monotonic()
            try:
                async with asyncio.timeout(self._left()):
                    yield
            except TimeoutError as error:
                if isinstance(error, JobTimeout):
                    raise
                raise self._late() from error

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        await self._slots.acquire(self)
        began = time.monotonic()
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1
            self._served += time.monotonic() - began
            self._slots.release()

    def tell(self, text: str) -> None:
        """Write a line to the log."""
        self._tell(text, None)

    def progress(self, done: int, total: int) -> None:
        """Say how far it is."""
        self._told(done, total)

    def _started(self, worker: str) -> None:
        if (
            self._began is None
        ):  # the time that a job may run does not begin while it waits in a cluster's own queue
            self._began = time.monotonic()
        self._tell(f"runs on {worker}", worker)

    def _left(self) -> float | None:
        """Seconds that are left of its time."""
        timeout = self._claim.timeout
        if timeout is None or self._began is None:
            return timeout
        left = timeout - (time.monotonic() - self._began)
        if left <= 0:
            raise self._late()
        return left

    def _late(self) -> JobTimeout:
        timeout = self._claim.timeout
        return JobTimeout("timeout", timeout, f"the job ran longer than {timeout:g} s", "Give it more time.")
