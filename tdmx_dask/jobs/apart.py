"""Blocks of profiles in child processes: of this process, or of a Dask worker with several threads.

Kernels are many short calls of NumPy, and threads of one interpreter wait for its lock between any two of them: two threads had half of two
cores, four had less than one (measured). A worker stays one place with one purse of memory all the same, and its children are kept warm.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tdmx_dask.errors import JobLost
from tdmx_dask.jobs.child import function_of
from tdmx_dask.store.value import decode, encode

if TYPE_CHECKING:
    from tdmx_dask.jobs.children import Children
    from tdmx_dask.jobs.executor import Call

__all__ = ["Beside", "apart"]

ATTEMPTS = 3
"""Times that a block is run whose child is killed."""


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of a module, to be run by any scheduler; on a worker with several threads it runs in a child."""
    return partial(_run, _path(function))


class Beside:
    """Child processes of this process for one run, one a thread of the caller; a context manager that ends them.

    They are started without the caller's script, which needs no guard.

    Parameters
    ----------
    n : processes
    """

    def __init__(self, n: int) -> None:
        from tdmx_dask.jobs.children import Children

        self._children = Children(n)
        self._over = threading.Event()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function of a module, run in a child."""
        return partial(self._run, _path(function))

    def _run(self, path: str, *given: Any) -> Any:
        return _ask(self._children, _call(path, given, path), self._over)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._children.close()


def _path(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__qualname__}"


def _call(path: str, given: tuple[Any, ...], label: str) -> Call:
    from tdmx_dask.jobs.executor import Call

    arguments = encode({"path": path, "given": pickle.dumps(given, protocol=5)})
    return Call(f"{__name__}:_in_child", arguments, name="pta", label=label)


def _run(path: str, *given: Any) -> Any:
    worker = _worker()
    task = None if worker is None else worker.active_threads.get(threading.get_ident())
    # without a nanny it lives in somebody's own process, and is meant to stay there; a thread of a task's own is not the worker's
    if task is None or worker.state.nthreads == 1 or worker.nanny is None:
        return function_of(path)(*given)
    from tdmx_dask.jobs.children import shared_children

    key = str(task)
    children = shared_children(worker.state.nthreads)
    return _ask(children, _call(path, given, key), _flag(worker, key))


def _ask(children: Children, call: Call, over: threading.Event) -> Any:
    """The answer of a child; another's where one was killed, perhaps before it had begun."""
    for _ in range(ATTEMPTS - 1):
        with suppress(JobLost):
            return decode(children.run_call(call, over).value)
    return decode(children.run_call(call, over).value)


def _in_child(path: str, given: bytes) -> Any:
    return function_of(path)(*pickle.loads(given))  # noqa: S301  our parent pickled it


def _worker() -> Any:
    """The Dask worker in one of whose threads this runs; None elsewhere."""
    distributed = sys.modules.get("distributed")  # not imported: a scheduler without it
    if distributed is None:
        return None
    try:
        return distributed.get_worker()
    except ValueError:
        return None


def _flag(worker: Any, key: str) -> threading.Event:
    """Set when the task is cancelled; never where nobody watches tasks of this name."""
    from tdmx_dask.clusters.cancellation import PREFIXES, cancellation_flag

    return cancellation_flag(worker, key) if key.startswith(PREFIXES) else threading.Event()
