"""Work beside the loop that answers the browser: one thing at a time, and of those that wait only the newest."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Generic, TypeVar

from bokeh.document import Document

from tdmx_dask.errors import TdmxError

__all__ = ["Latest", "explain"]

_T = TypeVar("_T")
_log = logging.getLogger("tdmx_dask.dashboard")


def explain(error: BaseException) -> str:
    """What a page says of an error: ours as it is; another by its kind, its traceback in the server's log."""
    if isinstance(error, TdmxError):
        return str(error)
    _log.error("The workbench failed", exc_info=error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for this. Ask for fewer draws or patients."
    return f"This failed: {type(error).__name__}: {error}. The server's log has more."


class Latest(Generic[_T]):
    """Computes in a thread what is asked for last.

    Parameters
    ----------
    document : of the session; answers reach it in its own loop
    executor : where it runs
    then : takes an answer
    failed : takes a message
    unwanted : takes an answer that nobody waits for any more, in the thread that made it
    """

    def __init__(
        self,
        document: Document,
        executor: Executor,
        then: Callable[[_T], object],
        failed: Callable[[str], object],
        unwanted: Callable[[_T], object] | None = None,
    ) -> None:
        self._document, self._executor = document, executor
        self._then, self._failed, self._unwanted = then, failed, unwanted
        self._next: tuple[Callable[[], _T], Executor] | None = None
        self._runs = self._over = False
        self._wanted = 0
        document.on_session_destroyed(self._end)

    @property
    def busy(self) -> bool:
        """Whether something is being computed, or waits for it."""
        return self._runs or self._next is not None

    def ask(self, work: Callable[[], _T], executor: Executor | None = None) -> None:
        """Compute this next, in another executor if one is given; what waited is not wanted any more."""
        self._next = (work, executor or self._executor)
        if not self._runs:
            self._start()

    def drop(self) -> None:
        """Want nothing any more: neither what waits nor what is being computed."""
        self._next = None
        self._wanted += 1

    def _start(self) -> None:
        asked, self._next = self._next, None
        if asked is not None:
            self._runs = True
            work, executor = asked
            executor.submit(work).add_done_callback(partial(self._done, self._wanted))

    def _done(self, wanted: int, future: Future[_T]) -> None:
        if not self._over:
            self._document.add_next_tick_callback(partial(self._take, wanted, future))
        elif self._unwanted is not None and not future.cancelled() and future.exception() is None:
            self._unwanted(future.result())

    def _take(self, wanted: int, future: Future[_T]) -> None:
        self._runs = False
        try:
            if wanted != self._wanted:
                if self._unwanted is not None and future.exception() is None:
                    self._unwanted(future.result())
            elif (error := future.exception()) is not None:
                self._failed(explain(error))
            else:
                self._then(future.result())
        except Exception as error:  # what was to be shown cannot be shown
            self._failed(explain(error))
        finally:
            self._start()

    def _end(self, _context: Any) -> None:
        self._over, self._next = True, None
