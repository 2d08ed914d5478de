"""Blocks of profiles below a Dask worker with several threads, each in a child process of its own.

Kernels are many short calls of NumPy, and threads of one interpreter wait for its lock between any two of them: two threads had half of two
cores, four had less than one (measured). A worker stays one place with one purse of memory all the same, and its children are kept warm.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from tdmx_dask.jobs.child import function_of
from tdmx_dask.store.value import decode, encode

__all__ = ["apart"]


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of a module, to be run by any scheduler; on a worker with several threads it runs in a child."""
    return partial(_run, f"{function.__module__}:{function.__qualname__}")


def _run(path: str, *given: Any) -> Any:
    worker = _worker()
    # without a nanny it lives in somebody's own process, and is meant to stay there
    if worker is None or worker.state.nthreads == 1 or worker.nanny is None:
        return function_of(path)(*given)
    from tdmx_dask.jobs.children import shared_children
    from tdmx_dask.jobs.executor import Call

    key = str(worker.get_current_task())
    arguments = encode({"path": path, "given": pickle.dumps(given, protocol=5)})
    call = Call(f"{__name__}:_in_child", arguments, name="pta", label=key)
    return decode(shared_children(worker.state.nthreads).run_call(call, _flag(worker, key)).value)


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
