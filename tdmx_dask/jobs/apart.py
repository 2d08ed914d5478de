"""Blocks of profiles below a Dask worker with several threads, each in a child process of its own.

Kernels are many short calls of NumPy, and threads of one interpreter wait for its lock between any two of them: two threads had half of two
cores, four had less than one (measured). A worker stays one place with one purse of memory all the same, and its children are kept warm.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

from distributed import get_worker

from tdmx_dask.clusters.cancellation import cancellation_flag
from tdmx_dask.jobs.child import function_of
from tdmx_dask.jobs.children import shared_children
from tdmx_dask.jobs.executor import Call
from tdmx_dask.store.value import decode, encode

__all__ = ["apart"]


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of a module, to be sent to workers; where one has several threads, it runs in a child."""
    return partial(_run, f"{function.__module__}:{function.__qualname__}")


def _run(path: str, *given: Any) -> Any:
    """On a worker, in one of its threads."""
    worker = get_worker()
    if (
        worker.state.nthreads == 1 or worker.nanny is None
    ):  # without a nanny it lives in somebody's own process
        return function_of(path)(*given)
    key = worker.get_current_task()
    arguments = encode({"path": path, "given": pickle.dumps(given, protocol=5)})
    call = Call(f"{__name__}:_in_child", arguments, name="pta", label=str(key))
    return decode(shared_children().run_call(call, cancellation_flag(worker, str(key))).value)


def _in_child(path: str, given: bytes) -> Any:
    return function_of(path)(*pickle.loads(given))  # noqa: S301  our parent pickled it
