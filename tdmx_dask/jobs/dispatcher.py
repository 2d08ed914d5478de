"""The thread that works on a queue: claims what is next, runs it, and writes down how it ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from tdmx_dask.errors import ClusterError, JobError, StoreError
from tdmx_dask.jobs.claims import Claim
from tdmx_dask.jobs.clock import identity
from tdmx_dask.jobs.display import seconds as duration
from tdmx_dask.jobs.executor import Executor
from tdmx_dask.jobs.failure import error_message, may_pass
from tdmx_dask.jobs.function import Function
from tdmx_dask.jobs.kind import Kind
from tdmx_dask.jobs.ledger import Ledger, Turn
from tdmx_dask.jobs.moves import Settled
from tdmx_dask.jobs.request import Work
from tdmx_dask.jobs.slots import JobPlace, Slots
from tdmx_dask.store.cache import Cache

__all__ = ["Dispatcher", "delay_of"]

_log = logging.getLogger("tdmx_dask.jobs")

T = TypeVar("T")

POLL_SECONDS = 0.1
"""How often it looks whether another process has written to the queue; a look takes some microseconds."""

BEAT_SECONDS = 4.0
COMPLAINT_SECONDS = 60.0
LONGEST_DELAY = 300.0
MORE_MEMORY = 1.5
"""A job that ran out of memory asks for so much more."""

FIRST_MB = 1000.0
"""… where nothing was known of its need."""

_GONE = "the cluster is gone"
_NOTHING = Turn((), (), None)


class Dispatcher:
    """Works on a ledger in a thread of its own.

    Parameters
    ----------
    ledger : shared with other threads and processes
    client : name of this client in the ledger
    kinds : by name; looked up when a job is claimed
    executor : where calls run; None: it only watches
    cache : that answers are put into
    lookup : address -> the answer that the cache has
    retry_delay : seconds before the second attempt, doubled for each more
    told : called in this thread at each visit: ids of jobs that ended here, and whether other processes have written
    """

    def __init__(
        self,
        ledger: Ledger,
        client: str,
        kinds: Mapping[str, Kind],
        *,
        executor: Executor | None,
        cache: Cache | None,
        lookup: Callable[[str], bytes | None],
        retry_delay: float,
        told: Callable[[list[int], bool], None],
    ) -> None:
        self._ledger, self._client, self._kinds = ledger, client, kinds
        self._executor, self._cache, self._lookup = executor, cache, lookup
        self._retry_delay, self._told = retry_delay, told
        self._slots = Slots(lambda: self.slots, lambda: int(getattr(executor, "ahead", 0)))
        self._running: dict[int, tuple[Claim, asyncio.Task[None], JobPlace]] = {}
        self._outcomes: list[Settled] = []
        self._notes: list[tuple[int, str, str | None]] = []
        self._progress: dict[int, tuple[int, int]] = {}
        self._look = self._sync = True
        self._closing = self._draining = False
        self._seen = -1
        self._complained = -COMPLAINT_SECONDS
        self._files = ThreadPoolExecutor(1, "tdmx-ledger")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tdmx-queue", daemon=True)

    @property
    def slots(self) -> int:
        """Calls that run at once; 0 where it only watches."""
        return 0 if self._executor is None or self._closing or self.broken else self._executor.slots

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive() and not self._closing

    @property
    def broken(self) -> bool:
        """Whether the cluster on which its calls run is gone."""
        client = None if self._executor is None else self._executor.on
        return client is not None and client.status in ("closing", "closed", "failed")

    @property
    def busy(self) -> int:
        """Jobs that run here now."""
        return len(self._running)

    def drain(self) -> None:
        """Claim no more; what runs goes on to its end."""
        self._draining = True

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()
        self._ready.wait()

    def look(self, *, sync: bool = False) -> None:
        """Say that there may be work, or (`sync`) that some was cancelled; from any thread."""
        self._look = True
        self._sync |= sync
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(self._wake.set)

    def close(self, seconds: float = 10.0) -> None:
        """End the processes of what runs, give it back to the queue, and stop."""
        self._closing = True
        self.look()
        if threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    # the thread

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        beating = asyncio.create_task(self._beat())
        try:
            while not self._closing:
                self._wake.clear()
                try:
                    pause = await self._turn()
                except StoreError as error:  # such as a disk that was full or away for a moment
                    pause = self._complain(error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)
        except Exception:
            _log.exception("The queue in %s stops", self._ledger.folder)
        finally:
            beating.cancel()
            await self._end()

    async def _beat(self) -> None:
        """Say that this client lives, and take over from those that do not."""
        who = identity()
        while True:
            with suppress(StoreError):
                taken = await self._file(self._ledger.beat, self._client, who, self.slots)
                if taken:
                    _log.info("Jobs %s were left by clients that are gone, and run again", taken)
                    self.look()
            await asyncio.sleep(BEAT_SECONDS)
            self._sync = True  # this client may itself have been taken for dead, on a machine that slept

    async def _turn(self) -> float:
        """One visit to the ledger, if there is a reason for it; return the seconds until the next at the latest."""
        changed = self._ledger.changes()
        others = changed != self._seen
        self._seen = changed
        if others:
            self._look = self._sync = True
        if self._sync and self._running:
            self._sync = False
            await self._drop_lost()
        if self.broken:
            self._slots.refuse(
                ClusterError("on", "gone", _GONE, "Open the queue again with another cluster.")
            )
        n, urgent, above = self._room() if self._look else (0, 0, 0)
        outcomes, self._outcomes = self._outcomes, []
        notes, self._notes = self._notes, []
        progress, self._progress = self._progress, {}
        turn = _NOTHING
        if outcomes or notes or progress or n or urgent:
            self._look = False
            visit = partial(
                self._ledger.turn, self._client, outcomes, n=n, urgent=urgent, above=above, notes=notes, progress=progress
            )  # fmt: skip
            try:
                turn = await self._file(visit)
            except StoreError:
                self._outcomes, self._notes = outcomes + self._outcomes, notes + self._notes
                raise
        pairs = zip(outcomes, turn.accepted, strict=True)
        ended = [each.job for each, taken in pairs if taken and each.event in ("complete", "hit", "fail")]
        self._told(ended, others)
        for claim in turn.claims:
            self._begin(claim)
        if n + urgent and len(turn.claims) == n + urgent:
            self._look = True  # there may be more
            if any(self._room()[:2]):
                return 0.0
        if turn.next_hold is not None:
            self._loop_at(turn.next_hold)
        return POLL_SECONDS

    def _complain(self, error: StoreError) -> float:
        """The ledger cannot be read or written now; return the seconds until it is tried again."""
        self._look = True
        if time.monotonic() - self._complained > COMPLAINT_SECONDS:
            self._complained = time.monotonic()
            _log.warning("%s It is tried again every second.", error)
        return 1.0

    def _loop_at(self, seconds: float) -> None:
        assert self._loop is not None  # noqa: S101
        self._loop.call_later(seconds + 0.001, self.look)

    def _room(self) -> tuple[int, int, int]:
        """How many jobs to claim, and how many urgent ones besides that overtake jobs which have several calls.

        A job of many calls takes what others leave, so it is not counted, as far as there are no more of them than slots.
        """
        slots = 0 if self._draining or not self.slots else self._slots.limit
        if not slots:
            return 0, 0, 0
        divisible = [claim for claim, _, _ in self._running.values() if self._divisible(claim)]
        plain = len(self._running) - len(divisible)
        n = slots - plain - max(0, len(divisible) - slots)
        if n > 0:
            return n, 0, 0
        if not divisible or plain >= 2 * slots:
            return 0, 0, 0
        return 0, 1, min(claim.priority for claim in divisible)

    def _divisible(self, claim: Claim) -> bool:
        return bool(getattr(self._kinds.get(claim.kind), "divisible", False))

    async def _drop_lost(self) -> None:
        """End what is not this client's any more: it was cancelled, or taken over."""
        with suppress(StoreError):
            held = await self._file(self._ledger.held_by, self._client)
            waiting = {(each.job, each.claim) for each in self._outcomes}
            for claim, task, _ in list(self._running.values()):
                if (claim.job, claim.number) not in held | waiting:
                    task.cancel()

    # one claim

    def _begin(self, claim: Claim) -> None:
        assert self._executor is not None  # noqa: S101

        def tell(text: str, worker: str | None) -> None:
            self._notes.append((claim.job, text, worker))

        def told(done: int, total: int) -> None:
            self._progress[claim.job] = done, total

        place = JobPlace(claim, self._executor, self._slots, tell=tell, told=told)
        task = asyncio.create_task(self._attempt(claim, place))
        self._running[claim.job] = claim, task, place
        task.add_done_callback(lambda _: self._finished(claim, task))

    def _finished(self, claim: Claim, task: asyncio.Task[None]) -> None:
        known = self._running.get(claim.job)
        if known is not None and known[1] is task:
            del self._running[claim.job]
        self._look = True
        self._wake.set()

    async def _attempt(self, claim: Claim, place: JobPlace) -> None:
        """Run a claim to its end, and note the outcome."""
        try:
            found = None if claim.digest is None else self._lookup(claim.digest)
            if found is None:
                value = await self._answer(claim, place)
                event: Any = "complete"
                if self._cache is not None and claim.digest is not None:
                    await self._file(self._cache.put, claim.digest, value)
            else:
                value, event = found, "hit"
            inline, file = await self._file(self._ledger.keep, value)
        except asyncio.CancelledError:  # whoever cancelled it has written so
            _log.info("job %d %s: stopped, as it was cancelled or given back", claim.job, claim.kind)
        except Exception as error:
            judged = self._judged(claim, place, error)
            self._outcomes.append(judged)
            again = f" It runs again in {judged.delay:.1f} s" if judged.event == "retry" else ""
            _log.info("job %d %s: %s%s", claim.job, claim.kind, judged.note.partition("\n")[0], again)
        else:
            seconds = place.seconds if event == "complete" else None
            self._outcomes.append(Settled(claim.job, claim.number, event, inline, file, seconds=seconds))
            how = "answered from the cache" if event == "hit" else f"completed in {duration(seconds)}"
            _log.info("job %d %s: %s", claim.job, claim.kind, how)

    async def _answer(self, claim: Claim, place: JobPlace) -> bytes:
        spec = json.loads(claim.spec)
        kind = self._kinds.get(claim.kind)
        if kind is None and {"function", "arguments"} <= spec.keys():
            kind = Function(claim.kind, None)  # registered in the process that submitted it
        if kind is None:
            raise JobError(
                "type",
                claim.kind,
                "this version of tdmx does not know it",
                "Use the version that submitted it.",
            )
        inputs = {job: await self._file(self._ledger.result, job) for job in claim.needs}
        work = Work(
            claim.job, spec, claim.failures + 1, inputs, claim.memory_mb, claim.timeout, claim.priority
        )
        return await kind.run(work, place)

    def _judged(self, claim: Claim, place: JobPlace, error: Exception) -> Settled:
        """What becomes of a claim that failed."""
        if self.broken:
            return Settled(
                claim.job, claim.number, "lose", note=f"given back: {_GONE}", seconds=place.seconds
            )
        text = str(error) or type(error).__name__
        message = json.dumps(error_message(error))
        tried = claim.failures + 1
        passing = may_pass(error)
        note = "\n".join([f"attempt {tried} failed: {text}", *getattr(error, "__notes__", ())])
        if not passing or claim.failures >= claim.retries:
            if passing and claim.retries:
                note += f"\nno attempt is left of {tried}"
            return Settled(claim.job, claim.number, "fail", error=message, note=note, seconds=place.seconds)
        delay = delay_of(claim.job, tried, self._retry_delay)
        memory = self._more_memory(claim, error)
        more = "" if memory is None else f" with {memory:.0f} MB"
        return Settled(
            claim.job, claim.number, "retry", error=message, note=f"{note}\nit runs again in {delay:.1f} s{more}",
            seconds=place.seconds, delay=delay, memory_mb=memory,
        )  # fmt: skip

    def _more_memory(self, claim: Claim, error: Exception) -> float | None:
        if not isinstance(error, MemoryError):
            return None
        more = FIRST_MB if claim.memory_mb is None else claim.memory_mb * MORE_MEMORY
        ceiling = getattr(self._executor, "ceiling_mb", None)
        return more if ceiling is None else min(more, ceiling)

    # the end

    async def _end(self) -> None:
        """End what runs, write what is done, give back the rest."""
        self._closing = True
        tasks = [task for _, task, _ in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(StoreError):
            await self._file(partial(self._ledger.turn, self._client, self._outcomes, notes=self._notes))
            await self._file(self._ledger.leave, self._client)
        if self._executor is not None:
            with suppress(Exception):
                await self._executor.close()
        self._files.shutdown(wait=True)
        self._told([], True)

    async def _file(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call what may wait for the disk, off the event loop."""
        assert self._loop is not None  # noqa: S101
        return await self._loop.run_in_executor(self._files, function, *arguments)


def delay_of(job: int, attempt: int, first: float) -> float:
    """Seconds before a job runs again: doubled each time, ± half of it, so that jobs which failed together do not come together.

    Parameters
    ----------
    job : id, which decides on the half
    attempt : that failed, 1, 2, …
    first : seconds after the first
    """
    digest = hashlib.sha256(f"{job}-{attempt}".encode()).digest()
    jitter = 0.5 + int.from_bytes(digest[:4]) / 2**32
    return float(min(LONGEST_DELAY, first * 2.0 ** (attempt - 1)) * jitter)
