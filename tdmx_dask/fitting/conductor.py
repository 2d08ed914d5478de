"""The conductor: one daemon thread that drives any number of fits, and one that publishes them.

A fit goes question -> library -> chains -> figures -> policy -> … -> store -> future. Threads wait for what is posted to them and poll
nothing; whatever comes while one is busy is taken together, so that a cohort's stores are written many at a time.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from functools import partial

from tdmx_dask.errors import FitCancelled
from tdmx_dask.fitting.fit import Fit
from tdmx_dask.fitting.future import FitFuture, Listener
from tdmx_dask.fitting.mailbox import Call, Mailbox, calls
from tdmx_dask.fitting.request import Request
from tdmx_dask.fitting.run import Run
from tdmx_dask.fitting.runner import Runner

__all__ = ["Conductor"]

TOGETHER, TOGETHER_SECONDS = 32, 1.0
"""Stores that are written at once at most, and for how long the first of them waits for others."""


class Conductor:
    """Drives fits; any thread may ask for them.

    Its threads start with the first fit and end with the interpreter, or by `close`; fits that are not done then are cancelled.
    """

    def __init__(self) -> None:
        self._inbox: Mailbox[Call] = Mailbox("tdmx-conductor", calls)
        self._callbacks: Mailbox[Call] = Mailbox("tdmx-callbacks", calls)
        self._press: Mailbox[Run] = Mailbox("tdmx-publisher", self._publish, self._hold)
        self._runs: dict[FitFuture, Run] = {}
        self._lock = threading.Lock()
        self._closed = False
        atexit.register(self.close)

    def submit(
        self, requests: Sequence[Request], runner: Runner, listeners: tuple[Listener, ...] = ()
    ) -> list[FitFuture]:
        """Ask for fits; returns at once.

        Parameters
        ----------
        requests : one or a cohort; starts that a library holds now are found for all of them before the first begins
        runner : where their chains run
        listeners : called with each `ChainEvent`, in the thread of callbacks

        Returns
        -------
        futures in the order of the requests
        """
        futures = []
        for request in requests:
            future = FitFuture(
                request.question.name, request.address, self._callbacks, self._cancel, listeners
            )
            run = Run(request, runner, future, self._inbox.post, self._share, self._finished)
            with self._lock:
                if self._closed:
                    raise RuntimeError("the conductor is closed")
                self._runs[future] = run
            futures.append(future)
        self._inbox.post(partial(self._begin, futures))
        return futures

    def close(self) -> None:
        """Cancel what is not done, and end the threads."""
        with self._lock:
            self._closed = True
            open_runs = [run for run in self._runs.values() if not run.over]
        atexit.unregister(self.close)
        for run in open_runs:
            self._inbox.post(run.cancel)
        self._inbox.close()
        self._press.close()
        self._callbacks.close()

    # the conductor's thread

    def _begin(self, futures: Sequence[FitFuture]) -> None:
        """Begin fits that were asked for together: first all that need nothing but what the library holds now."""
        runs = [run for future in futures if (run := self._runs.get(future)) is not None]
        for run in runs:
            self._guarded(run, run.look)
        unready = [run for run in runs if not run.over and run.needs_compiling]
        if unready:
            threading.Thread(target=self._compile, args=(unready,), name="tdmx-compiler", daemon=True).start()
        for run in runs:
            if not run.over and not run.needs_compiling:
                self._guarded(run, run.begin)

    def _compile(self, runs: Sequence[Run]) -> None:
        """Compile each program once; about a minute each, in a thread of its own."""
        made: dict[str, str | None] = {}
        for run in runs:
            program = run.request.question.program
            try:
                if program.digest not in made:
                    made[program.digest] = run.request.choice.ready(program).executable
            except Exception as error:
                self._inbox.post(partial(run.fail, error))
                continue
            run.executable = made[program.digest]
            self._inbox.post(partial(self._guarded, run, run.begin))

    def _guarded(self, run: Run, step: Callable[[], None]) -> None:
        """What goes wrong is this fit's alone."""
        try:
            step()
        except Exception as error:
            run.fail(error)

    def _share(self, run: Run) -> int:
        """Chains of a fit that may run at once: all slots for one alone, one where there are as many fits as slots."""
        with self._lock:
            beside = sum(other.runner is run.runner and not other.over for other in self._runs.values())
        return max(1, run.runner.slots // max(1, beside))

    def _finished(self, run: Run) -> None:
        """Chains are done, or it failed."""
        if run.error is not None:
            self._resolve(run, run.error)
        elif run.answer is not None:
            self._resolve(run, run.answer)
        else:
            run.future.enter("publishing")
            self._press.post(run)

    def _cancel(self, future: FitFuture) -> None:
        """From any thread."""
        run = self._runs.get(future)
        if run is not None:
            self._inbox.post(run.cancel)

    # the publisher's thread

    def _hold(self, waiting: int) -> float:
        """A cohort's stores are brought to the disk some at a time; a lone fit's, or the last, at once."""
        beside = sum(not run.over for run in tuple(self._runs.values()))
        return TOGETHER_SECONDS if beside and waiting < TOGETHER else 0.0

    def _publish(self, runs: list[Run]) -> None:
        from tdmx_dask.fitting.publish import publish

        try:
            outcomes = publish(runs)
        except BaseException as error:  # a future is resolved whatever happens
            outcomes = [error] * len(runs)
        for run, outcome in zip(runs, outcomes, strict=True):
            self._resolve(run, outcome)

    def _resolve(self, run: Run, outcome: Fit | BaseException) -> None:
        with self._lock:
            self._runs.pop(run.future, None)
        if isinstance(outcome, BaseException):
            if not isinstance(outcome, Exception):  # SystemExit of another thread is not for those who wait
                outcome = FitCancelled("fit", run.future.name, f"it was ended ({type(outcome).__name__})")
            run.future.set_exception(outcome)
        else:
            run.future.set_result(outcome)
