"""The future of a fit: what it does now, how far its chains are, and in the end the fit."""

from __future__ import annotations

import asyncio
import html
import logging
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from tdmx_dask.errors import FitCancelled
from tdmx_dask.fitting.mailbox import Call, Mailbox
from tdmx_dask.fitting.pace import Pace
from tdmx_dask.fitting.task import ANEW, ChainEvent, overtaken

if TYPE_CHECKING:
    from tdmx_dask.fitting.fit import Fit

__all__ = ["ChainProgress", "FitFuture", "Status"]

Status = Literal["queued", "running", "publishing", "done", "failed", "cancelled"]
Listener = Callable[[ChainEvent], object]
_log = logging.getLogger(__name__)
_GROUND = 1.0
"""s of iterations before a time left is said; events come twice a second."""


@dataclass(frozen=True, slots=True)
class ChainProgress:
    """How far one chain is.

    Parameters
    ----------
    chain, round, attempt, phase, iteration, total, divergences, step_size, seconds, text : of its last event
    eta : seconds until the end of this round, from how fast it went of late; None while there is no ground to say
    """

    chain: int
    round: int
    attempt: int
    phase: str
    iteration: int
    total: int
    divergences: int
    step_size: float | None
    seconds: float
    text: str
    eta: float | None

    @classmethod
    def of(cls, event: ChainEvent, pace: Pace) -> ChainProgress:
        """From the last event of a chain, and how fast it goes."""
        eta = 0.0 if event.phase == "done" else None
        if event.phase in ("warmup", "sampling"):
            eta = pace.left(event.total, at=event.seconds)
        return cls(
            event.chain, event.round, event.attempt, event.phase, event.iteration, event.total,
            event.divergences, event.step_size, event.seconds, event.text, eta,
        )  # fmt: skip


class FitFuture(Future["Fit"]):
    """A fit that was asked for; a `concurrent.futures.Future`, and awaitable.

    ``result(timeout)`` waits for the `Fit`, ``exception(timeout)`` for what went wrong, ``done()`` asks; ``await future`` in asyncio.
    `concurrent.futures.wait` and ``as_completed`` take it. Done callbacks run in a thread of their own, one after another; what one
    raises is logged and harms nothing.

    Attributes
    ----------
    name : of the fit
    address : digest of the request, the name of its store in the library
    """

    def __init__(
        self,
        name: str,
        address: str,
        callbacks: Mailbox[Call],
        stop: Callable[[FitFuture], object],
        listeners: tuple[Listener, ...] = (),
    ) -> None:
        super().__init__()
        self.name, self.address = name, address
        self._callbacks, self._stop, self._listeners = callbacks, stop, list(listeners)
        self._events: dict[int, ChainEvent] = {}
        self._paces: dict[int, Pace] = {}
        self._stage: Literal["queued", "running", "publishing"] = "queued"
        self._guard, self._settling = threading.Lock(), threading.RLock()
        self._watchers: list[Callable[[FitFuture], object]] = []
        self._telling = False
        self._asked = time.monotonic()
        self.set_running_or_notify_cancel()

    @property
    def status(self) -> Status:
        """Where it is: queued, running, publishing, done, failed or cancelled."""
        if not self.done():
            return self._stage
        error = self.exception()
        if error is None:
            return "done"
        return "cancelled" if isinstance(error, FitCancelled) else "failed"

    def progress(self) -> tuple[ChainProgress, ...]:
        """How far each chain is that has begun, in the order of the chains; never waits."""
        with self._guard:
            return tuple(
                ChainProgress.of(event, self._paces[chain]) for chain, event in sorted(self._events.items())
            )

    def cancel(self) -> bool:
        """Cancel the fit: its processes are gone within a second, and `result` raises `FitCancelled`.

        Returns
        -------
        False if it had ended already
        """
        if self.done():
            return False
        self._stop(self)
        return True

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.done() and isinstance(self.exception(), FitCancelled)

    def add_done_callback(self, fn: Callable[[FitFuture], object]) -> None:
        """Call ``fn(future)`` once it has ended, in the thread of callbacks."""
        super().add_done_callback(lambda _: self._callbacks.post(partial(fn, self)))

    def watch(self, fn: Callable[[FitFuture], object]) -> None:
        """Call ``fn(future)`` once it has ended, and before anybody has its outcome: what is shown of it is gone by then."""
        with self._settling:
            self._watchers.append(fn)
        super().add_done_callback(lambda _: self._callbacks.post(self._settle))

    def result(self, timeout: float | None = None) -> Fit:
        """Wait for the fit."""
        try:
            return super().result(timeout)
        finally:
            self._settle()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for what went wrong; None: nothing."""
        try:
            return super().exception(timeout)
        finally:
            self._settle()

    def _settle(self) -> None:
        """Tell the watchers, each once; whoever comes meanwhile waits until they know."""
        if not self.done():
            return
        with self._settling:
            if self._telling:  # a watcher asks for the outcome itself
                return
            self._telling = True
            try:
                while self._watchers:
                    try:
                        self._watchers[-1](self)
                    except Exception:  # what cannot be shown harms no fit
                        _log.exception("A watcher of the fit %s failed", self.name)
                    self._watchers.pop()  # after it: where Ctrl-C ended it, the thread of callbacks calls it again
            finally:
                self._telling = False

    def __await__(self) -> Generator[Any, None, Fit]:
        """Wait in asyncio; cancelling what awaits it cancels the fit."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Fit] = loop.create_future()
        super().add_done_callback(lambda _: _wake(loop, waiting, self))
        waiting.add_done_callback(lambda each: self.cancel() if each.cancelled() else None)
        return (yield from waiting.__await__())

    def enter(self, stage: Literal["running", "publishing"]) -> None:
        """Say which stage it has come to (for the conductor)."""
        self._stage = stage

    def hear(self, event: ChainEvent) -> None:
        """Take an event of a chain (for the conductor), from any thread."""
        with self._guard:
            last = self._events.get(event.chain)
            if last is not None and overtaken(event, last):
                return
            if last is None or event.round != last.round or event.phase in ANEW:
                self._paces[event.chain] = Pace(_GROUND)
            self._paces[event.chain].see(event.seconds, event.iteration)
            self._events[event.chain] = event
            if self._stage == "queued":
                self._stage = "running"
        if self._listeners:
            self._callbacks.post(partial(self._tell, event))

    def _tell(self, event: ChainEvent) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                self._listeners.remove(listener)  # it would fail each time
                raise

    def __repr__(self) -> str:
        parts = [f"{self.name!r}", self.status]
        if not self.done():
            parts += [_short(each) for each in self.progress()]
        return f"<FitFuture {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{each.chain}</td><td>{html.escape(each.phase)}</td><td>{each.iteration}/{each.total}</td>"
            f"<td>{each.divergences}</td><td>{'' if each.step_size is None else f'{each.step_size:.3g}'}</td>"
            f"<td>{'' if each.eta is None else f'{each.eta:.0f} s'}</td></tr>"
            for each in self.progress()
        )
        head = "<tr><th>chain</th><th>phase</th><th>iteration</th><th>divergences</th><th>step size</th><th>left</th></tr>"
        return f"<b>{html.escape(self.name)}</b>: {self.status}<table>{head}{rows}</table>"


def _short(each: ChainProgress) -> str:
    return f"chain {each.chain} {each.phase} {each.iteration}/{each.total}"


def _wake(loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[Fit], done: FitFuture) -> None:
    """Tell a waiting task, in its own loop; one that is closed waits for nothing."""

    def finish() -> None:
        if waiting.done():
            return
        error = done.exception()
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(done.result())

    try:
        loop.call_soon_threadsafe(finish)
    except RuntimeError:
        return
