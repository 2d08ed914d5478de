"""Where calls run: the seam between the queue and the machines. `processes` is the plain form, `futures` the distributed one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Answer", "Call", "Executor"]


@dataclass(frozen=True, slots=True)
class Call:
    """A function to run in a process of its own.

    Parameters
    ----------
    function : import path, ``module:name``
    arguments : keyword arguments, encoded by `store.value`
    name : words for the dashboard, such as ``pta``
    label : of the job, its attempt and the part, such as ``12-1-3``; unique in a queue at a time
    priority : higher first
    memory_mb : that it may need, MB (10^6 bytes); None: nothing is declared
    timeout : seconds that it may run from its start; None: any
    """

    function: str
    arguments: bytes
    name: str
    label: str
    priority: int = 0
    memory_mb: float | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call returned.

    Parameters
    ----------
    value : encoded by `store.value`
    seconds : that the function ran
    worker : where: an address or ``pid 123``
    output : the last that it printed, at most 4 kB
    """

    value: bytes
    seconds: float
    worker: str
    output: str = ""


class Executor(Protocol):
    """Runs calls, each in a child process that can be ended; no more than `slots` are handed to it at once."""

    @property
    def slots(self) -> int:
        """Calls that can run at once at the moment, at least 1."""
        ...

    @property
    def on(self) -> Any:
        """The distributed Client, or None."""
        ...

    async def run(self, call: Call, started: Callable[[str], None]) -> Answer:
        """Run one call. Cancelling this coroutine ends the call's process and all that it started, within a second.

        Parameters
        ----------
        call : what to run
        started : called on the event loop with where it runs, each time that it begins (again after a lost worker)

        Raises
        ------
        JobLost
            Its process or worker died (signal, exit, lost machine).
        JobTimeout
            It ran longer than its timeout; its process is gone.
        MemoryError
            The function raised it, or its process was killed and memory had run out.
        ClusterError
            The cluster is gone, or can never hold it; names what is asked and what there is.
        TdmxError
            As the function raised it.
        JobError
            Any other exception of the function: ``error=ValueError: text``, with the end of its traceback in `__notes__`.
        """
        ...

    async def close(self) -> None:
        """End what runs, and what was started here."""
        ...
