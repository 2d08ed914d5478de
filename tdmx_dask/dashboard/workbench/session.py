"""One window: what its tabs share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bokeh.document import Document

from tdmx_dask.api.individual import Individual
from tdmx_dask.dashboard.workbench.question import Answer

__all__ = ["Session", "Shop", "Worker"]


class Worker(Executor):
    """One thread that computes; unlike a pool's it is not waited for when the server ends.

    Parameters
    ----------
    name : of the thread
    """

    def __init__(self, name: str) -> None:
        self._asked: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function, after those that were submitted before."""
        future: Future[Any] = Future()
        self._asked.put(partial(_call, future, partial(fn, *args, **kwargs)))
        return future

    def _work(self) -> None:
        while True:
            self._asked.get()()


def _call(future: Future[Any], function: Callable[[], Any]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(function())
        except BaseException as error:  # whoever asked is told
            future.set_exception(error)


@dataclass(frozen=True, slots=True)
class Shop:
    """What all windows of a server share.

    Parameters
    ----------
    quick : one thread, for what takes milliseconds
    slow : one thread, for reports and files
    library : folder of fits; None: as configured
    on : a cluster for fits, or None: child processes of this machine
    """

    quick: Executor
    slow: Executor
    library: Path | None = None
    on: object = None


@dataclass(slots=True)
class Session:
    """What the tabs of one window know of each other.

    Parameters
    ----------
    document : of the window
    shop : shared with other windows
    """

    document: Document
    shop: Shop
    fits: dict[str, Individual] = field(default_factory=dict)
    attained: Answer | None = None
    compared: Answer | None = None
    on_fit: list[Callable[[str], object]] = field(default_factory=list)

    def add_fit(self, found: Individual) -> None:
        """Keep a fit, and tell the tabs; a later one of the same name replaces it."""
        self.fits[found.fit.name] = found
        for call in self.on_fit:
            call(found.fit.name)
