"""Kinds of jobs: how a spec is checked, and how it is run. The built-in ones are in `api.kinds`; users register their own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from tdmx_dask.jobs.request import Checked, Work

__all__ = ["Kind", "Known", "Place"]


class Known(Protocol):
    """What a kind may ask of the queue while it checks a spec."""

    @property
    def data(self) -> Path:
        """Folder for content-addressed copies of data in memory, made when first used.

        A file or store there is named by its digest, published whole, never changed.
        """
        ...

    def digest_of(self, job: int) -> str | None:
        """Digest of another job of the queue; None where its answer has no address.

        Raises
        ------
        InputError
            There is no such job.
        """
        ...

    def kind_of(self, job: int) -> str:
        """Kind of another job of the queue.

        Raises
        ------
        InputError
            There is no such job.
        """
        ...


class Place(Protocol):
    """Where one job runs, as its kind's `run` sees it. Cancelling a coroutine that awaits any of these ends the processes behind it."""

    @property
    def on(self) -> Any:
        """The distributed Client, or None where jobs run in processes of this machine."""
        ...

    @property
    def slots(self) -> int:
        """Calls that may run at once, of all jobs together."""
        ...

    async def call(self, function: str, arguments: Mapping[str, Any], *, name: str = "") -> bytes:
        """Run a function in a process of its own, and return its encoded result.

        Parameters
        ----------
        function : import path, ``module:name``
        arguments : keyword arguments; plain values and arrays that `store.value.encode` takes
        name : for people and the dashboard: words, such as ``pta`` (part of the task's key)

        Raises
        ------
        JobLost, JobTimeout, MemoryError
            What may pass.
        TdmxError, JobError
            What the function raised.
        """
        ...

    def slot(self) -> AbstractAsyncContextManager[None]:
        """Wait for one of the slots, and hold it: for a run that starts its own processes, such as a fit."""
        ...

    def tell(self, text: str) -> None:
        """Write a line to the job's log."""
        ...

    def progress(self, done: int, total: int) -> None:
        """Say how far it is; cheap, and may be called often."""
        ...


class Kind(Protocol):
    """A kind of job; stateless."""

    @property
    def name(self) -> str:
        """By which it is submitted, such as ``pta_calculation``."""
        ...

    def check(self, spec: Mapping[str, Any], known: Known) -> Checked:
        """Check what a user gave, and make it plain. Fast (milliseconds): a submit waits for it.

        Raises
        ------
        InputError
            With the key that is wrong, as ``spec.regimens``.
        """
        ...

    async def run(self, work: Work, place: Place) -> bytes:
        """Run it, on the event loop of the queue (never block it); return the encoded result (`store.value`).

        Raises
        ------
        TdmxError
            What cannot pass.
        JobLost, JobTimeout, MemoryError, ClusterError
            What may pass with another attempt.
        """
        ...
