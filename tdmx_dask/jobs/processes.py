"""Calls in child processes of this machine: the plain form of an executor."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from tdmx_dask.clusters.resources import available_cores
from tdmx_dask.errors import InputError
from tdmx_dask.jobs.children import Children
from tdmx_dask.jobs.executor import Answer, Call

__all__ = ["ProcessExecutor"]


class ProcessExecutor:
    """An `Executor` of warm child processes on this machine.

    Parameters
    ----------
    max_workers : calls at a time, >= 1; default one a core that this process may use

    Raises
    ------
    InputError
        `max_workers` is no whole number >= 1.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        slots = available_cores() if max_workers is None else max_workers
        if isinstance(slots, bool) or not isinstance(slots, int) or slots < 1:
            raise InputError(
                "max_workers", max_workers, "a whole number >= 1 is needed", "Leave it out for one a core."
            )
        self._slots = slots
        self._children = Children(slots)

    @property
    def slots(self) -> int:
        """Calls that can run at once."""
        return self._slots

    @property
    def on(self) -> None:
        """None: there is no cluster."""
        return

    async def run(self, call: Call, started: Callable[[str], None]) -> Answer:
        """Run one call; see `Executor.run`."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Answer] = loop.create_future()
        flag = threading.Event()

        def begun(pid: int) -> None:
            loop.call_soon_threadsafe(started, f"pid {pid}")

        def settle(answer: Answer | None, error: BaseException | None) -> None:
            if outcome.done():
                return
            if error is None and answer is not None:
                outcome.set_result(answer)
            elif error is not None:
                outcome.set_exception(error)

        def work() -> None:
            answer, failed = None, None
            try:
                answer = self._children.run_call(call, flag, begun)
            except BaseException as error:
                failed = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, answer, failed)

        # a daemon: a program that ends without closing this does not wait for what runs
        threading.Thread(target=work, name=f"tdmx-job-{call.label}", daemon=True).start()
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            flag.set()
            while not outcome.done():  # its process is gone when this returns
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([outcome])
            outcome.exception()
            raise

    async def close(self) -> None:
        """End what runs, and all children."""
        await asyncio.to_thread(self._children.close)
