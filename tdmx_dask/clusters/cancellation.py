"""Tell a running task that nobody wants it any more: a thread cannot be cancelled, but what it waits for can be ended."""

from __future__ import annotations

import threading
from typing import Any

from distributed import Client, WorkerPlugin

__all__ = ["JOB_PREFIX", "PREFIX", "PREFIXES", "Cancellation", "cancellation_flag", "install_cancellation"]

PREFIX = "tdmx-fit"
"""With which the keys of fits begin."""
JOB_PREFIX = "tdmx-job"
"""With which the keys of jobs' calls begin."""
KERNEL_PREFIXES = ("tdmx-pta", "tdmx-mic")
"""With which the keys of blocks of profiles begin."""
PREFIXES = (PREFIX, JOB_PREFIX, *KERNEL_PREFIXES)
"""Tasks whose keys begin so are watched."""

_LEFT = frozenset({"cancelled", "released", "forgotten"})
_RUNNING = frozenset({"executing", "long-running"})

_flags: dict[tuple[str, str], threading.Event] = {}


class Cancellation(WorkerPlugin):
    """Sets a task's flag when it is cancelled while it runs, its client is gone, or its worker closes.

    A flag is made when the task becomes `executing`, before its thread starts, so that no cancellation is missed.
    """

    name = "tdmx-cancellation"
    idempotent = True

    def setup(self, worker: Any) -> None:
        """Remember the worker; several may live in one process."""
        self._worker = worker

    def transition(self, key: Any, start: str, finish: str, **_kwargs: Any) -> None:
        """Make, set and forget flags."""
        if not (isinstance(key, str) and key.startswith(PREFIXES)):
            return
        place = (self._worker.address, key)
        if finish == "executing":
            _flags[place] = threading.Event()
        elif start in _RUNNING or finish in _LEFT:
            flag = _flags.pop(place, None)
            if flag is not None and finish in _LEFT:
                flag.set()

    def teardown(self, worker: Any) -> None:
        """Set all flags of this worker."""
        for place in [place for place in list(_flags) if place[0] == worker.address]:
            flag = _flags.pop(place, None)
            if flag is not None:
                flag.set()


def cancellation_flag(worker: Any, key: str) -> threading.Event:
    """The flag of a task, asked for by the task itself; already set where the task was cancelled before its thread started."""
    flag = _flags.get((worker.address, key))
    if flag is None:
        flag = threading.Event()
        if Cancellation.name in worker.plugins:
            flag.set()
    return flag


def install_cancellation(client: Client) -> None:
    """Watch the tasks of all workers, now and later; again does nothing."""
    client.register_plugin(Cancellation())
